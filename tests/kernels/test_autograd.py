"""The operators as autograd, torch.library and torch.compile see them."""

from typing import Any

import pytest
import torch
from torch import Tensor

import denseam
from denseam import energy, kernels
from denseam.errors import SecondDerivativeError
from denseam.kernels import autograd, cpu

from .problems import BACKENDS, DTYPES, Problem, grid, make_problem, needs_c

each_backend = pytest.mark.parametrize("backend", BACKENDS)
each_function = pytest.mark.parametrize("function", ["energy_gap", "log_energy"])


def call(function: str, v: Tensor, xi: Tensor, p: Problem, backend: str) -> Tensor:
    if function == "energy_gap":
        return kernels.energy_gap(v, xi, p.power, p.temperature, backend=backend)
    return kernels.log_energy(v, xi, p.power, backend=backend)


def leaves(p: Problem, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    return (
        p.visible.to(dtype, copy=True).requires_grad_(),
        p.memories.to(dtype, copy=True).requires_grad_(),
    )


@each_backend
@each_function
@pytest.mark.parametrize("power", [2, 3.5, 7])
def test_gradients_are_those_of_finite_differences(
    function: str, backend: str, power: float
) -> None:
    p = make_problem(3, 4, 5, 2, power=power, seed=1)
    v, xi = leaves(p, torch.float64)
    with torch.no_grad():
        xi[:, 5:] -= 0.7  # every image and class has an active memory
    assert bool(energy.log_energy(v, xi, power).isfinite().all())
    assert torch.autograd.gradcheck(
        lambda v, xi: call(function, v, xi, p, backend), (v, xi), eps=1e-7, atol=1e-5, rtol=1e-4
    )


@each_backend
@each_function
def test_a_second_backward_finds_the_overlaps_as_they_were(function: str, backend: str) -> None:
    p = make_problem(5, 9, 7, 3, power=6)
    v, xi = leaves(p)
    total = call(function, v, xi, p, backend).square().sum()
    first = torch.autograd.grad(total, (v, xi), retain_graph=True)
    second = torch.autograd.grad(total, (v, xi))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)


@each_backend
@each_function
def test_only_the_gradients_that_are_wanted_are_made(function: str, backend: str) -> None:
    p = make_problem(5, 9, 7, 3, power=6)
    v, xi = leaves(p)
    both = torch.autograd.grad(call(function, v, xi, p, backend).sum(), (v, xi))
    call(function, v, xi.detach(), p, backend).sum().backward()
    assert torch.equal(v.grad, both[0])
    call(function, v.detach(), xi, p, backend).sum().backward()
    assert torch.equal(xi.grad, both[1])


@each_backend
@each_function
def test_a_second_derivative_is_refused_by_name(function: str, backend: str) -> None:
    p = make_problem(5, 9, 7, 3, power=6)
    v, xi = leaves(p)
    value = call(function, v, xi, p, backend).square().sum()
    (gradient,) = torch.autograd.grad(value, v, create_graph=True)
    with pytest.raises(SecondDerivativeError, match=r"denseam\.energy"):
        gradient.sum().backward()


@each_backend
@each_function
def test_without_a_gradient_nothing_is_kept(
    function: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autograd, "CHUNK", 8)
    p = make_problem(21, 9, 7, 3, power=6)
    v, xi = leaves(p)
    seen = []
    kernel = kernels.by_name(backend)
    plain = type(kernel).overlaps

    def spy(self: Any, visible: Tensor, visible_memories: Tensor) -> Tensor:
        seen.append(len(visible))
        return plain(self, visible, visible_memories)

    monkeypatch.setattr(type(kernel), "overlaps", spy)
    with_gradient = call(function, v, xi, p, backend)
    assert seen == [21]
    seen.clear()
    with torch.no_grad():
        without = call(function, v, xi, p, backend)
    assert seen == [8, 8, 5]
    assert not without.requires_grad
    assert without.grad_fn is None
    assert torch.allclose(without, with_gradient, rtol=1e-5)
    seen.clear()
    call(function, v.detach(), xi.detach(), p, backend)
    assert seen == [8, 8, 5]


@each_backend
@pytest.mark.parametrize("power", [20, 3.5])
def test_chunks_make_no_difference_beyond_rounding(
    backend: str, power: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autograd, "CHUNK", 100)
    p = make_problem(177, 13, 9, 3, power=power, hotness=0.5)
    v, xi = leaves(p)
    for function in ("energy_gap", "log_energy"):
        whole = call(function, v, xi, p, backend)
        with torch.no_grad():
            assert torch.allclose(call(function, v, xi, p, backend), whole, rtol=1e-5, atol=1e-6)
        with torch.inference_mode():
            assert torch.allclose(call(function, v, xi, p, backend), whole, rtol=1e-5, atol=1e-6)


