"""The choice of a back end for device, dtype and energy function, with the reason."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

import torch

from denseam.energies import EnergyFunction, RectifiedPolynomial
from denseam.errors import InputError
from denseam.kernels import cpu, native, triton
from denseam.kernels.eightbit import EightBitKernel
from denseam.kernels.interface import Kernel
from denseam.kernels.reference import ReferenceKernel


class Backend(NamedTuple):
    """A row of ``BACKENDS``."""

    title: str
    device: str | None  # type of device; None for any
    make: Callable[[], Kernel]
    obstacle: Callable[[torch.device, torch.dtype, EnergyFunction], str | None]
    trains: dict[str, Callable[[], Kernel]] = {}  # noqa: RUF012, by coarser products: ``PRECISIONS``


BACKENDS: dict[str, Backend] = {
    "cpu": Backend(
        "C kernels on the CPU", "cpu", cpu.CpuKernel, cpu.obstacle, {"8-bit": EightBitKernel}
    ),
    "triton": Backend(
        "Triton kernels on a CUDA card", "cuda", triton.make, triton.obstacle,
        {"tf32": partial(triton.make, "tf32"), "bfloat16": partial(triton.make, "bfloat16")},
    ),
    "reference": Backend("plain PyTorch", None, ReferenceKernel, lambda *_: None),
}  # fmt: skip
"""Back ends by name, fastest first; the first one without an obstacle runs.

To add one: a file with the methods of ``interface.Kernel`` and an ``obstacle``, and its row here.
"""

PRECISIONS = ("full", *(name for row in BACKENDS.values() for name in row.trains))
"""Precisions of the products in training; all but the first are coarser and faster."""

_PAPER = RectifiedPolynomial(2)


@dataclass(frozen=True)
class Choice:
    """A back end, and the reason for it."""

    kernel: Kernel
    reason: str


def choose(
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    energy: EnergyFunction = _PAPER,
) -> Choice:
    """Return the fastest back end for tensors of this device and dtype, and this function."""
    device = torch.device(device)
    if device.type != "cuda":
        device = torch.device(device.type)
    return _choose(device, dtype, energy)


def with_precision(choice: Choice, precision: str) -> Kernel:
    """Return the back end of a choice, or its coarser version for another precision.

    Raises:
        InputError: for a precision that the chosen back end lacks.
    """
    if precision == "full":
        return choice.kernel
    if precision not in BACKENDS[choice.kernel.name].trains:
        title = next(row.title for row in BACKENDS.values() if precision in row.trains)
        raise InputError(f"{precision} products need the {title}: {choice.reason}")
    return by_name(precision)


@cache
def _choose(device: torch.device, dtype: torch.dtype, energy: EnergyFunction) -> Choice:
    reason = f"no kernels of our own for {device.type!r}"
    for name, row in BACKENDS.items():
        if row.device not in (device.type, None):
            continue
        obstacle = row.obstacle(device, dtype, energy)
        if obstacle is None:
            if device.type == "cpu" and reason == native.obstacle():
                native.warn_of_absence()
            return Choice(by_name(name), reason if row.device is None else row.title)
        reason = obstacle
    raise InputError(f"no back end for {dtype} on {device}: {reason}")


@cache
def by_name(name: str) -> Kernel:
    """Return the one instance of a back end: "reference", "cpu" or "triton".

    "8-bit", "tf32" and "bfloat16" name the coarser ones, which only train.
    """
    makers = {name: row.make for name, row in BACKENDS.items()}
    for row in BACKENDS.values():
        makers |= row.trains
    return makers[name]()
