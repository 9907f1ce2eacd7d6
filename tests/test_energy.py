"""The oracle against loops that spell the paper's sums out, and its gradients against autograd."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from denseam import energy

POWERS = [1, 1.5, 2, 3, 20]


def problem(seed: int = 0) -> tuple[Tensor, Tensor]:
    """visible (4, 7), memories (5, 7 + 3), float64."""
    generator = torch.Generator().manual_seed(seed)
    visible = torch.rand(4, 7, generator=generator, dtype=torch.float64) * 2 - 1
    memories = torch.rand(5, 10, generator=generator, dtype=torch.float64) * 2 - 1
    return visible, memories


def relu_power(x: float, n: float) -> float:
    return x**n if x > 0 else 0.0


def total_energy(v: list[float], xs: list[float], memories: list[list[float]], n: float) -> float:
    """E = -sum_mu F_n(sum_i xi_i v_i + sum_c xi_c x_c), over the whole network state."""
    state = v + xs
    return -sum(
        relu_power(sum(a * b for a, b in zip(xi, state, strict=True)), n) for xi in memories
    )


@pytest.mark.parametrize("power", POWERS)
def test_energy_gap_is_what_switching_one_neuron_on_gains(power: float) -> None:
    visible, memories = problem()
    T, rows = 3.0, memories.tolist()
    found = energy.energy_gap(visible, memories, power, T)
    for b, v in enumerate(visible.tolist()):
        off = total_energy(v, [-1.0] * 3, rows, power)
        for c in range(3):
            on = total_energy(v, [1.0 if i == c else -1.0 for i in range(3)], rows, power)
            assert found[b, c].item() == pytest.approx((off - on) / T**power, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("power", POWERS)
def test_log_energy_is_the_logarithm_of_minus_the_energy(power: float) -> None:
    visible, memories = problem(1)
    found = energy.log_energy(visible, memories, power)
    for b, v in enumerate(visible.tolist()):
        for c in range(3):
            xs = [1.0 if i == c else -1.0 for i in range(3)]
            on = total_energy(v, xs, memories.tolist(), power)
            wanted = math.log(-on) if on else -math.inf
            assert found[b, c].item() == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@given(seed=st.integers(0, 10**6), power=st.floats(1, 30), temperature=st.floats(0.5, 50))
def test_log_energy_and_gap_and_activity_order_the_classes_alike(
    seed: int, power: float, temperature: float
) -> None:
    visible, memories = problem(seed)
    log = energy.log_energy(visible, memories, power)
    gap = energy.energy_gap(visible, memories, power, temperature)
    best = log.argmax(dim=1)
    size = gap.abs().amax(dim=1) + 1e-300
    behind = gap.amax(dim=1) - gap.gather(1, best[:, None])[:, 0]
    assert bool((behind <= 1e-12 * size).all())
    activity = energy.class_activity(visible, memories, power, temperature)
    assert torch.equal(activity, gap.tanh())


def test_fields_differ_by_twice_the_class_weight() -> None:
    visible, memories = problem()
    on, off = energy.fields(visible, memories)
    assert on.shape == (4, 5, 3)
    assert off.shape == (4, 5)
    all_off = torch.cat([visible, -torch.ones(4, 3, dtype=torch.float64)], dim=1)
    assert torch.allclose(off, all_off @ memories.T)
    assert torch.allclose(on - off[:, :, None], 2 * memories[:, 7:].expand(4, -1, -1))


@pytest.mark.parametrize("power", [1, 1.5, 2, 3, 30, 31])
def test_rectified_polynomial_is_zero_below_zero_and_a_power_above(power: float) -> None:
    x = torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0], dtype=torch.float64)
    wanted = torch.tensor([0.0, 0.0, 0.0, 0.5**power, 2.0**power], dtype=torch.float64)
    assert torch.allclose(energy.rectified_polynomial(x, power), wanted)
    slope = torch.tensor(
        [0.0, 0.0, 0.0, power * 0.5 ** (power - 1), power * 2.0 ** (power - 1)],
        dtype=torch.float64,
    )
    assert torch.allclose(energy.rectified_polynomial_slope(x, power), slope)


@pytest.mark.parametrize("power", POWERS)
def test_gradients_of_gap_and_log_energy_are_those_of_autograd(power: float) -> None:
    visible, memories = problem(2)
    visible.requires_grad_()
    memories.requires_grad_()
    upstream = torch.randn(4, 3, dtype=torch.float64)
    gap = energy.energy_gap(visible, memories, power, 3.0)
    log = energy.log_energy(visible, memories, power)
    log = torch.where(log > -torch.inf, log, 0.0)
    for value, found in [
        (gap, energy.energy_gap_gradient(upstream, visible, memories, power, 3.0)),
        (log, energy.log_energy_gradient(upstream, visible, memories, power)),
    ]:
        wanted = torch.autograd.grad(value, (memories, visible), upstream)
        for a, b in zip(found, wanted, strict=True):
            assert torch.allclose(a, b.nan_to_num(nan=0.0), rtol=1e-9, atol=1e-12)


def test_log_energy_without_an_active_memory_is_minus_infinity_and_has_no_gradient() -> None:
    visible = torch.ones(2, 7, dtype=torch.float64)
    memories = torch.full((5, 10), -1.0, dtype=torch.float64)
    assert bool((energy.log_energy(visible, memories, 30) == -math.inf).all())
    upstream = torch.ones(2, 3, dtype=torch.float64)
    for gradient in energy.log_energy_gradient(upstream, visible, memories, 30):
        assert not bool(gradient.any())


@pytest.mark.parametrize("loss_power", [1, 2, 3.5, 30])
def test_objective_sums_powers_of_the_difference_and_knows_its_gradient(loss_power: float) -> None:
    activity = torch.tensor([[0.5, -0.25, -1.0], [0.9, 0.1, 0.0]], dtype=torch.float64)
    activity.requires_grad_()
    target = energy.targets(torch.tensor([0, 2]), 3, torch.float64)
    assert target.tolist() == [[1, -1, -1], [-1, -1, 1]]
    value = energy.objective(activity, target, loss_power)
    wanted = sum(
        abs(a - t) ** (2 * loss_power)
        for a, t in zip(activity.flatten().tolist(), target.flatten().tolist(), strict=True)
    )
    assert value.item() == pytest.approx(wanted)
    (gradient,) = torch.autograd.grad(value, activity)
    assert torch.allclose(energy.objective_gradient(activity, target, loss_power), gradient)


def test_class_activity_gradient_is_that_of_tanh() -> None:
    gap = torch.linspace(-3, 3, 12, dtype=torch.float64).reshape(4, 3).requires_grad_()
    upstream = torch.randn(4, 3, dtype=torch.float64)
    activity = gap.tanh()
    (wanted,) = torch.autograd.grad(activity, gap, upstream)
    assert torch.allclose(energy.class_activity_gradient(upstream, activity), wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_results_have_the_dtype_of_the_inputs(dtype: torch.dtype) -> None:
    visible, memories = (x.to(dtype) for x in problem())
    assert energy.energy_gap(visible, memories, 3, 2.0).dtype is dtype
    assert energy.log_energy(visible, memories, 3).dtype is dtype
