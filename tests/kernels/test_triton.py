"""What only the Triton back end has: tiles, coarse products, batches and numbers on the card."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from denseam import data
from denseam.energies import RectifiedPolynomial
from denseam.errors import InputError
from denseam.kernels import Rule, by_name, choice, choose, triton
from denseam.kernels.choice import Choice, with_precision

from .conftest import ON_CARD
from .problems import make_problem, needs_triton

if TYPE_CHECKING:
    from denseam.kernels.interface import Outcome

pytestmark = needs_triton
if ON_CARD:
    pytestmark = [needs_triton, pytest.mark.gpu]

DEVICE = "cuda" if ON_CARD else "cpu"


def triton_kernel(products: Any = "full") -> Any:
    """One for tensors of the device itself."""
    from denseam.kernels.triton.kernel import TritonKernel

    return TritonKernel(products)


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uninitialised memory holds NaN."""
    for place, name in [(torch, "empty"), (torch, "empty_like"), (Tensor, "new_empty")]:
        plain = getattr(place, name)

        def poisoned(*arguments: Any, plain: Any = plain, **options: Any) -> Tensor:
            out: Tensor = plain(*arguments, **options)
            return out.fill_(torch.nan) if out.is_floating_point() else out

        monkeypatch.setattr(place, name, poisoned)


@pytest.mark.usefixtures("poison")
@pytest.mark.parametrize(
    ("B", "K", "C"), [(1, 1, 1), (129, 33, 1), (31, 129, 33), (128, 32, 2), (257, 65, 3)]
)
def test_every_output_is_written_at_the_edges_of_tiles(B: int, K: int, C: int) -> None:
    p = make_problem(B, K, 5, C, power=30, seed=B + K)
    kernel, reference, F = triton_kernel(), by_name("reference"), p.F
    overlaps = (p.memories[:, :5] @ p.visible.T).to(DEVICE)
    classes = p.classes.to(DEVICE)  # its rows lie apart
    sums = kernel.sums(overlaps, classes, F, every_class=False)
    expected = reference.sums(overlaps, classes, F, every_class=False)
    assert torch.equal(sums.scale, expected.scale)
    torch.testing.assert_close(sums.values, expected.values, rtol=2e-5, atol=1e-30)
    coefficients = torch.randn(C + 1, B).to(DEVICE)
    arguments = (overlaps, classes, coefficients, sums.scale, F)
    actual = kernel.weights(*arguments, class_gradient=True)
    for one, other in zip(actual, reference.weights(*arguments, class_gradient=True), strict=True):
        assert not bool(one.isnan().any())
        largest = float(other.abs().max()) or 1.0
        torch.testing.assert_close(one / largest, other / largest, rtol=1e-5, atol=1e-5)


def test_no_bit_changes_from_run_to_run() -> None:
    p = make_problem(200, 70, 9, 4, power=20)
    kernel, F = triton_kernel(), p.F
    overlaps, classes = (p.memories[:, :9] @ p.visible.T).to(DEVICE), p.classes.to(DEVICE)
    runs = []
    for _ in range(2):
        sums = kernel.sums(overlaps, classes, F, every_class=True)
        weights, gradient = kernel.weights(
            overlaps, classes, sums.values, sums.scale, F, class_gradient=True
        )
        runs.append([sums.values, sums.scale, weights, gradient])
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one, other)


def test_an_overlap_that_is_nan_is_not_silenced() -> None:
    # A card's maximum drops NaN unless it is told not to; NumPy's, in the interpreter, never does.
    overlaps = torch.ones(3, 2)
    overlaps[1, 0] = torch.nan
    sums = triton_kernel().sums(
        overlaps.to(DEVICE),
        torch.zeros(3, 2, device=DEVICE),
        RectifiedPolynomial(3),
        every_class=False,
    )
    assert sums.values.isnan().any(dim=0).tolist() == [True, False]


# ---- matrix products -------------------------------------------------------------------------

# Rounded to the nearest or towards zero, two operands: the largest relative error of a term.
ROUNDING = {"full": 0.0, "tf32": 2.0**-9, "bfloat16": 2.0**-7}


@pytest.mark.parametrize("products", ROUNDING)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (129, 33, 65), (64, 130, 31)])
def test_products_are_as_accurate_as_they_say(products: Any, sizes: tuple[int, int, int]) -> None:
    from denseam.kernels.triton.products import tiled

    m, n, k = sizes
    a, b = torch.rand(m, k, device=DEVICE) * 2 - 1, torch.rand(n, k, device=DEVICE) * 2 - 1
    exact, size = a.double() @ b.double().T, a.double().abs() @ b.double().abs().T
    layouts = [(a, b), (a.T.contiguous().T, b), (a, b.T.contiguous().T)]
    # Slices of something larger: what lies beyond them is NaN.
    wide = [torch.nn.functional.pad(x, (0, 40, 0, 140), value=torch.nan) for x in (a, b)]
    layouts.append((wide[0][:m, :k], wide[1][:n, :k]))
    for left, right in layouts:
        error = (tiled(left, right, products) - exact).abs()
        limit = ROUNDING[products] + (k / 2 + 4) * torch.finfo(torch.float32).eps
        assert bool((error <= limit * size).all())
        if products == "bfloat16" and k > 1:
            assert bool((error > 2.0**-13 * size).any()), "finer than it says"


@pytest.mark.parametrize("products", ["tf32", "bfloat16"])
def test_coarse_products_are_for_float32(products: Any) -> None:
    from denseam.kernels.triton.products import multiply

    a, b = torch.rand(5, 7).double().to(DEVICE), torch.rand(3, 7).double().to(DEVICE)
    assert torch.equal(multiply(a, b, products), a @ b.T)


