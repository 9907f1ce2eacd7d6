"""Which back end runs: chosen once for a device and a dtype, with the reason."""

from dataclasses import dataclass
from functools import cache

import torch

from denseam.kernels import cpu
from denseam.kernels.eightbit import EightBitKernel
from denseam.kernels.interface import Kernel
from denseam.kernels.reference import ReferenceKernel

__all__ = ["Choice", "by_name", "choose"]


@dataclass(frozen=True)
class Choice:
    """A back end and why it is the one."""

    kernel: Kernel
    reason: str


def choose(device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Choice:
    """The fastest back end for tensors of this device and dtype."""
    return _choose(torch.device(device).type, dtype)


@cache
def _choose(device_type: str, dtype: torch.dtype) -> Choice:
    if device_type != "cpu":
        return Choice(by_name("reference"), f"no kernels of our own for {device_type!r} yet")
    if dtype not in (torch.float32, torch.float64):
        return Choice(by_name("reference"), f"the C kernels know float32 and float64, not {dtype}")
    if cpu.library() is None:
        return Choice(
            by_name("reference"),
            "the C kernels are not installed: reinstall denseam where a C compiler is at hand",
        )
    return Choice(by_name("cpu"), "compiled C kernels, float32 and float64 on the CPU")


@cache
def by_name(name: str) -> Kernel:
    """The one instance of a back end: "reference", "cpu", or "8-bit", which only trains."""
    kernels = {"reference": ReferenceKernel, "cpu": cpu.CpuKernel, "8-bit": EightBitKernel}
    return kernels[name]()  # type: ignore[no-any-return]
