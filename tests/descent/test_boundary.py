"""Crossing the boundary, against boundaries that are known exactly."""

import pytest
import torch
from tests.descent.small import images, prototypes, random_model
from torch import nn

from denseam import DenseAM, energy
from denseam.descent import Stop, cross_boundary
from denseam.errors import InputError


def linear(n_classes: int) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(12, n_classes).double()


def test_a_linear_boundary_is_the_exact_projection():
    module, v = linear(2), images(20, 12)
    with torch.no_grad():
        scores = module(v)
        top = scores.argmax(dim=1)
        normal = module.weight[top] - module.weight[1 - top]
        gap = (scores.gather(1, top[:, None]) - scores.gather(1, 1 - top[:, None])).squeeze(1)
        distance = gap / normal.norm(dim=1)
        projection = v - (distance / normal.norm(dim=1))[:, None] * normal
    found = cross_boundary(module, v, step=0.01, objective="margin", clip=False)
    assert found.success.all()
    torch.testing.assert_close(found.boundary, projection, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.boundary_distances.l2, distance, atol=1e-5, rtol=0)


@pytest.mark.parametrize("objective", ["paper", "margin"])
@pytest.mark.parametrize("target", ["second", "least", "random"])
def test_the_boundary_is_the_root_between_the_two_iterates(objective, target):
    model, v = prototypes(), images(15, 12)
    found = cross_boundary(model, v, target, step=0.05, objective=objective)
    # The paper's objective can lead far targets to a plateau instead: those stay failures.
    assert found.success.all() or (objective == "paper" and target != "second")
    assert found.success.sum() > 10
    memories = model.memories.detach()
    for row in found.success.nonzero().flatten().tolist():
        wanted = int(found.targets[row])

        def lead(x, wanted=wanted):
            scores = energy.log_energy(x[None], memories, model.power)[0]
            others = scores.clone()
            others[wanted] = -torch.inf
            return float(scores[wanted] - others.max())

        low, high = found.before[row], found.images[row]
        assert lead(low) < 0 <= lead(high)
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if lead(middle) >= 0 else (middle, high)
        assert (found.boundary[row] - high).norm() < 1e-6
    assert found.margin[found.success].max() <= 1e-6


def test_steps_have_the_length_asked_for():
    model, v = prototypes(), images(15, 12)
    for norm, order in (("l2", 2), ("linf", torch.inf)):
        found = cross_boundary(model, v, step=0.05, norm=norm, clip=False)
        length = torch.linalg.vector_norm(found.images - found.before, ord=order, dim=1)
        assert (length[found.steps > 0] - 0.05).abs().max() < 1e-6


def test_the_image_behind_is_the_target_in_float64_and_the_one_before_is_not():
    model, v = random_model(20.0, torch.float32), images(40, 9, torch.float32)
    found = cross_boundary(model, v, step=0.05)
    exact = random_model(20.0)
    behind = exact.predict(found.images.double().clamp(-1, 1))
    assert (behind == found.targets)[found.success].all()
    assert (model.predict(found.before) != found.targets)[found.steps > 0].all()


def test_second_and_least_are_those_of_the_scores():
    model, v = prototypes(), images(40, 12)
    order = model.log_energy(v).argsort(dim=1, descending=True)
    for target, place in (("second", 1), ("least", 2)):
        found = cross_boundary(model, v, target, max_steps=1)
        assert torch.equal(found.targets, order[:, place])


def test_an_image_that_crosses_onto_a_plateau_has_crossed():
    class Step(nn.Module):
        def forward(self, x):
            rise = (10 * x[:, :1]).clamp(max=1)
            return torch.cat([torch.full_like(rise, 0.5), rise], dim=1)

    found = cross_boundary(Step(), torch.zeros(2, 4).double(), step=0.15, objective="margin")
    assert found.stop_counts() == {Stop.CROSSED: 2}
    assert found.success.all()


@pytest.mark.parametrize("mode", ["faithful", "controlled"])
def test_where_no_memory_is_active_nothing_has_been_crossed(mode):
    """All classes tie there, and the target is the first one that argmax finds."""
    model = DenseAM(4, 2, 1, power=3.0, temperature=5.0).double()
    with torch.no_grad():
        model.memories.copy_(torch.tensor([[1.0, 1.0, 1.0, 1.0, -1.0, 1.0]]))
    found = cross_boundary(model, torch.full((3, 4), 0.5).double(), step=0.2, mode=mode)
    assert (found.targets == 0).all()
    assert (model.predict(found.images) == 0).all()
    assert found.stop_counts() == {Stop.NO_ACTIVE_MEMORY: 3}
    assert not found.success.any()


def test_random_targets_follow_their_seed():
    model, v = prototypes(n_classes=3), images(40, 12)
    first, again, other = (
        cross_boundary(model, v, "random", seed=s, max_steps=1).targets for s in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert set(first.tolist()) == {0, 1, 2}


def test_failed_images_are_kept_with_the_reason():
    model, v = prototypes(), images(10, 12)
    found = cross_boundary(model, v, step=0.001, max_steps=3)
    assert len(found) == 10
    assert not found.success.any()
    assert found.stop_counts() == {Stop.MAX_STEPS: 10}
    assert (found.steps == 3).all()
    assert torch.equal(found.boundary, found.images.double())


def test_parts_and_active_sets_change_nothing():
    model, v = prototypes(20.0), images(33, 12)
    whole = cross_boundary(model, v, step=0.05)
    seen = []
    parts = cross_boundary(
        model, v, step=0.05, chunk=10, on_progress=lambda done, of: seen.append((done, of))
    )
    torch.testing.assert_close(whole.images, parts.images)
    assert whole.stopped == parts.stopped
    done = [images for images, _ in seen]
    assert done == sorted(done)
    assert {(10, 33), (20, 33), (33, 33)} <= set(seen)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"target": "third"}, "target"),
        ({"target": 7}, "labels"),
        ({"step": 0.0}, "step"),
        ({"step": float("nan")}, "step"),
        ({"max_steps": 0}, "max_steps"),
        ({"objective": "loss"}, "objective"),
        ({"norm": "l1"}, "norm"),
        ({"step": float("inf")}, "step = inf"),
        ({"loss_power": 0.5}, "loss_power = 0.5: wanted a number >= 1"),
        ({"loss_power": float("nan")}, "loss_power = nan"),
        ({"target": None}, "target = None: wanted"),
        ({"target": "3"}, "target = '3'"),
        ({"target": torch.zeros(3, dtype=torch.int64)}, r"shape \(3,\): wanted \(4,\)"),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        cross_boundary(prototypes(), images(4, 12), **arguments)


def test_traces_come_in_the_order_of_the_images_whatever_the_chunks():
    model, v = prototypes(), images(6, 12)
    whole, parts = (
        cross_boundary(model, v, samples=[5, 0, 3], max_steps=5, chunk=chunk) for chunk in (6, 2)
    )
    assert [each.sample for each in whole.traces] == [0, 3, 5]
    assert [each.sample for each in parts.traces] == [0, 3, 5]


def test_targets_equal_to_the_top_choice_are_refused():
    model, v = prototypes(), images(4, 12)
    with pytest.raises(InputError, match="own top choice"):
        cross_boundary(model, v, model.predict(v))


def test_bad_images_are_refused():
    model = prototypes()
    for wrong in (torch.empty(0, 12).double(), 3 * images(2, 12), images(2, 12).float()):
        with pytest.raises(InputError):
            cross_boundary(model, wrong)
