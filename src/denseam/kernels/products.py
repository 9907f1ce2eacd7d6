"""Whose matrix product to use.

PyTorch sends float32 products to MKL, which on AMD processors runs below what oneDNN, shipped in
the same wheel, reaches with the same accuracy. The public switch to oneDNN is global, so it would
change the user's own products, in every thread; the operator that `torch.compile` emits for a
linear layer is not, and is what "onednn" calls. `docs/log.md` has the measurements.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["PRODUCTS", "Product", "available_products", "default_product"]

Product = Callable[[Tensor, Tensor], Tensor]  # (m, k), (n, k) -> (m, n): a @ b.T


def _torch_product(a: Tensor, b: Tensor) -> Tensor:
    return torch.mm(a, b.T)


def _onednn_product(a: Tensor, b: Tensor) -> Tensor:
    if a.numel() == 0 or b.numel() == 0:  # an empty batch, which oneDNN refuses
        return _torch_product(a, b)
    # Anything but dense operands sends this operator to a loop a thousand times slower.
    linear: Product = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001
    return linear(_dense(a), _dense(b), None, "none", [], "")  # type: ignore[call-arg]


def _dense(x: Tensor) -> Tensor:
    """A copy where it has gaps, in the order it lies in: across that order copies crawl."""
    if x.is_contiguous() or x.T.is_contiguous():
        return x
    return x.T.contiguous().T if x.stride(0) == 1 else x.contiguous()


PRODUCTS: dict[str, Product] = {"torch": _torch_product, "onednn": _onednn_product}


@cache
def available_products() -> tuple[str, ...]:
    """The products of this build of PyTorch that are as accurate as its default, default first."""
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(65, 97, generator=generator) * 2 - 1
    b = torch.rand(33, 97, generator=generator) * 2 - 1
    exact = a.double() @ b.double().T
    tolerance = 4 * float((_torch_product(a, b) - exact).abs().max())
    names = ["torch"]
    for name, product in PRODUCTS.items():
        try:
            if name != "torch" and float((product(a, b) - exact).abs().max()) <= tolerance:
                names.append(name)
        except (AttributeError, RuntimeError):  # a build without this operator
            continue
    return tuple(names)


@cache
def default_product() -> str:
    """The name of the float32 product that this processor runs fastest.

    A rule, not a measurement: on a busy machine a measurement would choose now one and now the
    other, and no two runs would end in the same bits.
    """
    amd = _vendor() == "AuthenticAMD"
    return "onednn" if amd and "onednn" in available_products() else "torch"


def _vendor() -> str:
    """The maker of the processor, as the system calls it; empty where it does not say."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), "")