@pytest.mark.parametrize("switch", [False, True])
def test_full_products_are_full_whatever_the_process_has_switched(
    switch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from denseam.kernels.triton import products

    used = []
    monkeypatch.setattr(products, "_coarse_by_default", lambda: switch)
    monkeypatch.setattr(products, "tiled", lambda *_: used.append("tiled"))
    products.multiply(torch.ones(2, 3), torch.ones(4, 3), "full")
    assert used == (["tiled"] if switch else [])


def test_the_switch_of_the_process_is_read() -> None:
    from denseam.kernels.triton import products

    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        assert products._coarse_by_default()
        torch.set_float32_matmul_precision("highest")
        assert not products._coarse_by_default()
    finally:
        torch.set_float32_matmul_precision(before)


# ---- what a recorded step takes from the card ------------------------------------------------


def test_batches_are_those_of_the_image_set() -> None:
    images = data.load("mnist").test.subset(slice(0, 9))
    order = torch.tensor([[0, 1], [8, 3], [4, 4]], device=DEVICE)
    for dtype in (torch.float32, torch.float64):
        expected = images.visible(dtype).to(DEVICE)
        for pixels in (images.images.flatten(1), images.visible(dtype)):
            neurons, labels = triton_kernel().draw(
                pixels.to(DEVICE), images.labels.to(DEVICE), order,
                torch.ones(1, dtype=torch.int64, device=DEVICE),
                torch.zeros(1, 800, dtype=dtype, device=DEVICE),
            )  # fmt: skip
            assert torch.equal(neurons[:, :784], expected[[8, 3]])
            assert not bool(neurons[:, 784:].any())
            assert labels.tolist() == images.labels[[8, 3]].tolist()


def test_numbers_on_the_card_are_those_of_the_host() -> None:
    p = make_problem(5, 9, 7, 3, power=3)
    kernel, F = triton_kernel(), p.F
    overlaps = (p.memories[:, :7] @ p.visible.T).to(DEVICE)
    sums = kernel.sums(overlaps, p.classes.to(DEVICE), F, every_class=False)
    labels = torch.tensor([0, 1, 2, 0, 1], device=DEVICE)
    there = torch.tensor(7.3, dtype=torch.float64, device=DEVICE)
    actual: tuple[Tensor, Outcome] = kernel.objective(sums, labels, F, there, 4.0)
    expected = kernel.objective(sums, labels, F, 7.3, 4.0)
    assert torch.equal(actual[0], expected[0])
    assert torch.equal(actual[1].activity, expected[1].activity)

    state = [torch.rand(4, 13, device=DEVICE) for _ in range(3)]
    other = [x.clone() for x in state]
    rule = Rule(0.6, 0.3, 0.1, 1e-30)
    kernel.update(*state, rule)
    kernel.update(*other, torch.tensor(rule, device=DEVICE).double())
    for one, two in zip(state, other, strict=True):
        torch.testing.assert_close(one, two)


# ---- the choice ------------------------------------------------------------------------------


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with a card of compute capability 9.0, as far as the choice sees."""
    choice._choose.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: (9, 0))
    yield
    choice._choose.cache_clear()


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_triton_runs_on_a_card(dtype: torch.dtype) -> None:
    chosen = choose("cuda", dtype)
    assert chosen.kernel is by_name("triton")
    assert "Triton" in chosen.reason
    assert with_precision(chosen, "full") is chosen.kernel
    for products in ("tf32", "bfloat16"):
        coarse = with_precision(chosen, products)
        assert (coarse.name, coarse.product) == ("triton", products)
    with pytest.raises(InputError, match="8-bit products need the C kernels on the CPU: Triton"):
        with_precision(chosen, "8-bit")


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize(
    ("place", "name", "value", "reason"),
    [
        (triton, "find_spec", lambda _: None, r"pip install 'denseam\[gpu\]'"),
        (torch.cuda, "is_available", lambda: False, "no CUDA card"),
        (torch.cuda, "get_device_capability", lambda _=None: (7, 5), r"8\.0, this card has 7\.5"),
        (torch.version, "hip", "6.4", "ROCm"),
    ],
)
def test_where_triton_does_not_run_the_choice_says_why(
    place: Any, name: str, value: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, value)
    chosen = choose("cuda:0", torch.float32)
    assert chosen.kernel is by_name("reference")
    with pytest.raises(InputError, match=f"tf32 products need the Triton kernels.*{reason}"):
        with_precision(chosen, "tf32")


def test_coarse_products_are_not_made_on_the_cpu() -> None:
    with pytest.raises(InputError, match="bfloat16 products need the Triton kernels on a CUDA"):
        with_precision(Choice(by_name("reference"), "none here"), "bfloat16")


# ---- the compiler ----------------------------------------------------------------------------


@pytest.mark.slow
def test_all_kernels_compile_for_a_card_that_is_not_here(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.ahead_of_time", "90"],
        capture_output=True, text=True, check=False, timeout=280,
        env={**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    actual = json.loads(done.stdout)
    assert len(actual) == 17
    for name, facts in actual.items():
        assert facts["cubin"] > 0, name
        assert facts["registers"] <= 255, name
        assert facts["spilled"] <= 64, f"{name} has no room for its tile"
        assert facts["shared"] <= 227 * 1024, name
    for products in ("tf32", "bfloat16"):
        assert actual[f"product {products}"]["tensor_cores"]
    assert not actual["product full"]["tensor_cores"]
