"""The C kernels at the edges of tiles, with any number of threads, on uninitialised memory."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from denseam import energy, kernels
from denseam.energies import RectifiedPolynomial
from denseam.kernels import Rule, cpu, native
from denseam.kernels.interface import Sums

from .problems import (
    DTYPES,
    Problem,
    assert_within,
    gap_gradient_sizes,
    make_problem,
    needs_c,
    rtol,
)

pytestmark = needs_c

B_EDGES = [1, 31, 32, 33, 63, 64, 65, 1000]  # a tile is 64 images in float32, 32 in float64
K_EDGES = [1, 7, 8, 9, 63, 64, 65]  # chunks of 64 forward, items of 8 backward
C_EDGES = [1, 2, 10, 37]


def sums_and_weights(p: Problem, *, every_class: bool = False) -> list[Tensor]:
    """Everything the two loops write, on overlaps that do not depend on a library."""
    kernel = cpu.CpuKernel("torch")
    overlaps = (p.memories[:, : p.n_visible].double() @ p.visible.double().T).to(p.visible.dtype)
    sums = kernel.sums(overlaps, p.classes, p.F, every_class=every_class)
    generator = torch.Generator().manual_seed(9)
    coefficients = torch.randn(sums.values.shape, generator=generator).to(overlaps.dtype)
    weights, to_classes = kernel.weights(
        overlaps, p.classes, coefficients, sums.scale, p.F, class_gradient=True
    )
    assert to_classes is not None
    return [sums.values, sums.scale, coefficients, weights, to_classes]


def check_against_the_definition(p: Problem) -> None:
    values, scale, coefficients, weights, to_classes = sums_and_weights(p)
    exact = p.to(torch.float64)
    on, off = energy.fields(exact.visible, exact.memories)
    field = torch.cat([on, off[:, :, None]], dim=2).permute(2, 1, 0)  # (C + 1, K, B)
    largest = field.amax(dim=(0, 1)).clamp(min=0)  # (B,)
    assert torch.equal(scale.double(), largest.expand_as(scale))
    relative = field.clamp(min=0) / largest.clamp(min=1e-300)
    powers = relative**p.power
    assert_within(values, powers.sum(dim=1), powers.sum(dim=1), rtol(p, values.dtype))

    slopes = torch.where(relative > 0, relative ** (p.power - 1), 0.0)
    share = coefficients.double()[:, None] * slopes  # (C + 1, K, B)
    assert_within(weights, share.sum(dim=0), share.abs().sum(dim=0), rtol(p, values.dtype))
    rows, sizes = share.sum(dim=2).T, share.abs().sum(dim=2).T  # (K, C + 1)
    expected = 2 * rows[:, :-1] - rows.sum(dim=1, keepdim=True)
    size = 2 * sizes[:, :-1] + sizes.sum(dim=1, keepdim=True)
    assert_within(to_classes, expected, size, rtol(p, values.dtype))


@pytest.mark.parametrize("K", K_EDGES)
@pytest.mark.parametrize("B", B_EDGES)
def test_loops_are_right_at_the_edges_of_tiles(B: int, K: int) -> None:
    for C in C_EDGES if B < 1000 else C_EDGES[1:3]:
        p = make_problem(B, K, 5, C, power=(30, 2.5, 1, 7)[C % 4], seed=B + K + C)
        for dtype in DTYPES if B < 1000 else DTYPES[:1]:
            check_against_the_definition(p.to(dtype))


@pytest.mark.parametrize("C", C_EDGES)
def test_energies_are_right_for_a_thousand_images(C: int) -> None:
    p = make_problem(1000, 65, 11, C, power=12, seed=C)
    exact = p.to(torch.float64)
    p.visible.requires_grad_()
    p.memories.requires_grad_()
    gap = kernels.energy_gap(p.visible, p.memories, p.power, p.temperature, backend="cpu")
    upstream = torch.randn(1000, C)
    actual = torch.autograd.grad(gap, (p.memories, p.visible), upstream)
    arguments = (exact.visible, exact.memories, p.power, p.temperature)
    expected = energy.energy_gap_gradient(upstream.double(), *arguments)
    sizes = gap_gradient_sizes(exact, upstream.double())
    for gradient, want, size in zip(actual, expected, sizes, strict=True):
        assert_within(gradient, want, size, rtol(p, torch.float32))


# ---- threads ---------------------------------------------------------------------------------


def stepped(dtype: torch.dtype) -> list[Tensor]:
    generator = torch.Generator().manual_seed(2)
    state = [torch.randn(301, 57, generator=generator, dtype=dtype) for _ in range(3)]
    cpu.CpuKernel("torch").update(*state, Rule(0.7, 0.3, 0.1, 1e-30))
    return state


@pytest.mark.parametrize("shared_pool", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_no_bit_depends_on_the_threads(
    dtype: torch.dtype, shared_pool: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = make_problem(1000, 301, 20, 10, power=30, hotness=1.0).to(dtype)

    def everything() -> list[Tensor]:
        return [*sums_and_weights(p), *sums_and_weights(p, every_class=True), *stepped(dtype)]

    torch.set_num_threads(1)
    alone = everything()
    if not shared_pool:
        monkeypatch.setattr(native, "_shared_pool", lambda: None)
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        for actual, expected in zip(everything(), alone, strict=True):
            assert torch.equal(actual, expected)


def test_as_many_threads_as_torch_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    library = native.library()
    assert library is not None

    class Watched:
        """A C function, and what it is told of threads."""

        def __init__(self, function: Any) -> None:
            vars(self)["function"] = function

        def __getattr__(self, name: str) -> Any:
            return getattr(self.function, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(self.function, name, value)

        def __call__(self, *arguments: Any) -> int:
            seen.extend(arguments[-1:])
            return int(self.function(*arguments))

    class Spy:
        def __getattr__(self, name: str) -> Watched:
            return Watched(getattr(library, name))

    monkeypatch.setattr(native, "library", Spy)
    torch.set_num_threads(2)
    sums_and_weights(make_problem(3, 4, 5, 2, power=3))
    assert set(seen) == {2}


# ---- memory ----------------------------------------------------------------------------------


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uninitialised memory holds NaN."""
    for place, name in [(torch, "empty"), (torch, "empty_like"), (Tensor, "new_empty")]:
        plain = getattr(place, name)

        def poisoned(
            *arguments: Any, plain: Callable[..., Tensor] = plain, **options: Any
        ) -> Tensor:
            out = plain(*arguments, **options)
            return out.fill_(torch.nan) if out.is_floating_point() else out

        monkeypatch.setattr(place, name, poisoned)


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize("B", B_EDGES)
def test_every_output_is_written_in_full(B: int) -> None:
    assert bool(torch.empty(3).isnan().all())
    for K in K_EDGES:
        p = make_problem(B, K, 5, 3, power=9, seed=B + K)
        for dtype in DTYPES:
            for actual in sums_and_weights(p.to(dtype), every_class=True):
                assert bool(actual.isfinite().all())
            v = p.visible.to(dtype).requires_grad_()
            xi = p.memories.to(dtype).requires_grad_()
            gap = kernels.energy_gap(v, xi, 9.0, p.temperature, backend="cpu")
            assert bool(gap.isfinite().all())
            for gradient in torch.autograd.grad(gap.sum(), (v, xi)):
                assert bool(gradient.isfinite().all())


