"""The controlled mode lands where many small fixed steps land, with fewer gradients."""

import pytest
import torch
from tests.descent.small import images, prototypes, random_model
from torch import nn

from denseam import energy
from denseam.descent import Stop, cross_boundary
from denseam.descent.controller import heun
from denseam.descent.goals import PaperObjective
from denseam.descent.heads import head_of
from denseam.descent.loop import Pace, descend
from denseam.errors import InputError


@pytest.mark.parametrize("objective", ["paper", "margin"])
@pytest.mark.parametrize("power", [3.0, 20.0])
def test_it_lands_where_small_steps_land(power, objective):
    model, v = prototypes(power), images(25, 12)
    fine = cross_boundary(model, v, step=0.001, max_steps=20_000, objective=objective)
    found = cross_boundary(model, v, step=0.02, mode="controlled", objective=objective)
    # The paper's objective leads two of these images into a corner, in either mode.
    assert fine.success.sum() >= 23
    assert torch.equal(found.success, fine.success)
    off = (found.boundary - fine.boundary).norm(dim=1)
    assert (off <= 0.05 * fine.boundary_distances.l2 + 0.02)[fine.success].all()
    assert found.steps.double().mean() < fine.steps.double().mean() / 10


def test_the_image_is_one_step_behind_the_boundary():
    model, v = prototypes(20.0), images(25, 12)
    found = cross_boundary(model, v, step=0.05, mode="controlled", clip=False)
    behind = (found.images - found.boundary).norm(dim=1)[found.success]
    assert len(behind) >= 23
    torch.testing.assert_close(behind, torch.full_like(behind, 0.05))
    scores = energy.log_energy(found.images, model.memories.detach(), 20)
    assert (scores.argmax(dim=1) == found.targets)[found.success].all()
    assert found.margin[found.success].max() <= 1e-6


def test_steps_count_gradients():
    calls = []

    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.inner = nn.Linear(12, 3).double()

        def forward(self, x):
            if x.requires_grad:
                calls.append(len(x))
            return self.inner(x)

    v = images(1, 12)
    found = cross_boundary(Counting(), v, step=0.01, mode="controlled", objective="margin")
    # More looks than gradients: one decides top and targets, one is at the start, some bisect.
    assert found.success.all()
    assert int(found.steps) <= len(calls) - 2
    straight = cross_boundary(Counting(), v, step=0.01, objective="margin")
    assert int(found.steps) < int(straight.steps) / 2


def test_in_a_narrow_valley_it_takes_the_fixed_steps():
    """Between two prototypes the paper's objective at m = 30 throws an image from wall to wall."""
    model, v = random_model(30.0), images(40, 9)
    found = cross_boundary(model, v, step=0.05, mode="controlled")
    plain = cross_boundary(model, v, step=0.05)
    assert found.success.sum() >= plain.success.sum()
    assert (found.steps <= 2 * plain.steps + 20).all()


def test_images_that_get_nowhere_stop():
    model, v = prototypes(20.0), images(6, 12)
    top = model.predict(v)
    head = head_of(model, torch.Size([model.n_visible]), log_energy=False)
    end = descend(
        head, v, PaperObjective(top, 4.0), Pace(0.05, 3000), advance=heun,
        crossed=lambda scores, rows: torch.zeros(len(rows), dtype=torch.bool),
    )  # fmt: skip
    stops = [list(Stop)[c] for c in end.codes.tolist()]
    assert set(stops) == {Stop.CONVERGED}
    assert (end.steps < 3000).all()


def test_the_limit_of_gradients_is_kept():
    found = cross_boundary(prototypes(), images(8, 12), step=0.001, mode="controlled", max_steps=5)
    assert found.stop_counts() == {Stop.MAX_STEPS: 8}
    assert (found.steps <= 6).all()


def test_parts_change_nothing():
    model, v = prototypes(20.0), images(23, 12)
    whole = cross_boundary(model, v, mode="controlled")
    parts = cross_boundary(model, v, mode="controlled", chunk=5)
    torch.testing.assert_close(whole.images, parts.images)
    assert torch.equal(whole.steps, parts.steps)


def test_only_the_l2_norm_has_that_curve():
    with pytest.raises(InputError, match="controlled"):
        cross_boundary(prototypes(), images(2, 12), mode="controlled", norm="linf")
