"""One loop for Eq. 3.2 over a batch: v <- v - eps u, u the unit vector of the goal's gradient.

Every image stops on its own, and leaves the batch when it does, so that work shrinks. An image has
*converged* when the last ``WINDOW`` steps together have moved it by less than one: steps have a
fixed length, so at a minimum it is thrown to and fro, and at an edge of the box it is held.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from denseam.descent.goals import Goal
from denseam.descent.heads import Head, Scores
from denseam.descent.result import RUNNING, Descended, Stop, code

__all__ = ["WINDOW", "Norm", "OnStep", "Step", "descend", "reasons", "unit"]

WINDOW = 20

Norm = Literal["l2", "linf"]
Crossed = Callable[[Tensor, Tensor], Tensor]  # scores (B, C), rows (B,) -> (B,) bool


@dataclass(frozen=True)
class Step:
    """A descent before one of its steps, as callbacks see it: the images still on their way."""

    number: int
    rows: Tensor  # (A,) int64: which of the images
    images: Tensor  # (A, N): where they are
    scores: Tensor  # (A, C) float64


OnStep = Callable[[Step], None]


def unit(gradient: Tensor, norm: Norm = "l2") -> tuple[Tensor, Tensor]:
    """Steepest directions (B, N) of length 1, and the L2 norms (B,) that the gradients had.

    In L2 that is the unit vector, in Linf the sign. Zero and non-finite rows give zeros. Rows are
    divided by their largest component first, so that no square under- or overflows.
    """
    largest = torch.linalg.vector_norm(gradient, ord=torch.inf, dim=1, keepdim=True)
    usable = (largest > 0) & largest.isfinite()
    scaled = gradient / torch.where(usable, largest, 1.0)
    if not bool(usable.all()):
        scaled = torch.where(usable, scaled, 0.0)
    size = torch.linalg.vector_norm(scaled, dim=1, keepdim=True, dtype=torch.float64)
    if norm == "linf":
        scaled.sign_()
    else:
        scaled.div_(torch.where(usable, size, 1.0).to(gradient.dtype))
    return scaled, (size * largest).squeeze(1)


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
            ``crossed``.
        on_step: told of every step.
    """
    ended = Descended.at_start(start)
    rows = torch.arange(len(start), device=start.device)
    here, previous, anchor = start, start, start
    for number in range(max_steps + 1):
        scores = head(here)
        if on_step is not None:
            on_step(Step(number, rows, here, scores.values))
        direction, size = unit(scores.pull(goal.weights(scores.values)), norm)
        reason = reasons(scores, size)
        if number and number % WINDOW == 0:
            moved = torch.linalg.vector_norm(here - anchor, dim=1)
            reason[(moved < step) & (reason == RUNNING)] = code(Stop.CONVERGED)
            anchor = here
        if crossed is not None:
            reason[crossed(scores.values, rows) & comparable(reason)] = code(Stop.CROSSED)
        if number == max_steps:
            reason[reason == RUNNING] = code(Stop.MAX_STEPS)
        done = reason != RUNNING
        if bool(done.any()):
            ended.put(rows[done], here[done], previous[done], number, reason[done])
            going = ~done
            if not bool(going.any()):
                break
            rows, goal, anchor = rows[going], goal.at(going), anchor[going]
            here, direction = here[going], direction[going]
        previous = here
        here = torch.add(here, direction, alpha=-step)
        if bounds is not None:
            here.clamp_(*bounds)
    return ended


def comparable(reason: Tensor) -> Tensor:
    """(B,) bool: whether scores can be compared. Where no memory is active all classes tie."""
    return (reason != code(Stop.NONFINITE)) & (reason != code(Stop.NO_ACTIVE_MEMORY))


def reasons(scores: Scores, size: Tensor) -> Tensor:
    """(B,) int8: why an image cannot go on, or RUNNING."""
    reason = torch.full(size.shape, RUNNING, dtype=torch.int8, device=size.device)
    reason[size == 0] = code(Stop.NO_GRADIENT)
    reason[~scores.active] = code(Stop.NO_ACTIVE_MEMORY)
    broken = ~size.isfinite() | scores.values.isnan().any(dim=1)
    reason[broken & scores.active] = code(Stop.NONFINITE)
    return reason