@each_backend
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_empty_batch_gives_empty_results(backend: str, grad: bool, dtype: torch.dtype) -> None:
    p = Problem(torch.zeros(0, 7), make_problem(1, 9, 7, 3, power=5).memories, 5.0, 3.0)
    v, xi = leaves(p, dtype)
    with torch.set_grad_enabled(grad):
        for function in ("energy_gap", "log_energy"):
            actual = call(function, v, xi, p, backend)
            assert actual.shape == (0, 3)
            assert actual.dtype is dtype
            if grad:
                to_images, to_memories = torch.autograd.grad(actual.sum(), (v, xi))
                assert to_images.shape == (0, 7)
                assert torch.equal(to_memories, torch.zeros_like(xi))
        label = kernels.labels(v, xi, 5.0, backend=backend)
        assert label.shape == (0,)
        assert label.dtype is torch.int64


# ---- torch.library and torch.compile ---------------------------------------------------------

OPCHECK = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_static",
)


@each_backend
@pytest.mark.parametrize("sizes", [(5, 9, 7, 3), (1, 1, 1, 1)])
def test_operators_keep_the_rules_of_torch_library(
    backend: str, sizes: tuple[int, int, int, int]
) -> None:
    p, F = make_problem(*sizes, power=4), ("rectified_polynomial", [4.0])
    v, xi = leaves(p)
    transposed = p.visible.T.contiguous().T, p.memories.T.contiguous().T
    for inputs, keep in [((v, xi), True), ((p.visible, p.memories), False), (transposed, True)]:
        for op, constants in [
            (torch.ops.denseam.energy_gap, (*F, p.temperature, backend, keep)),
            (torch.ops.denseam.log_energy, (*F, backend, keep)),
        ]:
            torch.library.opcheck(op.default, (*inputs, *constants), test_utils=OPCHECK)
    labels = torch.ops.denseam.labels.default
    torch.library.opcheck(labels, (p.visible, p.memories, *F, backend), test_utils=OPCHECK)


@each_backend
@pytest.mark.parametrize("expected", [[True, True], [True, False], [False, True]])
def test_gradient_operator_keeps_the_rules_of_torch_library(
    backend: str, expected: list[bool]
) -> None:
    p, F = make_problem(5, 9, 7, 3, power=4), ("rectified_polynomial", [4.0])
    coefficients, scale, overlaps = torch.randn(4, 5), torch.ones(4, 5), torch.randn(9, 5)
    for visible in (p.visible, p.visible.T.contiguous().T):
        arguments = (coefficients, scale, overlaps, visible, p.memories, *F, backend, expected)
        torch.library.opcheck(torch.ops.denseam.gradients.default, arguments, test_utils=OPCHECK)


def compare_with_eager(backend: str, *names: str) -> None:
    model = denseam.DenseAM(16, 3, 11, 3, 6.0)
    visible = grid(torch.Generator().manual_seed(0), 5, 16)
    for name in names:
        function = getattr(model, name)
        torch.compiler.reset()
        compiled = torch.compile(function, fullgraph=True, backend=backend)
        results = []
        for run in (function, compiled):
            v = visible.clone().requires_grad_()
            model.zero_grad()
            value = run(v)
            value.square().sum().backward()
            with torch.no_grad():
                quiet = run(visible)
            results.append([value.detach(), v.grad, model.memories.grad.clone(), quiet])
        for a, b in zip(*results, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)
            assert bool(a.any())
    torch.compiler.reset()


def test_compiles_in_one_graph_and_equals_eager() -> None:
    compare_with_eager("aot_eager", "__call__", "log_energy")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of inductor's own imports
def test_inductor_compiles_it_and_equals_eager() -> None:
    compare_with_eager("inductor", "__call__")


@pytest.mark.parametrize("product", [pytest.param("torch", marks=needs_c), "reference"])
def test_mixed_precision_around_a_call_changes_nothing(
    product: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Products of PyTorch would round their operands to bfloat16."""
    kernel = kernels.by_name("reference") if product == "reference" else cpu.CpuKernel(product)
    monkeypatch.setattr("denseam.kernels.autograd._kernel", lambda *_: kernel)
    p = make_problem(70, 9, 20, 3, power=3)

    def everything() -> list[Tensor]:
        v, xi = leaves(p)
        values = kernels.log_energy(v, xi, 3), kernels.energy_gap(v, xi, 3, p.temperature)
        (values[0].clamp(min=-9).sum() + values[1].sum()).backward()
        return [*(x.detach() for x in values), v.grad, xi.grad, kernels.labels(v, xi, 3)]

    plain = everything()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = everything()
    for one, other in zip(plain, mixed, strict=True):
        assert torch.equal(one, other)
