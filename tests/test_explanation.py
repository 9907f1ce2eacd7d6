"""DenseAM.explain: what each memory did, against the paper's equations in float64."""

import json
import math

import pytest
import torch

import denseam
from denseam import DenseAM, energy
from denseam.errors import InputError

POWERS = [1, 2, 3, 3.5, 20, 30, 100]
SIZES = [(7, 3, 11), (13, 2, 1), (1, 5, 4), (6, 1, 9)]  # N, C, K


def some(power, size=SIZES[0], dtype=torch.float64):
    """A model and an image on which it has active memories."""
    n_visible, n_classes, n_memories = size
    model = DenseAM(n_visible, n_classes, n_memories, power, 3.0, seed=2, dtype=dtype)
    with torch.no_grad():
        model.memories[0] = 0.5  # active on a white image
        model.memories[0, n_visible] = 0.9
    return model, torch.rand(n_visible, dtype=dtype).clamp(min=0.3)


def parts(model, image):
    """F_n(on) (K, C) in units of the largest sum over memories, by ``denseam.energy`` alone."""
    on, _ = energy.fields(image.double()[None], model.memories.detach().double())
    logs = energy.log_energy(image.double()[None], model.memories.detach().double(), model.power)
    return torch.exp(model.power * on[0].clamp(min=0).log() - logs.max()), logs[0]


def both(found):
    return [votes for votes in (found.predicted, found.other) if votes is not None]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("power", POWERS)
def test_shares_and_contributions_are_those_of_the_equations(power, size):
    model, image = some(power, size)
    wanted, logs = parts(model, image)
    found = model.explain(image, size[2])
    torch.testing.assert_close(found.log_energies, logs)
    assert found.predicted.label == int(model.predict(image[None])) == int(logs.argmax())
    for votes in both(found):
        mine = wanted[:, votes.label]
        rival = wanted[:, votes.rival] if votes.rival is not None else torch.zeros(size[2])
        total = max(float(mine.sum()), float(rival.sum()))
        at = votes.positions
        assert len(at) == votes.n_active == int((mine > 0).sum())
        torch.testing.assert_close(votes.shares, mine[at] / mine.sum(), rtol=1e-9, atol=0)
        torch.testing.assert_close(
            votes.contributions, (mine - rival)[at] / total, rtol=1e-9, atol=1e-13
        )
        assert float(votes.shares.sum()) == pytest.approx(1, rel=1e-12)
        assert votes.margin == pytest.approx(float(mine.sum() - rival.sum()) / total, abs=1e-12)
        assert torch.equal(votes.visible, model.visible_memories[at])
        assert torch.equal(votes.votes, model.class_memories[at])


@pytest.mark.parametrize("power", POWERS)
def test_contributions_of_all_memories_sum_to_the_margin(power):
    model, image = some(power)
    found = model.explain(image, 11, by="contribution")
    for votes in both(found):
        negative = model.explain(image, 11, label=votes.rival)
        rivals = {v.label: v for v in both(negative)}[votes.rival]
        assert rivals.rival == votes.label
        assert rivals.margin == pytest.approx(-votes.margin, abs=1e-15)
        against = model.explain(image, 11, label=votes.rival, by="contribution")
        against = {v.label: v for v in both(against)}[votes.rival]
        total = float(votes.contributions.sum()) - float(against.contributions.sum())
        assert total == pytest.approx(votes.margin, abs=1e-12)
    assert found.predicted.margin > 0 > found.other.margin
    logs = found.log_energies
    lead = logs[found.predicted.label] - logs[found.predicted.rival]
    assert found.predicted.margin == pytest.approx(1 - math.exp(-lead), rel=1e-9)


