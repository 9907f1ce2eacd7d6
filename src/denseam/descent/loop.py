"""One loop for Eq. 3.2 over a batch: v <- v - eps u, u the unit vector of the goal's gradient.

Every image stops on its own, and leaves the batch when it does, so that work shrinks. An image has
*converged* when the last ``WINDOW`` steps together have moved it by less than one: steps have a
fixed length, so at a minimum it is thrown to and fro, and at an edge of the box it is held.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from denseam.descent.goals import Goal
from denseam.descent.heads import Head, Scores
from denseam.descent.result import RUNNING, Descended, Stop, code

__all__ = ["WINDOW", "Norm", "OnStep", "descend", "reasons", "unit"]

WINDOW = 20

Norm = Literal["l2", "linf"]
Crossed = Callable[[Tensor, Tensor], Tensor]  # scores (B, C), rows (B,) -> (B,) bool
OnStep = Callable[[int, Tensor, Tensor], None]
"""Told of every step: its number, which images are still on their way (A,), their scores (A, C)."""


def unit(gradient: Tensor, norm: Norm = "l2") -> tuple[Tensor, Tensor]:
    """Steepest directions (B, N) of length 1, and the L2 norms (B,) that the gradients had.

    In L2 that is the unit vector, in Linf the sign. Zero and non-finite rows give zeros. Rows are
    divided by their largest component first, so that no square under- or overflows.
    """
    flat = gradient.flatten(1)
    largest = flat.abs().amax(dim=1, keepdim=True)
    usable = (largest > 0) & largest.isfinite()
    scaled = torch.where(usable, flat / largest, torch.zeros_like(flat))
    size = torch.linalg.vector_norm(scaled, dim=1, keepdim=True, dtype=torch.float64)
    direction = scaled.sign() if norm == "linf" else torch.where(usable, scaled / size, 0.0)
    return direction.to(gradient.dtype).view_as(gradient), (size * largest).squeeze(1)


def descend(
    head: Head,
    start: Tensor,  # (B, N), not changed
    goal: Goal,
    *,
    step: float,
    max_steps: int,
    bounds: tuple[float, float] | None,
    norm: Norm = "l2",
    crossed: Crossed | None = None,
    on_step: OnStep | None = None,
) -> Descended:
    """Follow the goal's negative gradient until every image has stopped.

    Args:
        head: scores and directions.
        start: images to begin with, in the units of the head.
        goal: what to descend.
        step: eps, the length of a step, in the same units.
        max_steps: most steps of an image.
        bounds: kept by clipping after every step; None for no clipping.
        norm: the norm that a step has its length in.
        crossed: told of the scores and the rows they belong to; where true, an image stops as
            ``crossed``. Without it images stop as ``converged``.
        on_step: told of every step.
    """
    B = len(start)
    images, before = start.clone(), start.clone()
    steps = torch.zeros(B, dtype=torch.int64, device=start.device)
    codes = torch.full((B,), RUNNING, dtype=torch.int8, device=start.device)
    rows = torch.arange(B, device=start.device)
    here, anchor = start.clone(), start.clone()
    for number in range(max_steps + 1):
        scores = head(here)
        if on_step is not None:
            on_step(number, rows, scores.values)
        direction, size = unit(scores.pull(goal.weights(scores.values)), norm)
        reason = reasons(scores, size)
        if crossed is not None:
            reason[crossed(scores.values, rows) & (reason != code(Stop.NONFINITE))] = code(
                Stop.CROSSED
            )
        elif number and number % WINDOW == 0:
            moved = torch.linalg.vector_norm((here - anchor).flatten(1), dim=1)
            reason[(moved < step) & (reason == RUNNING)] = code(Stop.CONVERGED)
            anchor = here.clone()
        if number == max_steps:
            reason[reason == RUNNING] = code(Stop.MAX_STEPS)
        done = reason != RUNNING
        images[rows[done]], codes[rows[done]], steps[rows[done]] = here[done], reason[done], number
        going = ~done
        rows, goal, anchor = rows[going], goal.at(going), anchor[going]
        if not len(rows):
            break
        before[rows] = here[going]
        here = here[going] - step * direction[going]
        if bounds is not None:
            here.clamp_(*bounds)
    return Descended(images, before, steps, codes)


def reasons(scores: Scores, size: Tensor) -> Tensor:
    """(B,) int8: why an image cannot go on, or RUNNING."""
    reason = torch.full(size.shape, RUNNING, dtype=torch.int8, device=size.device)
    reason[size == 0] = code(Stop.NO_GRADIENT)
    reason[~scores.active] = code(Stop.NO_ACTIVE_MEMORY)
    broken = ~size.isfinite() | scores.values.isnan().any(dim=1)
    reason[broken & scores.active] = code(Stop.NONFINITE)
    return reason