def test_strided_inputs_give_the_same_as_dense_ones() -> None:
    p = make_problem(65, 70, 33, 10, power=20)
    wide = torch.full((130, 66), torch.nan)
    wide[::2, ::2] = p.visible
    layouts = {
        "strided": (wide[::2, ::2], p.memories.T.contiguous().T),
        "transposed": (p.visible.T.contiguous().T, p.memories),
        "sliced": (p.visible, torch.cat([p.memories, p.memories], dim=1)[:, :43]),
        "expanded": (p.visible[:1].expand(65, -1), p.memories),
    }
    upstream = torch.randn(65, 10)
    for name, (visible, memories) in layouts.items():
        assert not (visible.is_contiguous() and memories.is_contiguous()), name
        results = []
        for inputs in [(visible, memories), (visible.contiguous(), memories.contiguous())]:
            v, xi = (x.detach().requires_grad_() for x in inputs)
            gap = kernels.energy_gap(v, xi, 20.0, p.temperature, backend="cpu")
            log = kernels.log_energy(v, xi, 20.0, backend="cpu")
            gradients = torch.autograd.grad(gap, (v, xi), upstream.T.contiguous().T)
            log_gradients = torch.autograd.grad(log.sum(), (v, xi))  # an expanded upstream
            label = kernels.labels(v, xi, 20.0, backend="cpu")
            results.append([gap.detach(), log.detach(), *gradients, *log_gradients, label])
        for actual, expected in zip(*results, strict=True):
            assert torch.allclose(
                actual, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max())
            )


