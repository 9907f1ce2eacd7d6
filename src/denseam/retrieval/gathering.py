"""One pass over all memories for a batch of states: sums of F, and the pull of the memories.

Memories come in blocks, never an array of (B, K). Each block is relative to its largest field: when
a later one has a larger field, sums and pull are brought to its scale, as online softmax does it,
for any F.
"""

from functools import reduce

import torch
from torch import Tensor

from denseam.energies import EnergyFunction, RectifiedPolynomial
from denseam.kernels import Gathered, Kernel, choose
from denseam.mesh import Axis
from denseam.retrieval.patterns import Patterns

__all__ = ["gather", "joined", "kernel_for", "nearest_of"]

_FASTEST = RectifiedPolynomial(2)


def kernel_for(states: Tensor, F: EnergyFunction = _FASTEST) -> Kernel:
    """Return the back end for these states; matrix products alone do not depend on F."""
    return choose(states.device, states.dtype, F).kernel


def gather(
    patterns: Patterns,
    states: Tensor,  # (B, D)
    F: EnergyFunction,
    *,
    drop: Tensor | None = None,  # (B,), subtracted from the fields of a state
    offsets: Tensor | None = None,  # (K,), subtracted from the fields of a memory
    factor: float = 1.0,  # of the overlaps, before that
    pull: bool = True,
) -> Gathered:
    """Return the sums over all memories, and with ``pull`` what the memories add up to."""
    kernel = kernel_for(states, F)
    scaled = states if factor == 1 else states * factor
    # Weights are 1 at most, and that of the largest field is: all dropped ones round to nothing.
    least = torch.finfo(states.dtype).eps / (4 * len(patterns))
    sums = reduce(
        lambda before, here: joined(before, here, F),
        (
            kernel.gather(
                scaled, rows, F, drop=drop, pull=pull, least=least,
                offsets=None if offsets is None else offsets[start : start + len(rows)],
            )
            for start, rows in patterns.blocks(shared=True)
        ),
    )  # fmt: skip
    return sums if patterns.axis is None else _over(patterns.axis, sums, F)


def _over(axis: Axis, sums: Gathered, F: EnergyFunction) -> Gathered:
    """Return the sums over the memories of all processes."""
    scale = axis.largest(sums.scale.clone())
    back = F.slope_ratio(sums.scale, scale)
    total = axis.add(sums.total * F.ratio(sums.scale, scale).double())
    slopes = axis.add(sums.slopes * back.double())
    pull = None if sums.pull is None else axis.add(sums.pull * back[:, None])
    return Gathered(scale, total, slopes, pull)


def joined(a: Gathered, b: Gathered, F: EnergyFunction) -> Gathered:
    """Return the sums over the memories of both."""
    scale = torch.maximum(a.scale, b.scale)
    first, second = (each.total * F.ratio(each.scale, scale).double() for each in (a, b))
    back = [F.slope_ratio(each.scale, scale) for each in (a, b)]
    slopes = a.slopes * back[0].double() + b.slopes * back[1].double()
    pull = None
    if a.pull is not None and b.pull is not None:
        pull = a.pull * back[0][:, None] + b.pull * back[1][:, None]
    return Gathered(scale, first + second, slopes, pull)


def nearest_of(
    patterns: Patterns,
    states: Tensor,  # (B, D)
    half_squares: Tensor,  # (K,) |xi|^2 / 2
) -> Tensor:
    """Return the position of the nearest pattern of each state, (B,) int64; the first of equals."""
    B = len(states)
    best = states.new_full((B,), -torch.inf)
    position = torch.zeros(B, dtype=torch.int64, device=states.device)
    kernel = kernel_for(states)
    for start, rows in patterns.blocks(shared=True):
        closeness = kernel.overlaps(states, rows) - half_squares[start : start + len(rows), None]
        here, index = closeness.max(dim=0)
        position = torch.where(here > best, index + start, position)
        best = torch.maximum(best, here)
    if patterns.axis is not None:  # the first of the equals, on whichever process
        here, best = best, patterns.axis.largest(best.clone())
        position = -patterns.axis.largest(-torch.where(here == best, position, len(patterns)))
    return position
