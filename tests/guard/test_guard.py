"""Guard: the paper's rule, the promise, and what is refused."""

import copy

import pytest
import torch

import denseam
from denseam import Guard, GuardedModel
from denseam.errors import AnswerError, InputError
from denseam.guard import REASONS, SCORES

from . import small


def junk(count: int = 50, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(count, small.N, generator=torch.Generator().manual_seed(seed))


def test_the_rule():
    guard = small.guard()
    images = torch.cat([small.clean(60, seed=4).visible(), junk()])
    found = guard.predict(images)
    detected, labelled = guard.detector.network.predict(images), guard.classifier.labels(images)
    for b, verdict in enumerate(found):
        assert verdict.detector_label == int(detected[b])
        assert verdict.accepted == (verdict.score <= guard.threshold) == (verdict.p_value > 0.05)
        if not verdict.accepted:
            assert (verdict.label, verdict.classifier_label) == (-1, -1)
            assert verdict.reason == "low_confidence"
        else:
            assert verdict.label == verdict.classifier_label == int(labelled[b])
            agree = detected[b] == labelled[b]
            assert verdict.reason == (None if agree else "disagree")
        assert verdict.reason is None or verdict.reason in REASONS
    assert found.n_rejected >= 45
    assert float(found.accepted[:60].double().mean()) > 0.8


def test_disagreement_is_marked_and_has_the_classifiers_label():
    guard = Guard(small.memories(), lambda images: torch.full((len(images),), 2),
                  image_shape=small.SHAPE).calibrate(small.clean(), 0.05)  # fmt: skip
    found = guard.predict(small.clean(60, seed=4))
    assert set(found.labels[found.accepted].tolist()) == {2}
    marked = [verdict.reason == "disagree" for verdict in found]
    wanted = found.accepted & (found.detector_labels != 2)
    assert marked == wanted.tolist()
    assert any(marked)


def test_only_accepted_images_go_on():
    seen = []

    def classifier(images):
        seen.append(len(images))
        return torch.zeros(len(images), dtype=torch.int64)

    guard = Guard(small.memories(), classifier, image_shape=small.SHAPE)
    guard.calibrate(small.clean(), 0.05)
    found = guard.predict(torch.cat([junk(), small.clean(20, seed=4).visible()]))
    assert sum(seen) == int(found.accepted.sum()) < 70
    assert found.classifier_labels[~found.accepted].tolist() == [-1] * found.n_rejected


def test_bad_pixels_are_verdicts_and_no_errors():
    guard = small.guard()
    images = small.clean(4, seed=4).visible()
    images[1, 2], images[2, 3] = torch.nan, 1.5
    found = guard.predict(images)
    assert [v.reason for v in found][1:3] == ["nonfinite", "out_of_range"]
    for verdict in found[1:3]:
        assert (verdict.label, verdict.accepted, verdict.detector_label) == (-1, False, -1)
        assert verdict.score == torch.inf
        assert verdict.p_value == 1 / (guard.to_json()["n_calibration"] + 1)
    assert torch.equal(found.scores[::3], guard.predict(small.clean(4, seed=4)).scores[::3])


def test_no_active_memory_is_a_reason():
    guard = small.guard()
    with torch.no_grad():
        guard.detector.network.memories[:, : small.N] = -1
        guard.detector.network.memories[:, small.N :] = 0
    (verdict,) = guard.predict(torch.ones(1, small.N))
    assert (verdict.reason, verdict.accepted, verdict.score) == (
        "no_active_memory",
        False,
        torch.inf,
    )


@pytest.mark.parametrize("score", [*SCORES, "gap+log_energy"])
def test_no_verdict_depends_on_the_batch(score):
    guard = small.guard(score)
    images = torch.cat([small.clean(70, seed=4).visible(), junk(20)])
    whole = guard.predict(images)
    order = torch.randperm(len(images))
    mixed = guard.predict(images[order])
    assert torch.equal(mixed.scores, whole.scores[order])
    assert torch.equal(mixed.labels, whole.labels[order])
    assert [guard.predict(images[b : b + 1])[0] for b in range(5)] == list(whole[:5])


def test_empty_batches():
    guard = small.guard()
    for images in (torch.empty(0, small.N), torch.empty(0, *small.SHAPE, dtype=torch.uint8)):
        assert len(guard.predict(images)) == 0


@pytest.mark.parametrize("score", ["gap", "profile", "gap+log_energy", "pixels"])
def test_the_promised_rate_holds_over_splits(score):
    rate, rejected = 0.05, []
    model = small.memories()
    for seed in range(20):
        guard = Guard(model, model, score=score, image_shape=small.SHAPE)
        guard.calibrate(small.clean(400, seed=100 + seed), rate, seed=seed)
        rejected.append(guard.predict(small.clean(500, seed=200 + seed)).n_rejected)
    # Of one split the count is beta-binomial: n is 200 or 400, k = 10 or 20. Its deviation at
    # n = 200 is 9.1 images; the mean of 20 independent ones lies within four of its own.
    assert abs(sum(rejected) / 20 - 500 * rate) < 4 * 9.1 / 20**0.5


def test_a_lower_rate_accepts_more():
    model, images = small.memories(), small.clean(200, seed=4)
    counts = []
    for rate in (0.02, 0.1, 0.4):
        guard = Guard(model, model, image_shape=small.SHAPE).calibrate(small.clean(), rate)
        counts.append(guard.predict(images).n_rejected)
    assert counts == sorted(counts)
    assert counts[0] < counts[2]


def test_too_few_clean_images():
    model = small.memories()
    with pytest.raises(InputError, match="wanted at least 198"):
        Guard(model, model, image_shape=small.SHAPE).calibrate(small.clean(197))
    with pytest.raises(InputError, match="wanted at least 99"):
        Guard(model, model, score="gap", image_shape=small.SHAPE).calibrate(small.clean(98))
    Guard(model, model, score="gap", image_shape=small.SHAPE).calibrate(small.clean(99))
    Guard(model, model, image_shape=small.SHAPE).calibrate(small.clean(198))


def test_clean_images_have_to_be_clean():
    guard, images = small.guard(), small.clean(100).visible()
    images[3, 3] = torch.nan
    with pytest.raises(InputError, match="1 of 100 clean images"):
        guard.calibrate(images, 0.05)
    with torch.no_grad():
        guard.detector.network.memories[:, : small.N] = -1
        guard.detector.network.memories[:, small.N :] = 0
    with pytest.raises(InputError, match="no_active_memory"):
        Guard(guard.detector.network, guard.classifier, score="gap", image_shape=small.SHAPE
              ).calibrate(torch.ones(100, small.N), 0.05)  # fmt: skip


def test_an_infinite_score_of_ones_own_detector_says_nothing_of_memories():
    guard = Guard(lambda v: v[:, 0] * 0 + torch.inf, small.memories(), n_visible=small.N)
    with pytest.raises(InputError, match="400 of 400 clean images have an infinite score"):
        guard.calibrate(small.clean(), 0.05)
    some = Guard(lambda v: v[:, 0].where(v[:, 0] > 0, torch.inf), small.memories(), n_visible=2)
    verdicts = some.calibrate(torch.full((100, 2), 0.5), 0.05).predict(torch.tensor([[-0.5, 0.5]]))
    assert verdicts[0].reason == "low_confidence"


def test_a_calibration_that_fails_changes_nothing():
    """Memories that only know images of negative pixels: for others none is active."""
    model = denseam.DenseAM(small.N, 2, 3, 3.0, 1.0)
    with torch.no_grad():
        model.memories.zero_()
        model.memories[:, : small.N] = -1
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(400, small.N, generator=generator)
    guard = Guard(model, model, image_shape=small.SHAPE).calibrate(-0.9 * noise - 0.05, 0.05)
    before, facts = guard.predict(-0.5 * noise), guard.to_json()
    mixed = torch.cat([-0.2 * noise[:250], noise[250:]])
    with pytest.raises(InputError, match="no_active_memory"):
        guard.calibrate(mixed, 0.1)
    after = guard.predict(-0.5 * noise)
    assert torch.equal(after.scores, before.scores)
    assert torch.equal(after.p_values, before.p_values)
    assert guard.to_json() == facts


def test_before_calibration():
    guard = Guard(small.memories(), small.memories())
    assert not guard.calibrated
    assert guard.to_json()["threshold"] is None
    for act in (lambda: guard.predict(torch.zeros(1, small.N)), lambda: guard.threshold):
        with pytest.raises(InputError, match="not calibrated"):
            act()
    with pytest.raises(InputError, match="not calibrated"):
        GuardedModel(guard)


def test_facts():
    guard = small.guard("gap+log_energy")
    facts = guard.to_json()
    assert (guard.n_visible, guard.n_classes, guard.image_shape) == (small.N, small.C, small.SHAPE)
    assert facts["target_rejection"] == 0.05
    assert facts["n_calibration"] == 200
    assert facts["threshold"] == guard.threshold
    assert facts["detector"]["kind"] == facts["classifier"]["kind"] == "network"
    assert Guard("mnist-n2", "mnist-n3").image_shape == (28, 28)
    assert Guard(small.memories(), small.memories()).image_shape is None


class Constant:
    """A scorer of one's own."""

    n_visible = small.N

    def score(self, visible):
        return visible.abs().mean(dim=1)


def test_a_detector_of_ones_own():
    images = small.clean(seed=3)
    for detector in (Constant(), Constant().score):
        guard = Guard(detector, small.memories(), n_visible=small.N)
        found = guard.calibrate(images, 0.05).predict(small.clean(50, seed=4))
        assert set(found.detector_labels.tolist()) == {-1}
        assert "disagree" not in found.reason_counts()
        wanted = small.clean(50, seed=4).visible().abs().mean(dim=1)
        torch.testing.assert_close(found.scores, wanted.double())
    assert guard.to_json()["score"] == "its own"


@pytest.mark.parametrize(
    "answer",
    [
        lambda v: v, lambda v: v.sum(dim=1) * torch.nan, lambda v: 1.0, lambda v: None,
        lambda v: "abc", lambda v: [None] * len(v), lambda v: {"score": v}, len,
        lambda v: torch.zeros(len(v), dtype=torch.complex64),
    ],
)  # fmt: skip
def test_detectors_that_give_no_scores_are_refused(answer):
    guard = Guard(answer, small.memories(), n_visible=small.N)
    with pytest.raises(AnswerError, match="the detector returned"):
        guard.calibrate(small.clean(), 0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"detector": 3}, "detector: wanted"),
        ({"classifier": 3}, "classifier: wanted"),
        ({"detector": "mnist-n31"}, "no model 'mnist-n31'"),
        ({"image_shape": (3, 4)}, "20 pixels"),
        ({"score": "energy"}, "wanted activity"),
        ({"detector": lambda v: v}, "n_visible"),
        ({"classifier": len, "takes": "images"}, "image_shape"),
        ({"takes": "pixels"}, "wanted 'visible'"),
        ({"detector": denseam.baselines.ReLUNetwork(20, 3, 4, 2.0, 1.0), "score": "distance"},
         "winning memory"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(arguments, message):
    members = {"detector": small.memories(), "classifier": small.memories()}
    with pytest.raises(InputError, match=message):
        Guard(**(members | arguments))


# ---- GuardedModel ------------------------------------------------------------------------------


@pytest.mark.parametrize("score", ["profile", "gap+log_energy", "distance"])
def test_the_module_says_what_the_guard_says(score):
    guard = small.guard(score)
    model = GuardedModel(guard)
    visible = torch.cat([small.clean(60, seed=4).visible(), junk()])
    logits = model((visible / 2 + 0.5).reshape(-1, 1, *small.SHAPE))
    assert logits.shape == (110, small.C + 1)
    found = guard.predict(visible)
    said = torch.where(found.accepted, found.labels, small.C)
    near = (found.scores - guard.threshold).abs() < 1e-4
    assert torch.equal(logits.argmax(dim=1)[~near], said[~near])
    assert int(near.sum()) < 5


def test_the_module_has_a_gradient_through_both_members():
    model = GuardedModel(small.guard())
    images = (small.clean(5, seed=4).images / 2 + 0.5)[:, None].requires_grad_()
    logits = model(images)
    (junk_slope,) = torch.autograd.grad(logits[:, -1].sum(), images, retain_graph=True)
    (label_slope,) = torch.autograd.grad(logits[:, 0].sum(), images)
    assert bool((junk_slope.flatten(1).norm(dim=1) > 0).all())
    assert bool((label_slope.flatten(1).norm(dim=1) > 0).all())
    assert not torch.allclose(junk_slope, label_slope)
    logits = model(images)
    beyond = logits[:, -1] - logits[:, :-1].amax(dim=1)
    (apart,) = torch.autograd.grad(beyond.sum(), images)
    visible = (2 * images.detach().flatten(1) - 1).requires_grad_()
    (wanted,) = torch.autograd.grad(model.score(visible).sum(), visible)
    torch.testing.assert_close(apart.flatten(1), 2 * wanted, rtol=1e-3, atol=1e-4)


def test_the_module_takes_modules_and_refuses_functions():
    linear = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(small.N, small.C))
    guard = Guard(small.memories(), linear, image_shape=small.SHAPE).calibrate(small.clean(), 0.05)
    images = small.clean(20, seed=4)
    unit = (images.images / 2 + 0.5)[:, None]
    with torch.no_grad():
        said = GuardedModel(guard)(unit)[:, :-1].argmax(dim=1)
        assert torch.equal(said, linear(unit).argmax(dim=1))
    guard = Guard(small.memories(), len, image_shape=small.SHAPE).calibrate(small.clean(), 0.05)
    with pytest.raises(InputError, match="no gradient"):
        GuardedModel(guard)
    guard = Guard(Constant(), linear, image_shape=small.SHAPE).calibrate(small.clean(), 0.05)
    with pytest.raises(InputError, match="no gradient"):
        GuardedModel(guard)
    with pytest.raises(InputError, match="slope"):
        GuardedModel(small.guard(), slope=0)
    with pytest.raises(InputError, match="images are"):
        GuardedModel(small.guard())(torch.zeros(2, 1, 4, 4))


def test_a_copy_asks_its_own_networks():
    """And not those of the guard that it was copied from."""
    guard, images = small.guard(), small.clean(20)
    wanted = guard.predict(images)
    copied = copy.deepcopy(guard)
    with torch.no_grad():
        guard.detector.network.memories.zero_()
        guard.classifier.network.memories.zero_()
    found = copied.predict(images)
    assert torch.equal(found.scores, wanted.scores)
    assert torch.equal(found.labels, wanted.labels)
