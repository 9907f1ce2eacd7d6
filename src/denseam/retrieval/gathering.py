"""One pass over all memories for a batch of states: sums of F, and the pull of the memories.

Memories come in blocks, and overlaps of one block at a time are held, never an array of (B, K).
Everything is relative to the largest field so far: when a later block has a larger one, sums and
pull are brought to its scale, as online softmax does it, for any F.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from denseam.energies import EnergyFunction, RectifiedPolynomial
from denseam.kernels import Kernel, by_name, choose
from denseam.retrieval.patterns import Patterns

__all__ = ["Gathered", "gather", "kernel_for", "nearest_of"]


_FASTEST = RectifiedPolynomial(2)


@dataclass(frozen=True)
class Gathered:
    """Sums over all memories of F and F' of their fields x, for B states."""

    scale: Tensor  # (B,): the largest size of a field
    total: Tensor  # (B,) float64: sum_mu F(x_mu) / F(scale)
    slopes: Tensor | None = None  # (B,) float64: sum_mu F'(x_mu) / F'(scale)
    pull: Tensor | None = None  # (B, D): sum_mu F'(x_mu) / F'(scale) xi^mu


def kernel_for(states: Tensor, F: EnergyFunction = _FASTEST) -> Kernel:
    """Return the back end for a gathering: in C on processors, else plain PyTorch.

    Matrix products do not depend on F: those of the fastest function serve all.
    """
    chosen = choose(states.device, states.dtype, F).kernel
    return chosen if chosen.name == "cpu" else by_name("reference")


def gather(
    patterns: Patterns,
    states: Tensor,  # (B, D)
    F: EnergyFunction,
    *,
    drop: Tensor | None = None,  # (B,), subtracted from the overlaps of a state
    factor: float = 1.0,  # of the overlaps, before that
    pull: bool = True,
    slopes: bool = False,
) -> Gathered:
    """Return the sums over all memories, and with ``pull`` what the memories add up to."""
    kernel, products, B = kernel_for(states, F), kernel_for(states), len(states)
    scale, total = states.new_empty(B), torch.zeros(B, dtype=torch.float64, device=states.device)
    slope_sum, pulled = total.clone(), torch.zeros_like(states) if pull else None
    ones = states.new_ones(1, B)
    for start, rows in patterns.blocks():
        fields = products.overlaps(states, rows)  # (k, B)
        if factor != 1:
            fields.mul_(factor)
        if drop is not None:
            fields.sub_(drop)
        no_classes = rows.new_empty(len(rows), 0)
        sums = kernel.sums(fields, no_classes, F, every_class=False)
        before, here = scale, sums.scale[0]
        scale = here if start == 0 else torch.maximum(before, here)
        total = _rescaled(total, F.ratio(before, scale), start)
        total += sums.values[0].double() * F.ratio(here, scale).double()
        if not pull and not slopes:
            continue
        weights, _ = kernel.weights(
            fields, no_classes, ones, scale[None], F, class_gradient=False, out=fields
        )
        back = F.slope_ratio(before, scale)
        if slopes:
            slope_sum = _rescaled(slope_sum, back, start) + weights.sum(dim=0, dtype=torch.float64)
        if pulled is not None:
            pulled = _rescaled(pulled, back[:, None], start).add_(products.to_images(weights, rows))
    return Gathered(scale, total, slope_sum if slopes else None, pulled)


def _rescaled(sums: Tensor, back: Tensor, start: int) -> Tensor:
    """Return sums on a new scale; before the first block they are 0 on none."""
    return sums if start == 0 else sums * back.to(sums.dtype)


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
    for start, rows in patterns.blocks():
        closeness = kernel.overlaps(states, rows) - half_squares[start : start + len(rows), None]
        here, index = closeness.max(dim=0)
        position = torch.where(here > best, index + start, position)
        best = torch.maximum(best, here)
    return position
