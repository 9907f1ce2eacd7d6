"""Every back end equals the oracle, in values and in gradients."""

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from denseam import energy, kernels
from denseam.energies import RectifiedPolynomial
from denseam.kernels import Rule, look
from denseam.kernels.interface import Outcome, Sums

from .problems import (
    BACKENDS,
    DTYPES,
    Problem,
    assert_within,
    gap_gradient_sizes,
    gap_size,
    log_gradient_sizes,
    make_problem,
    on_examples,
    problems,
    rtol,
)


def differentiate(values: Tensor, p: Problem, upstream: Tensor) -> list[Tensor]:
    """To the memories and to the images."""
    grads = torch.autograd.grad(values, (p.memories, p.visible), upstream.to(values.dtype))
    return list(grads)


def check_gap(p: Problem, dtype: torch.dtype, backend: str) -> None:
    exact, leaves = p.to(torch.float64), p.to(dtype)
    leaves.visible.requires_grad_()
    leaves.memories.requires_grad_()
    actual = kernels.energy_gap(
        leaves.visible, leaves.memories, p.power, p.temperature, backend=backend
    )
    expected = energy.energy_gap(exact.visible, exact.memories, p.power, p.temperature)
    assert actual.dtype is dtype
    assert actual.shape == expected.shape
    assert_within(actual.detach(), expected, gap_size(exact), rtol(p, dtype))

    upstream = torch.randn(expected.shape, dtype=dtype).double()
    gradients = differentiate(actual, leaves, upstream)
    oracle = energy.energy_gap_gradient(
        upstream, exact.visible, exact.memories, p.power, p.temperature
    )
    sizes = gap_gradient_sizes(exact, upstream)
    for gradient, want, size in zip(gradients, oracle, sizes, strict=True):
        assert_within(gradient, want, size, rtol(p, dtype))


def check_log(p: Problem, dtype: torch.dtype, backend: str) -> None:
    exact, leaves = p.to(torch.float64), p.to(dtype)
    leaves.visible.requires_grad_()
    leaves.memories.requires_grad_()
    actual = kernels.log_energy(leaves.visible, leaves.memories, p.power, backend=backend)
    expected = energy.log_energy(exact.visible, exact.memories, p.power)
    assert actual.dtype is dtype
    silent = expected == -torch.inf
    assert torch.equal(actual == -torch.inf, silent)
    # A relative error of the sum is an absolute one of its logarithm, which is then rounded.
    size = 1 + expected.abs()[~silent] / p.power
    if size.numel():
        assert_within(actual.detach()[~silent], expected[~silent], size, rtol(p, dtype))

    upstream = torch.randn(expected.shape, dtype=dtype).double()
    gradients = differentiate(actual, leaves, upstream)
    oracle = energy.log_energy_gradient(upstream, exact.visible, exact.memories, p.power)
    sizes = log_gradient_sizes(exact, upstream)
    for gradient, want, size in zip(gradients, oracle, sizes, strict=True):
        # Numerator and denominator are both powers.
        assert_within(gradient, want, size, 2 * rtol(p, dtype))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_energy_gap_and_its_gradients_equal_the_oracle(backend: str, dtype: torch.dtype) -> None:
    on_examples(backend, lambda p: check_gap(p, dtype, backend), p=problems())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_log_energy_and_its_gradients_equal_the_oracle(backend: str, dtype: torch.dtype) -> None:
    on_examples(backend, lambda p: check_log(p, dtype, backend), p=problems())


@pytest.mark.parametrize("power", [1, 1.5, 2, 3, 7.25, 20, 30, 31, 32, 64, 99.5, 100])
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_power_up_to_100_equals_the_oracle(backend: str, power: float) -> None:
    p = make_problem(67, 71, 33, 5, power=power, seed=3)
    for dtype in DTYPES:
        check_gap(p, dtype, backend)
        check_log(p, dtype, backend)


def check_label(p: Problem, backend: str) -> None:
    expected = energy.log_energy(p.visible.double(), p.memories.double(), p.power)
    label = kernels.labels(p.visible, p.memories, p.power, backend=backend)
    assert label.dtype is torch.int64
    best = expected.amax(dim=1)
    chosen = expected.gather(1, label[:, None])[:, 0]
    # Fields are exact here, so two sums that differ by more than their rounding are told apart.
    assert bool((torch.nan_to_num(best - chosen, nan=0.0) <= 2 * rtol(p, torch.float32)).all())