def test_what_the_c_code_cannot_take_is_refused() -> None:
    kernel = cpu.CpuKernel("torch")
    rule = Rule(0.5, 1.0, 0.1, 1e-30)
    dense = torch.zeros(4, 6)
    for bad in (torch.zeros(6, 4).T, torch.zeros(4, 6, dtype=torch.float64)):
        with pytest.raises(TypeError, match=r"\(4, 6\).*wanted contiguous torch.float32"):
            kernel.update(dense, dense.clone(), bad, rule)


def test_without_the_c_library_the_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", lambda: None)
    with pytest.raises(RuntimeError, match="not installed"):
        cpu.CpuKernel()


def test_working_space_that_cannot_be_had_is_a_memory_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: Any) -> int:
        return 1

    full.argtypes = ()  # type: ignore[attr-defined]

    class Full:
        def __getattr__(self, name: str) -> Callable[..., int]:
            return full

    monkeypatch.setattr(native, "library", Full)
    with pytest.raises(MemoryError, match="update"):
        stepped(torch.float32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("power", [1.0, 2.0, 2.5, 30.0])
@pytest.mark.parametrize("n_classes", [1, 3, 10, 20])
@pytest.mark.parametrize("every_class", [True, False])
def test_few_images_are_summed_as_they_are_among_many(
    dtype: torch.dtype, power: float, n_classes: int, every_class: bool
) -> None:
    """Few images go through loops of their own: the bits must not tell."""
    generator = torch.Generator().manual_seed(n_classes)
    kernel = cpu.CpuKernel()
    overlaps = 50 * torch.randn(130, 70, generator=generator, dtype=dtype)
    overlaps[:, 5] = -1000  # an image on which no memory is active
    overlaps[0, 0] = overlaps[-1, 1] = 500  # the largest field is the first one's, the last one's
    classes = torch.rand(130, n_classes, generator=generator, dtype=dtype) * 2 - 1
    classes[:65, 0] *= 1000  # another class, far below the largest, has a scale of its own
    F = RectifiedPolynomial(power)
    many = kernel.sums(overlaps, classes, F, every_class=every_class)
    for count in (1, 2, 7, 8, 9, 15, 16, 17):
        few = kernel.sums(overlaps[:, :count].contiguous(), classes, F, every_class=every_class)
        assert torch.equal(few.values, many.values[:, :count])
        assert torch.equal(few.scale, many.scale[:, :count])


def test_energies_are_not_rounded_by_their_place() -> None:
    """Libraries take logarithms in one way in whole vectors, and in another at their end."""
    p = make_problem(100, 50, 20, 10, power=30)
    kernel = cpu.CpuKernel()
    sums = kernel.sums(kernel.overlaps(p.visible, p.memories), p.classes, p.F, every_class=True)
    whole = kernel.energies(sums, p.F, 7.0)
    for b in range(100):
        one = Sums(sums.values[:, b : b + 1], sums.scale[:, b : b + 1])
        for actual, among in zip(kernel.energies(one, p.F, 7.0), whole, strict=True):
            assert torch.equal(actual[0], among[b])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("power", [2.0, 7.3, 30.0])
def test_sums_of_an_image_do_not_depend_on_its_batch(dtype: torch.dtype, power: float) -> None:
    """Few memories: classes whose sums underflow beside the best one's are taken again."""
    generator = torch.Generator().manual_seed(0)
    memories = (2 * torch.rand(5, 80, generator=generator) - 1).to(dtype)
    visible = (2 * torch.rand(300, 77, generator=generator) - 1).to(dtype)
    kernel, F = cpu.CpuKernel("dots"), RectifiedPolynomial(power)

    def sums(piece: Tensor) -> Tensor:
        overlaps = kernel.overlaps(piece, memories)
        actual = kernel.sums(overlaps, memories[:, 77:], F, every_class=True)
        return torch.cat([actual.values, actual.scale])

    whole = sums(visible)
    for size in (1, 5, 33, 64):
        parts = [sums(piece) for piece in torch.split(visible, size)]
        assert torch.equal(torch.cat(parts, dim=1), whole)
