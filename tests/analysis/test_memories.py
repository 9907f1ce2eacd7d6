"""Votes, contributions and likeness of memories, against loops over every one of them."""

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.descent.small import images, prototypes, random_model

from denseam import DenseAM, energy
from denseam.analysis import (
    likeness,
    live_memories,
    memory_statistics,
    pick_memories,
    prototype_scores,
)
from denseam.data import ImageSet
from denseam.errors import InputError
from denseam.evaluation import wilson_interval

SHAPE = (3, 3)


def image_set(count, seed=3):
    """Images of 3 x 3, as strong as images are."""
    return ImageSet(2 * images(count, 9, seed=seed).reshape(-1, *SHAPE),
                    torch.zeros(count, dtype=torch.int64), 4)  # fmt: skip


def obvious_contributors(model, v):
    """How many memories contribute above 0.9 of the largest, image by image, from F_n itself."""
    on, _ = energy.fields(v, model.memories.detach())
    found = []
    for b, label in enumerate(model.predict(v).tolist()):
        terms = energy.rectified_polynomial(on[b, :, label], model.power)
        found.append(int((terms > 0.9 * terms.max()).sum()) if terms.max() > 0 else 0)
    return found


@pytest.mark.parametrize("power", [1.0, 2.0, 3.5, 30.0])
def test_every_number_is_that_of_a_loop(power):
    model, test = random_model(power), image_set(57)
    model.class_memories.data[3] = torch.tensor([1.0, 0.995, 0.5, -0.2])
    model.class_memories.data[5] = torch.tensor([-1.0, 0.995, 0.0, -0.2])
    model.memories.data[4, :9] = 0.01
    model.memories.data[4, 9:] = 1  # its field is 2 - 4 at most, and what it sees: dead
    model.memories.data[6, :9] = 0
    model.memories.data[6, 9:] = -1  # its field is 2 at least: alive
    found = memory_statistics(model, test, image_set(11, seed=4))
    classes = model.class_memories.tolist()
    on, off = energy.fields(test.visible(torch.float64), model.memories.detach())
    alive = ((on > 0).any(dim=0).any(dim=1) | (off > 0).any(dim=0)).tolist()
    assert (alive[4], alive[6]) == (False, True)
    assert found.n_dead == alive.count(False)
    for least, everyone, living in (
        (0, found.votes, found.live_votes),
        (0.99, found.firm_votes, found.live_firm_votes),
    ):
        votes = [sum(x > least for x in row) for row in classes]
        assert everyone == tuple(votes.count(k) for k in range(5))
        votes = [k for k, lives in zip(votes, alive, strict=True) if lives]
        assert living == tuple(votes.count(k) for k in range(5))
    assert found.one_vote == found.votes[1] / 20
    assert found.one_firm_vote == found.live_firm_votes[1] / sum(alive)
    counts = obvious_contributors(model, test.visible(torch.float64))
    assert found.contributor_bins == ((0, 0), (1, 1), (2, 3), (4, 7), (8, 15), (16, 20))
    for (low, high), images_there in zip(found.contributor_bins, found.contributors, strict=True):
        assert images_there == sum(low <= count <= high for count in counts)
    assert found.one_contributor == counts.count(1)
    assert found.one_contributor_interval == wilson_interval(counts.count(1), 57)
    scores = prototype_scores(model, image_set(11, seed=4)).tolist()
    scores = sorted(score for score, lives in zip(scores, alive, strict=True) if lives)
    middle = (scores[(len(scores) - 1) // 2] + scores[len(scores) // 2]) / 2
    assert found.prototype_median == pytest.approx(middle)
    assert found.prototype_mean == pytest.approx(sum(scores) / len(scores))
    assert (found.power, found.n_memories, found.n_images) == (power, 20, 57)


def test_more_images_than_go_through_at_once_are_all_counted():
    model = random_model(3.0)
    found = memory_statistics(model, image_set(1500), image_set(1100, seed=4))
    counts = obvious_contributors(model, image_set(1500).visible(torch.float64))
    assert sum(found.contributors) == 1500
    assert found.one_contributor == counts.count(1)
    scores = prototype_scores(model, image_set(1100, seed=4))
    halves = [prototype_scores(model, image_set(1100, seed=4).subset(rows))
              for rows in (slice(0, 300), slice(300, 1100))]  # fmt: skip
    torch.testing.assert_close(scores, torch.maximum(*halves))


def test_contributions_beyond_every_range_are_still_compared():
    """h^n of these fields overflows float32, (h / 1e4)^n underflows it."""
    for size in (1.0, 1e-3):
        model = prototypes(100.0).float()
        model.memories.data *= size
        v = torch.cat([model.visible_memories.detach().sign()] * 2)
        made = memory_statistics(
            model, ImageSet(v.reshape(-1, 4, 3), torch.zeros(6, dtype=torch.int64), 3),
            ImageSet(v.reshape(-1, 4, 3), torch.zeros(6, dtype=torch.int64), 3),
        )  # fmt: skip
        assert made.one_contributor == 6


def test_prototypes_are_prototypes():
    model = prototypes(20.0)
    v = images(40, 12).reshape(-1, 4, 3)
    some = ImageSet(v, torch.zeros(40, dtype=torch.int64), 3)
    looks = model.visible_memories.detach().reshape(3, 4, 3)
    pictures = ImageSet(0.3 * looks - 0.5, torch.arange(3), 3)
    found = memory_statistics(model, some, pictures)
    assert found.votes == found.live_votes == (0, 3, 0, 0)
    assert found.firm_votes == (3, 0, 0, 0)
    assert found.prototype_mean == pytest.approx(1)
    assert found.prototype_median == pytest.approx(1)
    assert found.one_vote == 1


@given(st.integers(2, 7), st.integers(2, 6), st.integers(1, 9), st.integers(0, 1000))
def test_scores_are_the_largest_correlations(height, width, count, seed):
    generator = torch.Generator().manual_seed(seed)
    model = DenseAM(height * width, 2, 5, 3.0, 9.0, seed=seed, dtype=torch.float64)
    pixels = torch.rand(count, height, width, generator=generator, dtype=torch.float64) * 2 - 1
    scores = prototype_scores(model, ImageSet(pixels, torch.zeros(count, dtype=torch.int64), 2))
    pairs = torch.cat([model.visible_memories.detach(), pixels.flatten(1)])
    expected = torch.corrcoef(pairs)[:5, 5:].amax(dim=1)
    torch.testing.assert_close(scores, expected)
    # Brightness and contrast do not matter.
    paler = ImageSet(0.25 * pixels + 0.5, torch.zeros(count, dtype=torch.int64), 2)
    torch.testing.assert_close(prototype_scores(model, paler), scores)


def test_an_image_is_like_itself_at_any_brightness_and_its_negative_is_not():
    reference = image_set(40)
    v = reference.visible(torch.float64)[7:9]
    assert torch.allclose(likeness(0.3 * v + 0.2, reference), torch.ones(2).double())
    best = torch.stack([torch.corrcoef(torch.stack([-v[0], w]))[0, 1]
                        for w in reference.visible(torch.float64)])  # fmt: skip
    assert torch.allclose(likeness(-v[:1], reference), best.max()[None])
    assert best.max() < 0.99
    with pytest.raises(InputError, match=r"\(2, 8\): wanted \(B, 9\)"):
        likeness(v[:, :8], reference)


def test_what_is_constant_correlates_with_nothing():
    model = random_model(3.0)
    model.memories.data[2, :9] = 0.3
    gray = torch.full((1, *SHAPE), 0.7, dtype=torch.float64)
    assert prototype_scores(model, image_set(5))[2] == 0
    only_gray = ImageSet(gray, torch.zeros(1, dtype=torch.int64), 4)
    assert prototype_scores(model, only_gray).tolist() == [0] * 20


def test_where_nothing_is_active_nothing_contributes():
    model = random_model(3.0)
    model.memories.data[:, :9] = 0
    model.memories.data[:, 9:] = 1  # every field is -2 or -4
    found = memory_statistics(model, image_set(6), image_set(2))
    assert found.n_dead == 20
    assert found.contributors == (6, 0, 0, 0, 0, 0)
    assert found.live_votes == found.live_firm_votes == (0, 0, 0, 0, 0)
    assert found.votes == (0, 0, 0, 0, 20)
    assert math.isnan(found.prototype_mean)
    assert math.isnan(found.one_firm_vote)
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["prototype_median"] is plain["one_firm_vote"] is None
    assert plain["contributor_bins"][3] == [4, 7]


def test_a_memory_that_is_active_with_every_neuron_off_is_alive():
    model = random_model(3.0)
    model.memories.data[:, :9] = -1 / 3
    model.memories.data[:, 9:] = -1
    white = ImageSet(torch.ones(1, *SHAPE), torch.zeros(1, dtype=torch.int64), 4)
    found = memory_statistics(model, white, image_set(2))  # on = -3 + 2, off = -3 + 4
    assert found.n_dead == 0
    assert found.contributors[0] == 1


def test_a_record_says_everything_in_json():
    found = memory_statistics(random_model(2.0), image_set(30), image_set(9))
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    for name, value in found.__dict__.items():
        assert plain[name] == json.loads(json.dumps(value)), name
    assert plain["one_vote"] == found.one_vote
    assert plain["one_contributor"] == found.contributors[1]
    low, high = plain["one_contributor_interval"]
    assert low < plain["one_contributor"] / 30 < high


def test_picked_memories_are_random_and_always_the_same():
    model = DenseAM(12, 3, 50, 3.0, 9.0)
    looks, places = pick_memories(model, 7, 5, shape=(4, 3))
    assert looks.shape == (7, 4, 3)
    assert len(set(places.tolist())) == 7
    for look, place in zip(looks, places.tolist(), strict=True):
        assert torch.equal(look.flatten(), model.visible_memories[place])
    assert torch.equal(pick_memories(model, 7, 5, shape=(4, 3))[1], places)
    assert not torch.equal(pick_memories(model, 7, 6, shape=(4, 3))[1], places)
    assert not looks.requires_grad
    everyone = pick_memories(random_model(2.0), 20)
    assert everyone[0].shape == (20, 3, 3)
    assert sorted(everyone[1].tolist()) == list(range(20))
    taken = {int(pick_memories(model, 1, seed, shape=(3, 4))[1]) for seed in range(200)}
    assert len(taken) > 40, "every memory can be picked"
    some = torch.zeros(50, dtype=torch.bool)
    some[[3, 30, 49]] = True
    assert sorted(pick_memories(model, 3, shape=(4, 3), among=some)[1].tolist()) == [3, 30, 49]


def test_live_memories_are_those_that_some_image_makes_active():
    model = DenseAM(12, 3, 50, 3.0, 9.0)
    with torch.no_grad():
        model.memories[7] = -model.memories[7].abs()  # dark where all images are bright
        model.memories[7, 12:] = 0
    images = ImageSet(torch.full((5, 4, 3), 1.0), torch.tensor([0, 1, 2, 0, 1]), 3)
    live = live_memories(model, images)
    assert live.dtype is torch.bool
    assert not live[7]
    with torch.no_grad():
        model.memories[7, :12] *= -1
    assert live_memories(model, images)[7]
    assert int((~live).sum()) == memory_statistics(model, images, images).n_dead + 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"count": 0}, r"count = 0: wanted a whole number >= 1 and <= 50"),
        ({"count": 51}, r"count = 51: wanted a whole number >= 1 and <= 50"),
        ({}, r"shape \(3, 3\) does not fit 12 pixels"),
        ({"among": torch.ones(50)}, r"among: wanted bools \(50,\)"),
        ({"among": torch.ones(50) < 0}, "count = 2: wanted a whole number >= 1 and <= 0"),
        ({"shape": (2, 5)}, r"shape \(2, 5\) does not fit 12 pixels"),
    ],
)
def test_picks_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        pick_memories(DenseAM(12, 3, 50, 3.0, 9.0), **{"count": 2, **arguments})


def test_sets_that_do_not_fit_are_refused():
    model, other = random_model(2.0), ImageSet(torch.zeros(2, 4, 4), torch.tensor([0, 1]), 2)
    with pytest.raises(InputError, match="4 x 4"):
        memory_statistics(model, other, image_set(2))
    with pytest.raises(InputError, match="4 x 4"):
        memory_statistics(model, image_set(2), other)
