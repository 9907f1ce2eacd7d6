"""Which back end and which matrix product run, and that they say why."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from denseam.errors import DenseAMWarning
from denseam.kernels import by_name, choice, choose, cpu, native, products
from denseam.kernels.reference import ReferenceKernel

from .problems import grid, needs_c


@pytest.fixture
def fresh() -> Iterator[None]:
    """Choices and measurements made anew in this test, and forgotten after it."""
    caches = (
        choice._choose, native.warn_of_absence, products.default_product,
        products.available_products,
    )  # fmt: skip
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@needs_c
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_c_kernels_run_on_the_cpu(dtype: torch.dtype) -> None:
    chosen = choose("cpu", dtype)
    assert chosen.kernel is by_name("cpu")
    assert chosen.kernel.name == "cpu"
    assert "C kernels" in chosen.reason
    assert choose(torch.device("cpu", 0), dtype) is chosen


@pytest.mark.parametrize(
    ("device", "dtype", "reason"),
    [
        ("cpu", torch.bfloat16, r"not torch\.bfloat16"),
        ("cpu", torch.float16, r"not torch\.float16"),
        ("meta", torch.float32, "'meta'"),
        ("cuda", torch.float16, r"not torch\.float16"),
    ],
)
def test_reference_runs_elsewhere_and_says_why(
    device: str, dtype: torch.dtype, reason: str
) -> None:
    chosen = choose(device, dtype)
    assert chosen.kernel is by_name("reference")
    assert re.search(reason, chosen.reason)


@pytest.mark.usefixtures("fresh")
def test_reference_runs_where_the_c_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "library", lambda: None)
    with pytest.warns(DenseAMWarning, match="in plain PyTorch: the C kernels are not inst"):
        chosen = choose("cpu", torch.float32)
    choose("cpu", torch.float64)  # says it no second time: that would be an error here
    assert isinstance(chosen.kernel, ReferenceKernel)
    assert "not installed" in chosen.reason
    assert "C compiler" in chosen.reason


def test_library_is_none_in_a_folder_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    assert native.library.__wrapped__() is None


# ---- matrix products -------------------------------------------------------------------------


@pytest.mark.parametrize("name", products.available_products())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1), (0, 5, 3), (3, 0, 2), (65, 97, 33), (128, 784, 64), (3, 1000, 5)]
)
def test_every_available_product_is_accurate(
    name: str, dtype: torch.dtype, sizes: tuple[int, int, int]
) -> None:
    m, k, n = sizes
    generator = torch.Generator().manual_seed(k)
    a = torch.rand(m, k, generator=generator, dtype=dtype) * 2 - 1
    b = torch.rand(n, k, generator=generator, dtype=dtype) * 2 - 1
    wide = [x.numpy().astype(np.longdouble) for x in (a, b)]
    exact, size = wide[0] @ wide[1].T, abs(wide[0]) @ abs(wide[1]).T
    layouts = [(a, b), (a.T.contiguous().T, b), (a, b.T.contiguous().T)]
    layouts.append((torch.cat([a, a], dim=1)[:, :k], torch.cat([b, b], dim=1)[:, :k]))
    for left, right in layouts:
        error = abs(products.FORMS[name](left, right).numpy() - exact)
        # k/2 eps is the worst case; a bfloat16 product would be 2^-9 of the size off.
        assert bool((error <= max(k / 8, 4) * torch.finfo(dtype).eps * size).all())


@pytest.mark.parametrize("name", products.available_products())
def test_products_of_grid_numbers_are_exact(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = grid(generator, 65, 97), grid(generator, 33, 97)
    assert torch.equal(products.FORMS[name](a, b).double(), a.double() @ b.double().T)


@pytest.mark.usefixtures("fresh")
def test_inaccurate_and_missing_products_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(a: Tensor, b: Tensor) -> Tensor:
        raise AttributeError("no such operator")

    def coarse(a: Tensor, b: Tensor) -> Tensor:
        return (a.bfloat16() @ b.bfloat16().T).float()

    listed = {"torch": products.FORMS["torch"], "missing": missing, "coarse": coarse}
    monkeypatch.setattr(products, "FORMS", listed)
    assert products.available_products() == ("torch",)
    assert products.default_product() == "torch"


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("vendor", "bits", "available", "expected"),
    [
        ("AuthenticAMD", 512, ("torch",), "torch"),
        ("AuthenticAMD", 512, ("torch", "onednn", "dots"), "dots"),
        ("AuthenticAMD", 512, ("torch", "dots"), "dots"),
        ("AuthenticAMD", 256, ("torch", "onednn", "dots"), "onednn"),
        ("AuthenticAMD", 0, ("torch", "onednn"), "onednn"),
        ("GenuineIntel", 512, ("torch", "onednn", "dots", "by-size"), "by-size"),
        ("GenuineIntel", 512, ("torch", "onednn"), "torch"),
        ("GenuineIntel", 256, ("torch", "onednn", "dots", "by-size"), "torch"),
        ("", 512, ("torch", "onednn", "dots", "by-size"), "torch"),
    ],
)
def test_the_product_follows_from_the_processor(
    vendor: str,
    bits: int,
    available: tuple[str, ...],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(products, "_vendor", lambda: vendor)
    monkeypatch.setattr(native, "vector_bits", lambda: bits)
    monkeypatch.setattr(products, "available_products", lambda: available)
    assert products.default_product() == expected


@needs_c
def test_kernel_uses_the_product_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def mine(a: Tensor, b: Tensor) -> Tensor:
        calls.append((tuple(a.shape), tuple(b.shape)))
        return a @ b.T

    monkeypatch.setitem(products.FORMS, "mine", mine)
    kernel = cpu.CpuKernel(product="mine")
    assert kernel.product == "mine"
    assert kernel.overlaps(torch.ones(2, 5), torch.ones(3, 5)).shape == (3, 2)
    assert kernel.to_memories(torch.ones(3, 2), torch.ones(2, 5)).shape == (3, 5)
    assert kernel.to_images(torch.ones(3, 2), torch.ones(3, 5)).shape == (2, 5)
    assert len(calls) == 3


@needs_c
@pytest.mark.parametrize("name", products.available_products())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_overlaps_do_not_look_behind_the_pixels(name: str, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(2)
    visible, memories = grid(generator, 7, 20).to(dtype), grid(generator, 9, 23).to(dtype)
    actual = cpu.CpuKernel(name).overlaps(visible, memories)
    assert torch.equal(actual, memories[:, :20] @ visible.T)


@needs_c
def test_by_size_few_rows_are_ours_and_many_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    for name in ("torch", "dots"):
        whole = products.FORMS[name]
        monkeypatch.setattr(
            products,
            f"_{name}_product",
            lambda a, b, name=name, whole=whole: calls.append(name) or whole(a, b),
        )
    product, few, many = products.FORMS["by-size"], torch.rand(64, 9), torch.rand(65, 9)
    for a, b in ((few, many), (many, few), (few, few), (many, many), (few.T, few.T[:5])):
        torch.testing.assert_close(product(a, b), a @ b.T)
    assert calls == ["dots", "dots", "dots", "torch", "torch"]


@needs_c
def test_kernel_chooses_when_it_is_told_nothing() -> None:
    assert cpu.CpuKernel().product == products.default_product()


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
def test_where_there_is_a_compiler_the_c_kernels_are_installed() -> None:
    """They are optional: a mistake in them is no error of the installation, only of this test."""
    assert native.library() is not None


@pytest.mark.usefixtures("fresh")
def test_a_library_of_another_machine_is_passed_over_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "_cpu.abi3.so").write_bytes(b"\x7fELF of another machine")
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    monkeypatch.setattr(native, "library", native.library.__wrapped__)
    assert native.library() is None
    with pytest.warns(DenseAMWarning, match="do not load here"):
        chosen = choose("cpu", torch.float32)
    assert isinstance(chosen.kernel, ReferenceKernel)
    assert re.search(r"the C kernels do not load here \(.*_cpu\.abi3\.so.*\): inst", chosen.reason)


@needs_c
def test_of_several_libraries_the_one_that_loads_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(native.library()._name, tmp_path / "_cpu.z.so")
    (tmp_path / "_cpu.a.so").write_bytes(b"no library")
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    assert native.library.__wrapped__()._name.endswith("_cpu.z.so")
