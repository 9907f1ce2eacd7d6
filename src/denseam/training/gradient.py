"""The gradient of the objective for a minibatch, without building an autograd graph.

One forward and one backward pass of the kernels with the head in between, Eqs. 2.1 and 2.3:

    g = energy gap,  Y = tanh g,  C = sum (Y - t)^(2m),  dC/dg = 2m (Y - t)^(2m-1) (1 - Y^2)
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from denseam import energy
from denseam.kernels import Kernel, energies

__all__ = ["BatchOutcome", "objective_gradient"]


@dataclass(frozen=True)
class BatchOutcome:
    """What a minibatch looked like before its update."""

    activity: Tensor  # (B, C) float64: Y
    predicted: Tensor  # (B,) int64
    objective: Tensor  # () float64: C


def objective_gradient(
    kernel: Kernel,
    visible: Tensor,  # (B, N) in [-1, 1]
    labels: Tensor,  # (B,) int64
    memories: Tensor,  # (K, N + C)
    *,
    power: float,
    temperature: float,
    loss_power: float,
    out: Tensor | None = None,  # (K, N + C)
) -> tuple[Tensor, BatchOutcome]:
    """dC/dxi, (K, N + C), in ``out`` where given, and what the batch looked like."""
    n_visible = visible.shape[1]
    n_classes = memories.shape[1] - n_visible
    overlaps = kernel.overlaps(visible, memories[:, :n_visible])
    classes = memories[:, n_visible:]
    sums = kernel.sums(overlaps, classes, power, every_class=False)

    # (B, C) only, so float64: (Y - t)^(2m-1) with m = 30 leaves float32 early.
    gap = energies.exact_energy_gap(sums, power, temperature)
    activity = torch.tanh(gap)
    target = energy.targets(labels, n_classes, torch.float64)
    slope = energy.objective_gradient(activity, target, loss_power)
    upstream = energy.class_activity_gradient(slope, activity)

    coefficients = energies.gap_coefficients(upstream, sums.scale, power, temperature)
    gradients = energies.Gradients(
        kernel, overlaps, classes, coefficients, sums.scale, power, out=overlaps
    )
    # C = sum (Y - t) dC/dY / 2m: no second power.
    objective = (slope * (activity - target)).sum() / (2 * loss_power)
    outcome = BatchOutcome(activity, gap.argmax(dim=1), objective)
    return gradients.to_memories(visible, out), outcome
