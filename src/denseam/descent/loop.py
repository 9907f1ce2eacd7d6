"""The loop for Eq. 3.2 over a batch: v <- v - eps u, u the unit vector of the goal's gradient.

Every image stops on its own and then leaves the batch, so that the work shrinks. An image has
*converged* when the last ``WINDOW`` steps together have moved it by less than one step: steps have
a fixed length, so an image moves to and fro at a minimum and stands still at an edge of the box.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import get_args

import torch
from torch import Tensor

from denseam.checks import choice, number, whole
from denseam.descent.goals import Goal
from denseam.descent.heads import Head, Scores
from denseam.descent.result import RUNNING, Descended, Stop, code
from denseam.heads import Norm, unit

WINDOW = 20

Crossed = Callable[[Tensor, Tensor], Tensor]  # scores (B, C), rows (B,) -> (B,) bool


@dataclass(frozen=True)
class Step:
    """A descent before one of its steps, as callbacks see it: the images that have not stopped."""

    number: int
    rows: Tensor  # (A,) int64: which of the images
    images: Tensor  # (A, N): where they are
    scores: Tensor  # (A, C) float64


OnStep = Callable[[Step], None]


@dataclass(frozen=True)
class Pace:
    """The steps of a descent: their length and its norm, how many at most, and the box."""

    step: float  # eps, visible units
    max_steps: int
    norm: Norm = "l2"
    clip: bool = True  # keep pixels in [-1, 1]

    def __post_init__(self) -> None:
        step = number("step", self.step, above=0, unit="visible units")
        object.__setattr__(self, "step", step)
        object.__setattr__(self, "max_steps", whole("max_steps", self.max_steps))
        choice("norm", self.norm, get_args(Norm))

    def clipped(self, images: Tensor) -> Tensor:
        """Return images (B, N) inside the box; they are changed in place."""
        return images.clamp_(-1.0, 1.0) if self.clip else images


@dataclass
class Way:
    """The A images that have not stopped: where they are, and where they are going."""

    rows: Tensor  # (A,) int64: which of the batch
    here: Tensor  # (A, N)
    before: Tensor  # (A, N): one step earlier
    scores: Tensor  # (A, C) float64, at ``here``
    direction: Tensor  # (A, N): u at ``here``
    length: Tensor  # (A, 1): of the next step
    anchor: Tensor  # (A, N): where it was WINDOW rounds ago, or fewer
    spent: Tensor  # (A,) int64: gradients computed
    reason: Tensor  # (A,) int8: why it cannot go on, or RUNNING

    def at(self, chosen: Tensor) -> "Way":
        """Return some of the images, by index or mask."""
        return Way(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


Advance = Callable[[Way, Head, Goal, Pace], None]  # one step of every image


def descend(
    head: Head,
    start: Tensor,  # (B, N), not changed
    goal: Goal,
    pace: Pace,
    *,
    advance: Advance | None = None,
    crossed: Crossed | None = None,
    on_step: OnStep | None = None,
) -> Descended:
    """Follow the goal's negative gradient until every image has stopped.

    Args:
        head: scores and directions.
        start: images (B, N) to begin with, in visible units.
        goal: what to descend.
        pace: length and number of steps.
        advance: takes a step; ``euler`` by default.
        crossed: called with the scores and the rows they belong to; where it returns true, an
            image stops as ``crossed``.
        on_step: called before every step.

    Returns:
        ``steps`` count gradients after the first.
    """
    ended = Descended.at_start(start)
    rows = torch.arange(len(start), device=start.device)
    scores, direction, reason = look(head, start, goal, pace.norm)
    length, spent = torch.full_like(start[:, :1], pace.step), torch.ones_like(rows)
    way = Way(rows, start, start, scores, direction, length, start, spent, reason)
    for k in itertools.count():
        if on_step is not None:
            on_step(Step(k, way.rows, way.here, way.scores))
        if k and k % WINDOW == 0:
            moved = torch.linalg.vector_norm(way.here - way.anchor, dim=1)
            way.reason[(moved < pace.step) & (way.reason == RUNNING)] = code(Stop.CONVERGED)
            way.anchor = way.here
        if crossed is not None:  # where no memory is active all classes tie
            hit = crossed(way.scores, way.rows) & (way.reason != code(Stop.NO_ACTIVE_MEMORY))
            way.reason[hit & (way.reason != code(Stop.NONFINITE))] = code(Stop.CROSSED)
        way.reason[(way.spent > pace.max_steps) & (way.reason == RUNNING)] = code(Stop.MAX_STEPS)
        done = way.reason != RUNNING
        if bool(done.any()):
            out = way.at(done)
            ended.put(out.rows, out.here, out.before, out.spent - 1, out.reason)
            way, goal = way.at(~done), goal.at(~done)
            if not len(way.rows):
                break
        (advance or euler)(way, head, goal, pace)
    return ended


def euler(way: Way, head: Head, goal: Goal, pace: Pace) -> None:
    """Take a step of fixed length along u."""
    way.before = way.here
    way.here = pace.clipped(torch.add(way.here, way.direction, alpha=-pace.step))
    way.scores, way.direction, way.reason = look(head, way.here, goal, pace.norm)
    way.spent = way.spent + 1


def look(
    head: Head, images: Tensor, goal: Goal, norm: Norm = "l2"
) -> tuple[Tensor, Tensor, Tensor]:
    """Return scores (B, C), directions (B, N) and why an image cannot go on, (B,) int8."""
    scores = head(images)
    direction, size = unit(scores.pull(goal.weights(scores.values)), norm)
    return scores.values, direction, reasons(scores, size)


def reasons(scores: Scores, size: Tensor) -> Tensor:
    """Return why each image cannot go on, (B,) int8, or RUNNING."""
    reason = torch.full(size.shape, RUNNING, dtype=torch.int8, device=size.device)
    reason[size == 0] = code(Stop.NO_GRADIENT)
    reason[~scores.active] = code(Stop.NO_ACTIVE_MEMORY)
    broken = ~size.isfinite() | scores.values.isnan().any(dim=1)
    reason[broken & scores.active] = code(Stop.NONFINITE)
    return reason