@pytest.mark.parametrize("backend", BACKENDS)
def test_label_is_the_argmax_of_the_exact_log_energy(backend: str) -> None:
    on_examples(backend, lambda p: check_label(p, backend), 30, p=problems())


def decision_bound(p: Problem) -> Tensor:
    """(B,): the margin of log-energies above which float32 must agree with float64.

    A field is a sum of N products of rounded factors: off by at most (N + C) eps/2 sum |v||xi|.
    The log-energy of class c moves by n sum F_{n-1} / sum F_n times that, plus its own rounding.
    """
    eps = torch.finfo(torch.float32).eps
    on, _ = energy.fields(p.visible, p.memories)
    terms = p.visible.abs() @ p.memories[:, : p.n_visible].abs().T
    terms = terms + p.classes.abs().sum(dim=1)  # (B, K)
    rounding = sum(p.memories.shape[1:]) * eps / 2 * terms.amax(dim=1)  # (B,)
    relative = on.clamp(min=0) / on.amax(dim=(1, 2), keepdim=True)
    slope = energy.rectified_polynomial_slope(relative, p.power).sum(dim=1)
    sensitivity = slope / energy.rectified_polynomial(relative, p.power).sum(dim=1)
    sensitivity = sensitivity.nan_to_num(nan=0.0).amax(dim=1) / on.amax(dim=(1, 2))
    return 2 * (sensitivity * rounding + rtol(p, torch.float32))


@pytest.mark.parametrize("power", [2, 20, 30, 100])
@pytest.mark.parametrize("backend", BACKENDS)
def test_float32_decides_like_float64_above_its_rounding(backend: str, power: float) -> None:
    generator = torch.Generator().manual_seed(4)
    memories = torch.empty(200, 110).normal_(-0.3, 0.6, generator=generator).clamp_(-1, 1)
    visible = memories[:150, :100] + 0.3 * torch.randn(150, 100, generator=generator)
    p = Problem(visible.clamp(-1, 1), memories, power, 1.0)
    exact = p.to(torch.float64)
    expected = energy.log_energy(exact.visible, exact.memories, power)
    best = expected.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > decision_bound(exact)
    assert clear.double().mean() > 0.5
    label = kernels.labels(p.visible, p.memories, power, backend=backend)
    assert torch.equal(label[clear], expected.argmax(dim=1)[clear])


@pytest.mark.parametrize("backend", BACKENDS)
def test_sums_and_weights_are_what_the_interface_says(backend: str) -> None:
    p = make_problem(11, 9, 7, 3, power=3).to(torch.float64)
    kernel = kernels.by_name(backend)
    overlaps = kernel.overlaps(p.visible, p.memories[:, : p.n_visible])
    assert torch.allclose(overlaps, (p.visible @ p.memories[:, : p.n_visible].T).T)
    sums = kernel.sums(overlaps, p.classes, p.F, every_class=False)
    on, off = energy.fields(p.visible, p.memories)
    field = torch.cat([on, off[:, :, None]], dim=2).permute(2, 1, 0)  # (C + 1, K, B)
    assert torch.allclose(sums.scale, field.amax(dim=(0, 1)).clamp(min=0).expand_as(sums.scale))
    powers = (field.clamp(min=0) / sums.scale[:1]) ** 3
    assert torch.allclose(sums.values, powers.sum(dim=1))

    coefficients = torch.randn(4, 11, dtype=torch.float64)
    weights, to_classes = kernel.weights(
        overlaps, p.classes, coefficients, sums.scale, RectifiedPolynomial(4), class_gradient=True
    )
    shares = coefficients[:, None] * powers
    assert torch.allclose(weights, shares.sum(dim=0))
    share = shares.sum(dim=2).T  # (K, C + 1)
    assert torch.allclose(to_classes, 2 * share[:, :-1] - share.sum(dim=1, keepdim=True))
    _, nothing = kernel.weights(
        overlaps, p.classes, coefficients, sums.scale, p.F, class_gradient=False
    )
    assert nothing is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("every_class", [False, True])
