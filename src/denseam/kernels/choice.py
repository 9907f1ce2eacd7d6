"""Which back end runs: chosen once for a device and a dtype, with the reason."""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, cast

import torch

from denseam.errors import InputError
from denseam.kernels import cpu, native
from denseam.kernels.eightbit import EightBitKernel
from denseam.kernels.interface import Kernel
from denseam.kernels.reference import ReferenceKernel

if TYPE_CHECKING:
    from denseam.kernels.triton import Products

__all__ = ["PRODUCTS", "Choice", "by_name", "choose", "with_products"]

# How training may multiply, and the back end that does; all but the first are coarser, and faster.
PRODUCTS = {"full": None, "8-bit": "cpu", "tf32": "triton", "bfloat16": "triton"}

# TF32 and bfloat16 products, and as much fast memory as the tiles are cut for.
_LEAST_CAPABILITY = (8, 0)


@dataclass(frozen=True)
class Choice:
    """A back end and why it is the one."""

    kernel: Kernel
    reason: str


def choose(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Choice:
    """The fastest back end for tensors of this device and dtype."""
    device = torch.device(device)
    return _choose(device.type, device.index if device.type == "cuda" else None, dtype)


def with_products(choice: Choice, products: str) -> Kernel:
    """The back end of a choice, or the coarser one that trains by other ``PRODUCTS``.

    Raises:
        InputError: for products that are not made where the choice has been made for.
    """
    wanted = PRODUCTS[products]
    if wanted is None:
        return choice.kernel
    if choice.kernel.name != wanted:
        where = "C kernels on the CPU" if wanted == "cpu" else "Triton kernels on a CUDA card"
        raise InputError(f"{products} products need the {where}: {choice.reason}")
    return by_name(products)


@cache
def _choose(device_type: str, index: int | None, dtype: torch.dtype) -> Choice:
    match device_type:
        case "cpu":
            name, reason = "cpu", "compiled C kernels, float32 and float64 on the CPU"
            obstacle = _why_not_c(dtype)
        case "cuda":
            name, reason = "triton", "Triton kernels, float32 and float64 on a CUDA card"
            obstacle = _why_not_triton(index, dtype)
        case _:
            name, reason = "reference", ""
            obstacle = f"no kernels of our own for {device_type!r}"
    return Choice(by_name("reference" if obstacle else name), obstacle or reason)


def _why_not_c(dtype: torch.dtype) -> str | None:
    if dtype not in (torch.float32, torch.float64):
        return f"the C kernels know float32 and float64, not {dtype}"
    if native.library() is None:
        return native.obstacle()
    return None


def _why_not_triton(index: int | None, dtype: torch.dtype) -> str | None:
    if dtype not in (torch.float32, torch.float64):
        return f"the Triton kernels know float32 and float64, not {dtype}"
    if find_spec("triton") is None:
        return "Triton is not installed: pip install 'denseam[gpu]'"
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA card, or was built without CUDA"
    if torch.version.hip is not None:
        return "the Triton kernels have been written for NVIDIA cards, not for ROCm"
    found = torch.cuda.get_device_capability(index)
    if found < _LEAST_CAPABILITY:
        return "the Triton kernels need compute capability {}.{}, this card has {}.{}".format(
            *_LEAST_CAPABILITY, *found
        )
    return None


@cache
def by_name(name: str) -> Kernel:
    """The one instance of a back end: "reference", "cpu" or "triton".

    Or one that only trains, by coarser products: "8-bit", "tf32", "bfloat16".
    """
    if name in ("triton", "tf32", "bfloat16"):
        from denseam.kernels.triton import TritonKernel  # noqa: PLC0415

        return TritonKernel("full" if name == "triton" else cast("Products", name))
    kernels = {"reference": ReferenceKernel, "cpu": cpu.CpuKernel, "8-bit": EightBitKernel}
    return kernels[name]()  # type: ignore[no-any-return]
