"""Every back end with every energy function that it is written for, against the oracle."""

import pytest
import torch

from denseam import energy, kernels
from denseam.energies import Exponential, RectifiedPolynomial
from denseam.kernels import cpu, native

from .problems import BACKENDS, DTYPES, make_problem

FUNCTIONS = [Exponential(0.05), Exponential(3.0, 2.0), RectifiedPolynomial(7)]
SIZES = [(1, 1, 3, 1), (70, 65, 9, 3), (17, 130, 5, 12), (130, 9, 7, 2)]

each_function = pytest.mark.parametrize("F", FUNCTIONS, ids=str)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


def problem(sizes, dtype, seed=0):
    p = make_problem(*sizes, power=4, seed=seed)
    return p.visible.to(dtype), p.memories.to(dtype), p.temperature


def tolerance(dtype):
    return 2e-4 if dtype is torch.float32 else 1e-10


def close(actual, exact, dtype):
    largest = float(exact.abs().max()) or 1.0
    torch.testing.assert_close(
        actual.double() / largest, exact / largest, rtol=tolerance(dtype), atol=tolerance(dtype)
    )


@each_backend
@each_function
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sizes", SIZES)
def test_scores_and_gradients_equal_the_oracle(F, backend, dtype, sizes):
    if backend == "triton" and sizes != SIZES[1]:
        pytest.skip("the interpreter takes its time")
    v, xi, T = problem(sizes, dtype)
    generator = torch.Generator().manual_seed(1)
    upstream = torch.randn(sizes[0], sizes[3], generator=generator, dtype=torch.float64)
    exact = v.double(), xi.double()
    for name, value, oracle, gradient in (
        ("gap", lambda *x: kernels.energy_gap(*x, F, T, backend=backend),
         lambda *x: energy.energy_gap(*x, F, T),
         lambda *x: energy.energy_gap_gradient(upstream, *x, F, T)),
        ("log", lambda *x: kernels.log_energy(*x, F, backend=backend),
         lambda *x: energy.log_energy(*x, F),
         lambda *x: energy.log_energy_gradient(upstream, *x, F)),
    ):  # fmt: skip
        leaves = v.clone().requires_grad_(), xi.clone().requires_grad_()
        scores, expected = value(*leaves), oracle(*exact)
        active = expected.isfinite()
        assert torch.equal(scores.isfinite(), active), name
        close(scores.detach()[active], expected[active], dtype)
        (scores[active] * upstream.to(dtype)[active]).sum().backward()
        to_memories, to_images = gradient(*exact)
        close(leaves[1].grad, to_memories, dtype)
        close(leaves[0].grad, to_images, dtype)


@each_backend
@each_function
def test_the_head_of_training_equals_the_reference(F, backend):
    v, xi, T = problem((70, 65, 9, 3), torch.float64)
    labels = torch.arange(70) % 3
    kernel, reference = kernels.by_name(backend), kernels.by_name("reference")
    sums = reference.sums(reference.overlaps(v, xi), xi[:, 9:], F, every_class=False)
    actual, expected = (each.objective(sums, labels, F, T, 4.0) for each in (kernel, reference))
    close(actual[0], expected[0], torch.float64)
    torch.testing.assert_close(actual[1].activity, expected[1].activity)
    assert torch.equal(actual[1].predicted, expected[1].predicted)
    torch.testing.assert_close(actual[1].objective, expected[1].objective)


@each_function
@pytest.mark.parametrize("beyond", [1.0, 1e3])
def test_nothing_overflows_far_from_zero(F, beyond):
    """Fields of thousands: exponentials of them are beyond every number."""
    v, xi, _ = problem((17, 30, 9, 3), torch.float32)
    v, xi = (beyond * v).requires_grad_(), (40 * xi).requires_grad_()
    log = kernels.log_energy(v, xi, F)
    exact = energy.log_energy(v.detach().double(), xi.detach().double(), F)
    active = exact.isfinite()
    torch.testing.assert_close(log[active].double(), exact[active], rtol=1e-5, atol=1e-3)
    gap = kernels.energy_gap(v, xi, F, 5.0)
    assert bool(gap.isfinite().all())
    (log[active].sum() + gap.sum()).backward()
    assert bool(v.grad.isfinite().all() and xi.grad.isfinite().all())
    assert torch.equal(kernels.labels(v, xi, F), exact.argmax(dim=1))


@pytest.mark.skipif(native.library() is None, reason="the C kernels are not installed")
@each_function
def test_c_serves_the_functions_that_it_has(F):
    assert native.knows(f"{F.name}_sums")
    place = torch.device("cpu"), torch.float32
    assert cpu.obstacle(*place, F) is None
    assert kernels.choose("cpu", torch.float32, F).kernel.name == "cpu"


@pytest.mark.skipif(native.library() is None, reason="the C kernels are not installed")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_exponentials_of_the_c_kernels_are_exact(dtype):
    """One memory, so that its share is 1 at its scale, and two apart by every distance."""
    kernel, F = cpu.CpuKernel("torch"), Exponential(1.0)
    apart = torch.linspace(0, 90 if dtype is torch.float32 else 720, 4001, dtype=dtype)
    overlaps = torch.stack([torch.zeros_like(apart), -apart])
    sums = kernel.sums(overlaps, torch.zeros(2, 1, dtype=dtype), F, every_class=False)
    small = (-apart.double()).exp()
    once = torch.tensor([[1.0], [0.0]], dtype=dtype).repeat(1, 4001)
    weights, _ = kernel.weights(
        overlaps, torch.zeros(2, 1, dtype=dtype), once, sums.scale, F, class_gradient=False
    )
    error = (weights[1].double() - small).abs()
    relative = (4 + 2 * apart.double()) * torch.finfo(dtype).eps  # of the rounded exponent
    lost = 2e-38 if dtype is torch.float32 else 4e-308
    assert bool((error <= relative * small + lost).all())
    assert bool((weights[0] == 1).all())