@pytest.mark.parametrize("power", POWERS)
def test_the_fewest_memories_that_make_half_the_energy_or_the_margin(power):
    model, image = some(power, (9, 3, 40))
    wanted, _ = parts(model, image)

    def fewest(values, total):
        count, reached = 0, 0.0
        for value in sorted(values.tolist(), reverse=True):
            if reached >= total - 1e-12 * abs(total):
                break
            count, reached = count + 1, reached + value
        return count

    for votes in both(model.explain(image, 1)):
        mine, rival = wanted[:, votes.label], wanted[:, votes.rival]
        assert votes.n_half == fewest(mine, 0.5 * float(mine.sum()))
        assert votes.n_most == fewest(mine, 0.9 * float(mine.sum()))
        sign = 1 if mine.sum() > rival.sum() else -1
        difference = sign * (mine - rival)
        assert votes.n_deciding == fewest(difference, float(difference.sum()))
        assert 1 <= votes.n_half <= votes.n_most <= votes.n_active


@pytest.mark.parametrize("power", [2, 30])
def test_the_largest_come_first_and_count_limits_them(power):
    model, image = some(power, (9, 3, 40))
    for by, of in (("share", "shares"), ("contribution", "contributions")):
        whole, few = model.explain(image, 40, by=by), model.explain(image[None], 4, by=by)
        for all_votes, votes in zip(both(whole), both(few), strict=True):
            values = getattr(all_votes, of)
            assert torch.equal(values, values.sort(descending=True).values)
            assert values.min() > 0
            assert torch.equal(votes.positions, all_votes.positions[:4])
            assert torch.equal(getattr(votes, of), values[:4])


def test_the_class_asked_for_is_compared_with_the_best_other_one():
    model, image = some(3, (7, 5, 30))
    order = model.log_energy(image[None])[0].argsort(descending=True).tolist()
    first, second, third = order[:3]
    assert model.explain(image).other.label == second
    assert model.explain(image, label=first).other.label == second
    asked = model.explain(image, label=third)
    assert (asked.predicted.label, asked.predicted.rival) == (first, second)
    assert (asked.other.label, asked.other.rival) == (third, first)
    assert model.explain(image, label=torch.tensor(third).item()).other.label == third


def test_votes_are_the_classes_with_positive_components_the_firmest_first():
    model = DenseAM(2, 4, 2, 2, 1.0)
    with torch.no_grad():
        model.memories.copy_(torch.tensor([[1, 1, 0.2, -1, 0.9, 0], [1, 1, -0.1, -1, -1, -1]]))
    votes = model.explain(torch.ones(2)).predicted
    named = dict(zip(votes.positions.tolist(), votes.votes_for, strict=True))
    assert named == {0: (2, 0), 1: ()}


def test_a_memory_that_votes_alike_for_both_classes_adds_nothing_to_the_margin():
    model = DenseAM(2, 2, 2, 20, 1.0)
    with torch.no_grad():
        model.memories.copy_(torch.tensor([[1, 1, 0.5, 0.5], [0.5, 0.5, 1, -1]]))
    votes = model.explain(torch.ones(2)).predicted
    assert votes.positions.tolist() == [1, 0]
    assert votes.shares[1] > 0
    assert votes.contributions[1] == 0
    only = model.explain(torch.ones(2), by="contribution").predicted
    assert only.positions.tolist() == [1]


def test_ties_are_ties():
    model = DenseAM(3, 3, 4, 7, 1.0, dtype=torch.float64)
    with torch.no_grad():
        model.memories.fill_(1 / 3)
    found = model.explain(torch.ones(3, dtype=torch.float64))
    assert (found.predicted.label, found.other.label) == (0, 1)
    for votes in both(found):
        assert votes.margin == 0
        assert (votes.n_half, votes.n_most, votes.n_deciding) == (2, 4, 0)
        assert votes.positions.tolist() == [0, 1, 2, 3]
        assert votes.shares.tolist() == [0.25] * 4
        assert not votes.contributions.any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [1, 100])
def test_without_an_active_memory_it_says_so(power, dtype):
    model = DenseAM(4, 3, 5, power, 1.0, dtype=dtype)
    with torch.no_grad():
        model.memories.fill_(1.0)
    found = model.explain(-torch.ones(4, dtype=dtype), label=2)
    assert not found.active
    assert (found.predicted.label, found.other.label) == (0, 2)
    for votes in both(found):
        assert len(votes.positions) == len(votes.visible) == len(votes.votes_for) == 0
        assert (votes.margin, votes.n_active, votes.n_half, votes.n_deciding) == (0, 0, 0, 0)
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["active"] is False
    assert told["log_energies"] == [None] * 3
    assert told["predicted"]["memories"] == []


