"""Directions in pixel space against finite differences of the float64 oracle."""

import pytest
import torch
from tests.descent.small import images, random_model

from denseam import energy
from denseam.descent.goals import CrossEntropy, Margin, PaperObjective, log_objective
from denseam.descent.heads import head_of
from denseam.heads import unit

STEP = 1e-6


def energy_gap_head(model):
    return head_of(model, torch.Size([9]), log_energy=False)


def finite_differences(function, visible):
    """(B,)-valued function of (B, N) -> its gradient (B, N), by central differences."""
    columns = []
    for i in range(visible.shape[1]):
        shift = torch.zeros_like(visible)
        shift[:, i] = STEP
        columns.append((function(visible + shift) - function(visible - shift)) / (2 * STEP))
    return torch.stack(columns, dim=1)


def direction(head, goal, visible):
    scores = head(visible)
    return unit(scores.pull(goal.weights(scores.values)))[0]


@pytest.mark.parametrize("power", [2.0, 3.0, 7.5, 20.0])
@pytest.mark.parametrize("loss_power", [1.0, 4.0, 30.0])
def test_the_papers_objective_is_descended_along_its_gradient(power, loss_power):
    model, v = random_model(power), images(5, 9)
    target = torch.tensor([0, 1, 2, 3, 0])

    def objective(x):
        gap = energy.energy_gap(x, model.memories.detach(), power, model.temperature)
        return log_objective(gap, target, loss_power)

    # Differences have no digits left where gaps are tiny (large n): there autograd of the oracle.
    x = v.clone().requires_grad_()
    (exact,) = torch.autograd.grad(objective(x).sum(), x)
    found = direction(energy_gap_head(model), PaperObjective(target, loss_power), v)
    torch.testing.assert_close(found, unit(exact)[0], atol=1e-9, rtol=0)
    if power <= 3:
        expected, _ = unit(finite_differences(objective, v))
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("power", [2.0, 20.0])
def test_margin_and_cross_entropy_follow_the_log_energy(power):
    model, v = random_model(power), images(5, 9)
    source, target = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 2, 3, 0, 2])
    head = head_of(model, torch.Size([9]), log_energy=True)

    def log_energy(x):
        return energy.log_energy(x, model.memories.detach(), power)

    def margin(x):
        scores = log_energy(x)
        return (scores.gather(1, source[:, None]) - scores.gather(1, target[:, None])).squeeze(1)

    def cross_entropy(x):
        return torch.nn.functional.cross_entropy(log_energy(x), source, reduction="none")

    for goal, function in (
        (Margin(source, target), margin),
        (CrossEntropy(source), cross_entropy),
    ):
        expected, _ = unit(finite_differences(function, v))
        torch.testing.assert_close(direction(head, goal, v), expected, atol=2e-6, rtol=0)


def test_log_objective_is_the_logarithm_of_the_objective_and_never_saturates():
    gap = torch.tensor([[0.3, -0.2, 0.1], [400.0, -400.0, -300.0]], dtype=torch.float64)
    target = torch.tensor([1, 0])
    expected = ((gap[0].tanh() - torch.tensor([-1.0, 1.0, -1.0])) ** 8).sum().log()
    found = log_objective(gap, target, 4.0)
    torch.testing.assert_close(found[0], expected)
    assert found[1].isfinite()
    assert found[1] < -4000


@pytest.mark.parametrize("power", [20.0, 30.0, 100.0])
def test_at_noise_float32_directions_stay_those_of_float64(power):
    """Fields are 1 % of T: (h / T)^(n - 1) is zero in float32, the direction is not."""
    model = random_model(power, torch.float32)
    model.temperature = 800.0
    v, target = images(6, 9, torch.float32), torch.tensor([0, 1, 2, 3, 0, 1])
    exact = random_model(power)
    exact.temperature = 800.0
    goal = PaperObjective(target, 30.0)
    found = direction(energy_gap_head(model), goal, v)
    expected = direction(energy_gap_head(exact), goal, v.double())
    assert (found.norm(dim=1) - 1).abs().max() < 1e-6
    assert (found * expected.float()).sum(dim=1).min() > 1 - 1e-4


def test_saturated_images_still_have_a_direction():
    model, v = random_model(20.0), images(4, 9)
    model.temperature = 0.05  # every |Y| is exactly 1
    scores = energy_gap_head(model)(v)
    assert (scores.values.tanh().abs() == 1).all()
    goal = PaperObjective(torch.tensor([0, 1, 2, 3]), 4.0)
    assert (direction(energy_gap_head(model), goal, v).norm(dim=1) - 1).abs().max() < 1e-12


def test_unit_survives_tiny_huge_zero_and_broken_rows():
    rows = torch.tensor(
        [[3e-38, 4e-38], [3e38, 2e38], [0, 0], [float("nan"), 1], [float("inf"), 1]]
    )
    directions, size = unit(rows)
    assert (directions[:2].norm(dim=1) - 1).abs().max() < 1e-6
    assert (directions[2:] == 0).all()
    assert size[2] == 0
    assert not size[3:].isfinite().any()
