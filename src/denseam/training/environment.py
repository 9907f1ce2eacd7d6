"""The environment of a run, which changes its bits beside recipe and data."""

import platform
from pathlib import Path
from typing import Any

import torch

from denseam.kernels import Kernel
from denseam.mesh import Mesh
from denseam.version import __version__

__all__ = ["changes", "describe", "kernel_as_before", "processor"]

_CHANGES_BITS = ("torch", "device", "threads", "kernel", "ranks")


def describe(device: torch.device, kernel: Kernel, mesh: Mesh) -> dict[str, Any]:
    """Return the facts of this process for ``run.json``."""
    return {
        "denseam": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "kernel": kernel.name,
        "product": kernel.product,
        "ranks": str(mesh),
    }


def kernel_as_before(kernel: Kernel, there: dict[str, Any]) -> Kernel:
    """Return the back end with the matrix product that a run began with, if it has that one."""
    return kernel.with_product(there["product"]) if there["kernel"] == kernel.name else kernel


def changes(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Return the differences, in words, that change the bits of a result.

    ``here`` has the kernel that continues; its product differs only if the old one is missing.
    """
    there = {"ranks": "1", **there}  # older runs had one process
    names = [*_CHANGES_BITS]
    if there["kernel"] == here["kernel"]:  # products of different kernels differ anyway
        names.append("product")
    return [
        f"{name} ({there.get(name)}, now {here[name]})"
        for name in names
        if there.get(name) != here[name]
    ]


def processor() -> str:
    """Return the name of the processor, for tables of times."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