def test_a_class_without_active_memory_beside_one_that_has_some():
    model = DenseAM(4, 2, 2, 30, 1.0)
    with torch.no_grad():
        model.memories.copy_(torch.tensor([[0.1] * 4 + [1, -1], [-1.0] * 4 + [-1, -1]]))
    found = model.explain(torch.ones(4))
    assert found.active
    assert found.log_energies[1] == -torch.inf
    assert (found.predicted.margin, found.other.margin) == (1, -1)
    assert (found.other.n_active, found.other.n_deciding) == (0, 1)
    json.dumps(found.to_json(), allow_nan=False)


def test_shares_of_a_class_that_underflows_beside_another_one_are_whole():
    model = DenseAM(400, 2, 3, 200, 1.0)
    with torch.no_grad():
        model.memories.zero_()
        model.memories[0, :400] = -0.004
        # On at 0.4 for class 0 only, and twice at 0.003 for class 1 only.
        model.memories[:, 400:] = torch.tensor([[1.0, -1.0], [-0.001, 0.002], [-0.001, 0.002]])
    found = model.explain(torch.ones(400))
    assert found.predicted.label == 0
    assert found.other.shares.tolist() == [0.5, 0.5]
    assert found.other.margin == -1
    assert float(found.log_energies[1]) == pytest.approx(math.log(2) + 200 * math.log(0.003), 1e-4)
    assert found.other.contributions.abs().max() < 1e-300


def test_a_single_class_has_no_other():
    model, image = some(3, (6, 1, 9))
    found = model.explain(image, 9)
    assert found.other is None
    assert found.predicted.rival is None
    assert found.predicted.margin == 1
    assert torch.equal(found.predicted.contributions, found.predicted.shares)
    assert found.to_json()["other"] is None


@pytest.mark.parametrize("name", ["mnist-n2", "mnist-n30"])
def test_shipped_models_are_explained_as_they_predict(name):
    model = denseam.load_pretrained(name)
    visible = denseam.data.load("mnist").test.visible()[:20]
    for image, label in zip(visible, model.predict(visible), strict=True):
        found = model.explain(image, 2000)
        assert found.predicted.label == label
        assert (found.power, found.n_memories) == (model.power, 2000)
        assert torch.equal(found.visible, image)
        logs = model.log_energy(image[None])[0].detach().double()
        torch.testing.assert_close(found.log_energies, logs, rtol=1e-6, atol=0)
        for votes in both(found):
            assert float(votes.shares.sum()) == pytest.approx(1, rel=1e-12)


def test_json_holds_the_numbers_and_no_pixels():
    model, image = some(3)
    found = model.explain(image, 2)
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    first = told["predicted"]["memories"][0]
    votes = found.predicted
    assert first == {
        "position": int(votes.positions[0]),
        "share": float(votes.shares[0]),
        "contribution": float(votes.contributions[0]),
        "votes": votes.votes[0].tolist(),
        "votes_for": list(votes.votes_for[0]),
    }
    for name in ("label", "rival", "margin", "n_active", "n_half", "n_most", "n_deciding"):
        assert told["other"][name] == getattr(found.other, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"visible": torch.zeros(2, 7, dtype=torch.float64)}, "holds 2 images"),
        ({"visible": torch.zeros(0, 7, dtype=torch.float64)}, "holds 0 images"),
        ({"visible": torch.zeros(6, dtype=torch.float64)}, r"\(B, 7\)"),
        ({"visible": [0] * 7}, "integers"),
        ({"count": 0}, "count = 0: wanted a whole number >= 1"),
        ({"count": 2.0}, r"count = 2\.0"),
        ({"count": True}, "count = True"),
        ({"label": 3}, r"label = 3: wanted a whole number >= 0 and <= 2"),
        ({"label": -1}, "label = -1"),
        ({"by": "size"}, "by = 'size': wanted 'share' or 'contribution'"),
    ],
)
def test_anything_else_is_refused(change, message):
    model, image = some(3)
    with pytest.raises(InputError, match=message):
        model.explain(**{"visible": image, **change})
