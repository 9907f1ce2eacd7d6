"""The matrix products of the back end in C, and the choice among them.

PyTorch sends float32 products to MKL, which on AMD processors runs below what oneDNN, shipped in
the same wheel, reaches with the same accuracy. The public switch to oneDNN is global and
would change the user's own products; "onednn" calls the operator that `torch.compile` emits for a
linear layer instead.

Both take four times as long for two images as for one, and then add in another order. "dots" is our
own product of rows: as fast on AMD for a thousand images, up to four times faster for a few, more
exact, and batch-invariant. MKL on Intel is as fast for 64 images and faster for a thousand, so
"by-size" uses it for more than 64. `docs/developers/log.md` has the measurements, `cpu_dots.c` the
order of additions.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from denseam.kernels import native

Product = Callable[[Tensor, Tensor], Tensor]  # (m, k), (n, k) -> (m, n): a @ b.T

_MEASURED_WITH = 512  # bits: "dots" was not compared with shorter vectors
_FEW = 64  # rows, on either side
_FASTEST = {"AuthenticAMD": ("dots", "onednn"), "GenuineIntel": ("by-size",)}


def _torch_product(a: Tensor, b: Tensor) -> Tensor:
    return torch.mm(a, b.T)


def _onednn_product(a: Tensor, b: Tensor) -> Tensor:
    # oneDNN refuses an empty batch, and has no double precision.
    if a.numel() == 0 or b.numel() == 0 or a.dtype is not torch.float32:
        return _torch_product(a, b)
    # With operands that are not dense, this operator is a thousand times slower.
    linear: Product = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
    return linear(_dense(a), _dense(b), None, "none", [], "")  # type: ignore[call-arg]


def _dense(x: Tensor) -> Tensor:
    """Return x dense, copied if it has gaps, in the order of its memory: others copy slowly."""
    if x.is_contiguous() or x.T.is_contiguous():
        return x
    return x.T.contiguous().T if x.stride(0) == 1 else x.contiguous()


def _dots_product(a: Tensor, b: Tensor) -> Tensor:
    if a.numel() == 0 or b.numel() == 0:
        return _torch_product(a, b)
    if a.stride(1) != 1 or b.stride(1) != 1:  # "dots" needs contiguous rows
        return FORMS["onednn" if "onednn" in available_products() else "torch"](a, b)
    out = a.new_empty(len(a), len(b))
    native.call("dots", *native.rows(a), *native.rows(b), len(a), len(b), a.shape[1], out)
    return out


def _by_size_product(a: Tensor, b: Tensor) -> Tensor:
    rows = a.stride(1) == 1 and b.stride(1) == 1
    few = min(len(a), len(b)) <= _FEW
    return _dots_product(a, b) if rows and few else _torch_product(a, b)


FORMS: dict[str, Product] = {
    "torch": _torch_product,
    "onednn": _onednn_product,
    "dots": _dots_product,
    "by-size": _by_size_product,
}

TAKE_GAPS = frozenset({"dots", "by-size"})
"""The products that take rows with gaps between them; the others copy such rows."""


@cache
def available_products() -> tuple[str, ...]:
    """Return the products that are as accurate here as PyTorch's default, that one first."""
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(65, 97, generator=generator) * 2 - 1
    b = torch.rand(33, 97, generator=generator) * 2 - 1
    exact = a.double() @ b.double().T
    tolerance = 4 * float((_torch_product(a, b) - exact).abs().max())
    names = ["torch"]
    for name, product in FORMS.items():
        try:
            if name != "torch" and float((product(a, b) - exact).abs().max()) <= tolerance:
                names.append(name)
        except (AttributeError, RuntimeError):  # a build without this operator, or without C
            continue
    return tuple(names)


@cache
def default_product() -> str:
    """Return the name of the product that is fastest on this processor.

    By a table: a measurement would vary on a busy machine, and with it the bits of a run.
    """
    fastest = _FASTEST.get(_vendor(), ())
    if native.vector_bits() != _MEASURED_WITH:  # neither "dots" nor "by-size"
        fastest = tuple(name for name in fastest if name not in TAKE_GAPS)
    return next((name for name in fastest if name in available_products()), "torch")


def _vendor() -> str:
    """Return the vendor of the processor as Linux names it; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), "")
