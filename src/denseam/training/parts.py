"""Memories in parts: what one process of several has to say of an image, and what all of them have.

Energies are sums over memories, so those of all are those of the parts, added up. Each part is on
a scale of its own (``kernels.interface``); with the largest of them, S,

    sums[c, b] = sum over parts of  sums_part[c, b] (scale_part[b] / S[b])^n

which is one maximum of B numbers and one sum of (C + 1) B, however many memories and pixels there
are. Every process ends with the same numbers, and goes on with its own memories only.
"""

import torch
from torch import Tensor

from denseam.kernels import Kernel, Sums, energies
from denseam.mesh import Axis

__all__ = ["decide", "joined"]


def joined(sums: Sums, power: float, axis: Axis) -> Sums:
    """The sums of all memories from those of this process's; the same on every process."""
    if axis.size == 1:
        return sums
    scale = axis.largest(sums.scale.clone())
    ratio = torch.where(scale > 0, sums.scale.double() / scale.double(), 0.0)
    values = axis.add(sums.values.double() * ratio**power)
    return Sums(values.to(sums.values.dtype), scale)


def decide(
    kernel: Kernel,
    visible: Tensor,  # (B, N)
    memories: Tensor,  # (K / M, N + C), of this process
    power: float,
    axis: Axis,
) -> Tensor:
    """Labels (B,) int64 by the memories of all processes."""
    overlaps = kernel.overlaps(visible, memories)
    sums = kernel.sums(overlaps, memories[:, visible.shape[1] :], power, every_class=True)
    return energies.decide(joined(sums, power, axis), power)
