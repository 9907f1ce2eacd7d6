"""Powers up to 100, tiny and huge T, fields near zero: never NaN, never the wrong sign."""

import math

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from denseam import energy, kernels

from .problems import (
    BACKENDS,
    DTYPES,
    Problem,
    assert_within,
    gap_size,
    grid,
    log_gradient_sizes,
    on_examples,
    rtol,
)

pytestmark = pytest.mark.parametrize("backend", BACKENDS)


def gap_and_gradients(p: Problem, backend: str) -> tuple[Tensor, Tensor, Tensor]:
    v, xi = p.visible.clone().requires_grad_(), p.memories.clone().requires_grad_()
    gap = kernels.energy_gap(v, xi, p.power, p.temperature, backend=backend)
    return gap.detach(), *torch.autograd.grad(gap.sum(), (v, xi))


def log_and_gradients(p: Problem, backend: str) -> tuple[Tensor, Tensor, Tensor]:
    v, xi = p.visible.clone().requires_grad_(), p.memories.clone().requires_grad_()
    value = kernels.log_energy(v, xi, p.power, backend=backend)
    active = torch.where(value > -torch.inf, value, torch.zeros_like(value))
    return value.detach(), *torch.autograd.grad(active.sum(), (v, xi))


def check_finite(
    backend: str, N: int, C: int, power: float, log_temperature: float, faintness: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    visible, memories = faintness * grid(generator, 5, N), grid(generator, 13, N + C)
    p = Problem(visible, memories, float(power), 10**log_temperature)
    for actual in gap_and_gradients(p, backend):
        assert bool(actual.isfinite().all())
    value, to_images, to_memories = log_and_gradients(p, backend)
    assert not bool(value.isnan().any() or (value == torch.inf).any())
    assert bool(to_images.isfinite().all() and to_memories.isfinite().all())
    label = kernels.labels(p.visible, p.memories, p.power, backend=backend)
    assert bool(((label >= 0) & (label < C)).all())


def test_nothing_is_nan_or_infinite_up_to_power_100(backend: str) -> None:
    on_examples(
        backend, lambda **drawn: check_finite(backend, **drawn),
        N=st.sampled_from([1, 2, 10, 784]),
        C=st.integers(1, 10),
        power=st.one_of(st.integers(1, 100), st.floats(1, 100)),
        log_temperature=st.floats(-3, 6),
        faintness=st.sampled_from([1.0, 1e-3, 0.0]),
        seed=st.integers(0, 1000),
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("power", [30, 100, 200, 33.3])
def test_gap_beyond_the_range_is_clamped_with_the_right_sign(
    backend: str, power: float, dtype: torch.dtype
) -> None:
    # T = 1 and N = 784: fields of 784, gaps of 784^n. Row 0 votes for class 0 and against 1.
    memories = torch.ones(2, 786, dtype=dtype)
    memories[:, 785] = -1
    memories[1] *= -1
    p = Problem(memories[:1, :784].clone(), memories, power, 1.0)
    gap, to_images, to_memories = gap_and_gradients(p, backend)
    limit = torch.finfo(dtype).max
    if power * math.log(786) > math.log(limit):
        assert gap[0, 0] > 0.1 * limit
    else:
        assert gap[0, 0].item() == pytest.approx(786**power - 784**power, rel=1e-4)
    assert gap[0, 1] < 0
    assert bool(gap.isfinite().all())
    assert bool(to_images.isfinite().all() and to_memories.isfinite().all())


@pytest.mark.parametrize("power", [30, 100])
def test_gradient_beyond_the_range_keeps_its_direction(backend: str, power: float) -> None:
    generator = torch.Generator().manual_seed(0)
    p = Problem(grid(generator, 3, 784), grid(generator, 7, 794), power, 0.5)
    upstream = torch.zeros(3, 10)
    upstream[:, 4], upstream[:, 2] = 1, -1  # class 4 against class 2
    v = p.visible.clone().requires_grad_()
    gap = kernels.energy_gap(v, p.memories, power, p.temperature, backend=backend)
    (actual,) = torch.autograd.grad(gap, v, upstream)
    exact = p.to(torch.float64)
    _, expected = energy.energy_gap_gradient(
        upstream.double(), exact.visible, exact.memories, power, p.temperature
    )
    assert float(expected.abs().max()) > torch.finfo(torch.float32).max
    direction, expected = actual.double(), expected / expected.abs().amax(dim=1, keepdim=True)
    direction = direction / direction.abs().amax(dim=1, keepdim=True)
    assert torch.allclose(direction, expected, atol=1e-3)


def test_saturated_activity_has_a_zero_gradient_not_nan(backend: str) -> None:
    generator = torch.Generator().manual_seed(0)
    v = grid(generator, 3, 784).requires_grad_()
    memories = grid(generator, 7, 794).requires_grad_()
    activity = torch.tanh(kernels.energy_gap(v, memories, 100.0, 1.0, backend=backend))
    activity.sum().backward()
    assert bool((activity.abs() == 1).all())
    assert not bool(v.grad.any() or memories.grad.any())


@pytest.mark.parametrize("power", [1, 2, 30, 99.5, 100])
def test_huge_temperature_underflows_to_zero(backend: str, power: float) -> None:
    generator = torch.Generator().manual_seed(1)
    p = Problem(grid(generator, 3, 784), grid(generator, 7, 794), power, 1e30)
    gap, to_images, to_memories = gap_and_gradients(p, backend)
    exact = p.to(torch.float64)
    expected = energy.energy_gap(exact.visible, exact.memories, power, 1e30)
    assert_within(gap, expected, gap_size(exact), rtol(p, torch.float32))
    assert bool(to_images.isfinite().all() and to_memories.isfinite().all())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("power", [1, 1.5, 2, 30, 100])
def test_without_an_active_memory_all_is_zero_and_says_so(
    backend: str, power: float, dtype: torch.dtype
) -> None:
    memories = torch.full((9, 47), -1.0, dtype=dtype)  # N = 37, C = 10
    p = Problem(torch.ones(65, 37, dtype=dtype), memories, power, 2.0)
    gap, *gap_gradients = gap_and_gradients(p, backend)
    value, *log_gradients = log_and_gradients(p, backend)
    assert not bool(gap.any())
    assert bool((value == -torch.inf).all())
    for gradient in gap_gradients + log_gradients:
        assert bool((gradient == 0).all())
    assert not bool(kernels.labels(p.visible, memories, power, backend=backend).any())


@pytest.mark.parametrize("power", [1, 2.5, 30])
def test_a_silent_image_leaves_the_others_as_they_are(backend: str, power: float) -> None:
    generator = torch.Generator().manual_seed(2)
    memories = grid(generator, 9, 47)
    memories[:, :37] = -memories[:, :37].abs() - 1 / 64
    memories[:, 37:] = -memories[:, 37:].abs() / 16
    visible = -grid(generator, 6, 37).abs()
    with_silent = visible.clone()
    with_silent[3] = 1
    p, q = Problem(visible, memories, power, 9.0), Problem(with_silent, memories, power, 9.0)
    for function in (gap_and_gradients, log_and_gradients):
        others, silent = function(p, backend), function(q, backend)
        keep = torch.arange(6) != 3
        for a, b in zip(others[:2], silent[:2], strict=True):  # values, gradients to images
            assert torch.allclose(a[keep], b[keep], rtol=1e-5)
        assert not bool(silent[1][3].any())
        assert bool(silent[2].isfinite().all())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("power", [30, 100, 99.5])
def test_log_energy_of_a_class_far_below_the_others_is_exact(
    backend: str, power: float, dtype: torch.dtype
) -> None:
    # Fields of about 4 for class 0 and of at most 5/64 for class 1: 1e-170 of it at n = 100.
    memories = torch.full((70, 6), 0.5, dtype=dtype)
    memories[:, 0] += (1 + torch.arange(70) % 5) / 64
    memories[:, 4], memories[:, 5] = 1, -1
    visible = torch.ones(67, 4, dtype=dtype)
    visible[:, 0] -= torch.arange(67) % 3 / 64
    p = Problem(visible, memories, power, 1.0)
    exact = p.to(torch.float64)
    expected = energy.log_energy(exact.visible, exact.memories, power)
    assert bool((expected[:, 0] - expected[:, 1] > 80).all())  # float32 ends 87 below
    assert bool(expected.isfinite().all())
    value, to_images, to_memories = log_and_gradients(p, backend)
    assert_within(value, expected, 1 + expected.abs() / power, rtol(p, dtype))
    upstream = torch.ones(67, 2, dtype=torch.float64)
    oracle = energy.log_energy_gradient(upstream, exact.visible, exact.memories, power)
    sizes = log_gradient_sizes(exact, upstream)
    for actual, want, size in zip((to_memories, to_images), oracle, sizes, strict=True):
        assert_within(actual, want, size, 2 * rtol(p, dtype))


@pytest.mark.parametrize("power", [30, 100])
def test_label_does_not_drown_in_a_large_off_term(backend: str, power: float) -> None:
    # off = 0.99, on = -0.01 and 0.01: beside off, both classes underflow in float32.
    memories = torch.tensor([[0.0, -0.5, -0.49]])
    visible = torch.zeros(3, 1)
    assert kernels.labels(visible, memories, power, backend=backend).tolist() == [1, 1, 1]
    value = kernels.log_energy(visible, memories, power, backend=backend)
    assert bool((value[:, 0] == -torch.inf).all())
    assert value[0, 1] == pytest.approx(power * math.log(0.01), rel=1e-5)


@pytest.mark.parametrize("power", [1, 2, 30, 1.5])
def test_faint_noise_keeps_a_direction(backend: str, power: float) -> None:
    generator = torch.Generator().manual_seed(3)
    memories = grid(generator, 20, 110)
    memories[:, 100:] = 0  # no class weights: the fields are as small as the image
    visible = 2.0**-40 * grid(generator, 8, 100)
    p = Problem(visible, memories, power, 1.0)
    exact = p.to(torch.float64)
    expected = energy.log_energy(exact.visible, exact.memories, power)
    value, to_images, _ = log_and_gradients(p, backend)
    assert_within(value, expected, 1 + expected.abs() / power, rtol(p, torch.float32))
    assert bool((to_images.abs().amax(dim=1) > 0).all())


def test_subnormal_fields_are_not_nan(backend: str) -> None:
    memories = torch.tensor([[1e-40, 0.0, 0.0], [0.0, 0.0, 0.0]])
    p = Problem(torch.ones(2, 1), memories, 2.0, 1.0)
    for actual in gap_and_gradients(p, backend):
        assert bool(actual.isfinite().all())
    assert not bool(kernels.log_energy(p.visible, memories, 2.0, backend=backend).isnan().any())
