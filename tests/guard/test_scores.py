"""Scores: what they say, and that no image depends on the others."""

import math
from dataclasses import replace

import pytest
import torch
from tests.kernels.problems import needs_c

from denseam import DenseAM, baselines
from denseam.errors import InputError
from denseam.guard.blocks import REFERENCE
from denseam.guard.detector import NetworkDetector
from denseam.guard.evidence import evidence, gather
from denseam.guard.profile import Profile
from denseam.guard.scores import SCORES, Scale, Score

from . import small

EVERY = (*SCORES, "gap+log_energy", "confidence+distance+profile")


def fitted(name, model, images):
    score = Score(name)
    if score.needs_reference:
        score.fit(gather(model, images, small.SHAPE), 0.05)
    return score


@pytest.fixture(scope="module")
def images():
    junk = torch.rand(30, small.N, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return torch.cat([small.clean(50).visible(), junk])


def test_evidence_is_that_of_the_model(images):
    model = small.memories()
    found = gather(model, images, small.SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(found.log_energy, model.exact_scores(images), atol=1e-4, rtol=0)
        gap = model.energy_gap(images).double()
    torch.testing.assert_close(found.energy_gap, gap, atol=1e-4, rtol=1e-4)
    assert torch.equal(found.labels, model.predict(images))
    assert bool(found.active.all())


def test_pixels_by_hand(images):
    found = gather(small.memories(dtype=torch.float64), images.double(), small.SHAPE)
    image = images[3].double().reshape(small.SHAPE)
    steps = [(image[i + 1, j] - image[i, j]) ** 2 for i in range(4) for j in range(4)]
    steps += [(image[i, j + 1] - image[i, j]) ** 2 for i in range(5) for j in range(3)]
    wanted = [image.mean(), (image**2).mean(), sum(steps) / len(steps)]
    torch.testing.assert_close(found.pixels[3], torch.stack(wanted))


def test_distances_by_hand(images):
    model = DenseAM(small.N, small.C, 9, 3.0, 5.0, dtype=torch.float64)  # votes of all sizes
    found = gather(model, images.double(), small.SHAPE)
    for image, label, distance in zip(images.double(), found.labels, found.distance, strict=True):
        signs = -torch.ones(small.C, dtype=torch.float64)
        signs[label] = 1
        fields = model.visible_memories @ image + model.class_memories @ signs
        apart = image - model.visible_memories[fields.argmax()]
        torch.testing.assert_close(distance, apart.norm().detach())


def test_plain_scores_are_what_they_say():
    model = small.memories(dtype=torch.float64)
    visible = small.clean(20, dtype=torch.float64).visible(torch.float64) * 0.8
    found = gather(model, visible, small.SHAPE)
    Y = torch.tanh(found.energy_gap)
    best = Y.topk(2, dim=1).values
    Z = torch.softmax(3.2 * Y, dim=1).amax(dim=1)
    L = found.log_energy.topk(2, dim=1).values
    wanted = {
        # up to a constant where a factor of 2 is left out
        "activity": (1 - best[:, 0]).log() - math.log(2),
        "confidence": (1 - Z).log(),
        "gap": (2 - best[:, 0] + best[:, 1]).log() - math.log(2),
        "margin": L[:, 1] - L[:, 0],
        "log_energy": L[:, 0],
        "distance": found.distance,
    }
    for name, value in wanted.items():
        torch.testing.assert_close(Score(name).raw(found)[name], value, atol=1e-7, rtol=1e-6)


def test_what_saturates_stays_apart():
    model = DenseAM(2, 2, 2, 2.0, 0.05, dtype=torch.float64)
    with torch.no_grad():
        model.memories.copy_(torch.tensor([[1.0, 0, 1, -1], [0, 1, -1, -1]]))
    visible = torch.tensor([[0.9, 0.0], [1.0, 0.0]], dtype=torch.float64)
    found = evidence(model, visible, None)
    assert bool((torch.tanh(found.energy_gap.abs()) == 1).all())
    for name in ("activity", "gap"):
        less, more = Score(name)(found).tolist()
        assert more < less < 0
        assert math.isfinite(more)


@pytest.mark.parametrize("name", EVERY)
def test_no_score_depends_on_the_batch(name, images):
    score = Score(name)
    detector = NetworkDetector(small.memories(), score, small.SHAPE)
    if score.needs_reference:
        detector = detector.fitted(small.clean(100, seed=3).visible(), 0.05)
    whole, labels = detector(images)
    order = torch.randperm(len(images))
    mixed = detector(images[order])
    assert torch.equal(mixed[0], whole[order])
    assert torch.equal(mixed[1], labels[order])
    alone = torch.cat([detector(images[b : b + 1])[0] for b in range(10)])
    assert torch.equal(alone, whole[:10])
    assert len(images) > REFERENCE


@needs_c
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["profile", "margin", "gap+log_energy"])
def test_no_score_depends_on_images_whose_sums_underflow(name, dtype):
    """Those of a class that is nothing beside the best one are taken again, on their own scale."""
    generator = torch.Generator().manual_seed(2)
    model = DenseAM(small.N, small.C, 5, 30.0, 5.0, dtype=dtype)
    with torch.no_grad():
        model.memories.copy_(2 * torch.rand(model.memories.shape, generator=generator) - 1)
    images = (2 * torch.rand(300, small.N, generator=generator) - 1).to(dtype)
    detector = NetworkDetector(model, Score(name), small.SHAPE)
    if detector.needs_reference:
        detector = detector.fitted(images, 0.05)
    scores, labels = detector(images)
    for size in (1, 5, 40):
        parts = [detector(part) for part in torch.split(images, size)]
        assert torch.equal(scores, torch.cat([part for part, _ in parts]))
        assert torch.equal(labels, torch.cat([part for _, part in parts]))


def test_what_is_not_a_number_is_junk(images):
    score = fitted("profile", small.memories(), images)
    seen = gather(small.memories(), images[:3], small.SHAPE)
    bad = torch.tensor([[1.0, 0, 2], [1, 0, torch.nan], [torch.nan, 0, 2]]).double()
    for changed in (replace(seen, log_energy=bad), replace(seen, energy_gap=bad)):
        assert score(changed).isposinf().tolist() == [False, True, True]


@pytest.mark.parametrize("name", EVERY)
def test_slopes_are_those_of_the_scores(name):
    model = small.memories(dtype=torch.float64)
    score = fitted(name, model, small.clean(100, seed=3).visible(torch.float64))
    visible = 0.9 * small.clean(4, seed=5).visible(torch.float64)

    def value(v):
        return score(evidence(model, v, small.SHAPE, slope=True))

    torch.testing.assert_close(value(visible).detach(), score(gather(model, visible, small.SHAPE)))
    assert torch.autograd.gradcheck(value, visible.requires_grad_(), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", EVERY)
def test_no_active_memory_is_the_worst_score(name):
    model = small.memories()
    score = fitted(name, model, small.clean(100).visible())
    with torch.no_grad():
        model.memories.zero_()
        model.memories[:, : small.N] = -1
    assert score(gather(model, torch.ones(2, small.N), small.SHAPE)).tolist() == [torch.inf] * 2


@pytest.mark.parametrize("name", ["log_energy", "pixels", "profile", "gap+log_energy"])
def test_too_little_and_too_much_are_both_junk(name):
    model = small.memories()
    score = fitted(name, model, small.clean(300).visible())
    usual = float(score(gather(model, small.clean(100, seed=9).visible(), small.SHAPE)).median())
    weak, black = 0.2 * small.patterns(), torch.full((1, small.N), -1.0)
    assert bool((score(gather(model, weak, small.SHAPE)) > usual).all())
    assert float(score(gather(model, black, small.SHAPE))) > usual


def test_scales_are_one_where_the_tail_begins():
    raw = torch.arange(1001, dtype=torch.float64)
    scale = Scale.of(raw, 0.01, two_sided=True)
    assert scale(torch.tensor([500.0, 990.0, 10.0])).tolist() == [0, 1, 1]
    one = Scale.of(raw, 0.01, two_sided=False)
    assert one(torch.tensor([500.0, 990.0, 10.0])).tolist() == [0, 1, -1]
    flat = Scale.of(torch.ones(10), 0.01, two_sided=True)
    assert flat(torch.tensor([1.0])).tolist() == [0]
    assert bool(flat(torch.tensor([0.9, 1.1])).gt(1).all())
    with pytest.raises(InputError, match="finite"):
        Scale.of(torch.full((3,), torch.inf), 0.1, two_sided=True)


def test_profiles_are_mahalanobis_distances():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (200,), generator=generator)
    mix = torch.tensor([[2.0, 0.5], [0.0, 0.1]]).double()
    features = torch.randn(200, 2, generator=generator, dtype=torch.float64) @ mix
    features = features * (1 + 2 * labels[:, None]) + 5 * labels[:, None]
    made = Profile.of(features, labels, 3)

    def distances(mean, covariance):
        apart = features - mean
        inverse = torch.linalg.inv(covariance)
        return torch.einsum("bi,ij,bj->b", apart, inverse, apart).sqrt()

    means = torch.stack([features[labels == c].mean(dim=0) for c in (0, 1)])
    tied = torch.cov((features - means[labels]).T, correction=0)
    for c in (0, 1):
        own = features[labels == c]
        blend = (len(own) * torch.cov(own.T, correction=0) + 20 * tied) / (len(own) + 20)
        found = made(features, torch.full((200,), c))
        torch.testing.assert_close(found, distances(means[c], blend))
    # A class that no image has is compared with all of them.
    whole = distances(features.mean(dim=0), torch.cov(features.T, correction=0))
    torch.testing.assert_close(made(features, torch.full((200,), 2)), whole)


def test_profiles_stand_features_that_say_the_same():
    features = torch.randn(50, 1, dtype=torch.float64) * torch.tensor([[1.0, 1e6, 0]]).double()
    made = Profile.of(features, torch.zeros(50, dtype=torch.int64), 1)
    found = made(features, torch.zeros(50, dtype=torch.int64))
    assert bool(found.isfinite().all())


@pytest.mark.parametrize("name", ["", "energy", "gap+gap", "gap+", "profile+nothing"])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="wanted activity"):
        Score(name)


def test_beta_sm_is_positive_and_matters():
    with pytest.raises(InputError, match="beta_sm"):
        Score("confidence", beta_sm=0)
    found = gather(small.memories(), small.clean(5).visible() * 0.5, small.SHAPE)
    assert not torch.equal(Score("confidence", 26.0)(found), Score("confidence")(found))


def test_other_networks_have_scores_too():
    network = baselines.ReLUNetwork(small.N, small.C, 6, 2.0, 1.0)
    visible = small.clean(60).visible()
    score = fitted("profile", network, visible)
    assert bool(score(gather(network, visible, small.SHAPE)).isfinite().all())