@pytest.mark.parametrize("power", [1.0, 2.5, 3.0, 30.0])
@pytest.mark.parametrize("temperature", [1e-300, 0.5, 300.0])
def test_energies_are_those_of_the_sums(
    backend: str, dtype: torch.dtype, every_class: bool, power: float, temperature: float
) -> None:
    generator = torch.Generator().manual_seed(0)
    values = 5 * torch.rand(4, 11, generator=generator, dtype=dtype)
    scale = 90 * torch.rand(4 if every_class else 1, 11, generator=generator, dtype=dtype) + 10
    values[:, 4] = scale[:, 4] = 0  # no memory is active
    kernel, sums = kernels.by_name(backend), Sums(values, scale)
    F = RectifiedPolynomial(power)
    log_energy, gap = kernel.energies(sums, F, temperature)
    expected = look.log_energy(sums, F)
    torch.testing.assert_close(log_energy, expected, rtol=1e-13, atol=1e-12)
    assert bool((log_energy[4] == -torch.inf).all())
    expected = look.energy_gap(sums, F, temperature)
    torch.testing.assert_close(gap, expected, rtol=1e-12, atol=0)
    assert bool((gap[4] == 0).all())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("alias", [False, True])
def test_weights_go_where_they_are_told_even_over_the_overlaps(backend: str, alias: bool) -> None:
    p = make_problem(65, 9, 7, 3, power=4)
    kernel = kernels.by_name(backend)
    overlaps = kernel.overlaps(p.visible, p.memories[:, : p.n_visible])
    sums = kernel.sums(overlaps, p.classes, p.F, every_class=False)
    arguments = (p.classes, torch.randn(4, 65), sums.scale, p.F)
    expected, _ = kernel.weights(overlaps, *arguments, class_gradient=False)
    out = overlaps if alias else torch.full_like(overlaps, torch.nan)
    actual, _ = kernel.weights(overlaps, *arguments, class_gradient=False, out=out)
    assert actual is out
    assert torch.equal(out, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_memory_gradient_needs_a_pass_with_class_gradient(backend: str) -> None:
    p = make_problem(3, 4, 5, 2, power=3)
    kernel = kernels.by_name(backend)
    overlaps = kernel.overlaps(p.visible, p.memories[:, : p.n_visible])
    scale = torch.ones(3, 3)
    seen = look.Look(kernel, p.F, overlaps, p.classes, Sums(scale, scale))
    gradients = seen.gradients(scale, class_gradient=False)
    assert gradients.to_images(p.memories[:, : p.n_visible]).shape == (3, 5)
    with pytest.raises(RuntimeError, match="without class gradient"):
        gradients.to_memories(p.visible)


# ---- the head of training --------------------------------------------------------------------


def head_of_training(
    p: Problem, backend: str, labels: Tensor, m: float
) -> tuple[Tensor, Outcome, Tensor]:
    """And the coefficients that the reference makes of the same sums."""
    kernel = kernels.by_name(backend)
    overlaps = kernel.overlaps(p.visible, p.memories[:, : p.n_visible])
    sums = kernel.sums(overlaps, p.classes, p.F, every_class=False)
    arguments = (sums, labels, p.F, p.temperature, m)
    expected, _ = kernels.by_name("reference").objective(*arguments)
    return *kernel.objective(*arguments), expected


def check_head(p: Problem, backend: str, m: float, seed: int) -> None:
    p = p.to(torch.float64)
    labels = torch.randint(
        p.n_classes, (len(p.visible),), generator=torch.Generator().manual_seed(seed)
    )
    coefficients, outcome, expected = head_of_training(p, backend, labels, m)
    gap = energy.energy_gap(p.visible, p.memories, p.power, p.temperature)
    activity = torch.tanh(gap)
    target = energy.targets(labels, p.n_classes, torch.float64)
    assert torch.allclose(outcome.activity, activity, rtol=1e-10, atol=1e-13)
    # Where the right class has saturated, (Y - t)^2m is a power of a rounding error.
    assert torch.allclose(
        outcome.objective, energy.objective(activity, target, m), rtol=1e-9, atol=1e-12
    )
    best = gap.gather(1, outcome.predicted[:, None]).squeeze(1)
    assert torch.allclose(best, gap.amax(dim=1), rtol=1e-9, atol=1e-12)
    assert torch.allclose(
        coefficients, expected, rtol=1e-8, atol=1e-10 * float(expected.abs().max())
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_head_of_training_equals_the_oracle(backend: str) -> None:
    on_examples(
        backend, lambda p, m, seed: check_head(p, backend, m, seed), p=problems(),
        m=st.one_of(st.integers(1, 30), st.floats(0.5, 30)), seed=st.integers(0, 99),
    )  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("hotness", [1e-30, 1e-3, 1e3, 1e30])
def test_the_head_stays_finite_at_any_temperature(
    backend: str, dtype: torch.dtype, hotness: float
) -> None:
    p = make_problem(70, 9, 7, 3, power=30, hotness=hotness).to(dtype)
    p.visible[3] = -1.0
    p.memories[:] = p.memories.abs()  # no memory is active at the fourth image
    labels = torch.arange(70) % 3
    coefficients, outcome, expected = head_of_training(p, backend, labels, 30.0)
    assert torch.isfinite(coefficients).all()
    assert torch.isfinite(outcome.activity).all()
    assert torch.isfinite(outcome.objective)
    assert outcome.predicted[3] == 0
    assert not coefficients[:, 3].any()
    largest = float(expected.abs().max()) or 1.0  # all vanish where T is beyond every field
    if backend == "triton" and hotness == 1e-30:
        # Beyond the range of double precision the reference clamps them one by one; these keep
        # their relation, in which the last is minus the sum of the others.
        assert torch.equal(coefficients.sign(), expected.sign())
        assert float(coefficients.sum(dim=0).abs().max()) <= 1e-6 * largest
    else:
        assert torch.allclose(coefficients / largest, expected / largest, rtol=1e-4, atol=1e-6)
    summed = coefficients[:, :, None] * torch.ones(1, 1, 2000, dtype=dtype)
    assert torch.isfinite(summed.sum(dim=(0, 2))).all(), "no room for the sum over memories"


# ---- the update rule -------------------------------------------------------------------------

RULE = Rule(momentum=0.6, gradient_scale=0.25, learning_rate=0.125, floor=1e-30)


def updated(
    memories: Tensor, velocity: Tensor, gradient: Tensor, rule: Rule
) -> tuple[Tensor, Tensor]:
    """The rule of NIPS16, appendix A, in float64."""
    V = rule.momentum * velocity.double() - rule.gradient_scale * gradient.double()
    largest = V.abs().amax(dim=1, keepdim=True).clamp(min=rule.floor)
    return (memories.double() + rule.learning_rate * V / largest).clamp(-1, 1), V


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("K", [1, 7, 8, 9, 65])
@pytest.mark.parametrize("backend", BACKENDS)
def test_update_follows_the_rule(backend: str, K: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(K)
    memories, velocity, gradient = (
        torch.randn(K, 13, generator=generator, dtype=dtype) for _ in range(3)
    )
    memories.clamp_(-1, 1)  # many components are at the edge and want to leave
    kept = gradient.clone()
    expected, expected_velocity = updated(memories, velocity, gradient, RULE)
    kernels.by_name(backend).update(memories, velocity, gradient, RULE)
    few = 8 * torch.finfo(dtype).eps
    assert float((memories - expected).abs().max()) <= few
    assert float((velocity - expected_velocity).abs().max()) <= few
    assert float(memories.abs().max()) == 1
    assert torch.equal(gradient, kept)


@pytest.mark.parametrize("backend", BACKENDS)
def test_update_leaves_a_memory_without_velocity_where_it_is(backend: str) -> None:
    memories = torch.tensor([[0.5, -0.25], [0.5, -0.25]])
    start = memories.clone()
    velocity = torch.zeros(2, 2)
    gradient = torch.tensor([[0.0, 0.0], [1.0, 0.5]])
    kernels.by_name(backend).update(memories, velocity, gradient, RULE)
    assert torch.equal(memories[0], start[0])
    assert torch.allclose(memories[1], torch.tensor([0.5 - 0.125, -0.25 - 0.0625]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_update_divides_by_the_floor_where_the_velocity_is_below_it(backend: str) -> None:
    memories, gradient = torch.zeros(1, 2), torch.tensor([[-1e-3, 2e-3]])
    rule = RULE._replace(floor=1e-2, gradient_scale=1.0)
    kernels.by_name(backend).update(memories, torch.zeros(1, 2), gradient, rule)
    assert torch.allclose(memories, 0.125 * torch.tensor([[0.1, -0.2]]))
