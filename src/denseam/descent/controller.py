"""Eq. 3.2 with a step-size controller: the same way through pixel space in far fewer gradients.

Steps of a fixed small eps follow the curve dv/ds = -u(v) by Euler's rule. Here Heun's rule follows
it, with steps as long as the curve is straight: a trial step along u at its beginning, one more
gradient at its end, and the mean of both taken if the two differ by less than ``tolerance``
(half the length of u_end - u_begin, about half the angle between them in radians).

Where the curve runs along the floor of a narrow valley, u points now to one wall and now to the
other, and no step of a useful length is straight: there the trial step of length eps is taken as it
is, which is what the fixed steps do.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from denseam.descent.goals import Goal
from denseam.descent.heads import Head
from denseam.descent.loop import WINDOW, Crossed, OnStep, Step, comparable, reasons, unit
from denseam.descent.result import RUNNING, Descended, Stop, code

__all__ = ["TOLERANCE", "descend_controlled"]

TOLERANCE = 0.1
LONGEST = 10.0  # in units of the fixed step: farther, an image could cross twice unseen


@dataclass
class _Way:
    """The images still on their way, A of them."""

    rows: Tensor  # (A,) int64: which of the batch
    here: Tensor  # (A, N)
    before: Tensor  # (A, N): one step earlier
    scores: Tensor  # (A, C) float64, at ``here``
    direction: Tensor  # (A, N): u at ``here``
    length: Tensor  # (A, 1): of the next step
    anchor: Tensor  # (A, N): where it was WINDOW rounds ago, or fewer
    spent: Tensor  # (A,) int64: gradients computed
    reason: Tensor  # (A,) int8: why it cannot go on, or RUNNING

    def at(self, chosen: Tensor) -> "_Way":
        """Some of them."""
        return _Way(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def descend_controlled(
    head: Head,
    start: Tensor,  # (B, N), not changed
    goal: Goal,
    *,
    step: float,
    max_steps: int,
    bounds: tuple[float, float] | None,
    crossed: Crossed,
    tolerance: float = TOLERANCE,
    on_step: OnStep | None = None,
) -> Descended:
    """As ``loop.descend`` with ``crossed``; a step of the result is one gradient computed.

    The last two images enclose the crossing on a chord of the curve, up to ``LONGEST`` steps apart.
    """
    ended = Descended.at_start(start)
    way = _set_out(head, start, goal, step)
    number = 0
    while True:
        if on_step is not None:
            on_step(Step(number, way.rows, way.here, way.scores))
        if number and number % WINDOW == 0:
            moved = torch.linalg.vector_norm(way.here - way.anchor, dim=1)
            way.reason[(moved < step) & (way.reason == RUNNING)] = code(Stop.CONVERGED)
            way.anchor = way.here
        way.reason[crossed(way.scores, way.rows) & comparable(way.reason)] = code(Stop.CROSSED)
        way.reason[(way.spent > max_steps) & (way.reason == RUNNING)] = code(Stop.MAX_STEPS)
        done = way.reason != RUNNING
        if bool(done.any()):
            out = way.at(done)
            ended.put(out.rows, out.here, out.before, out.spent - 1, out.reason)
            way, goal = way.at(~done), goal.at(~done)
            if not len(way.rows):
                return ended
        _advance(way, head, goal, tolerance=tolerance, step=step, bounds=bounds)
        number += 1


def _set_out(head: Head, start: Tensor, goal: Goal, step: float) -> _Way:
    scores = head(start)
    direction, size = unit(scores.pull(goal.weights(scores.values)))
    reason, rows = reasons(scores, size), torch.arange(len(start), device=start.device)
    length = torch.full_like(start[:, :1], step)
    spent = torch.ones_like(rows)
    return _Way(rows, start, start, scores.values, direction, length, start, spent, reason)


def _advance(
    way: _Way,
    head: Head,
    goal: Goal,
    *,
    tolerance: float,
    step: float,
    bounds: tuple[float, float] | None,
) -> None:
    """One step of Heun's rule, or of Euler's, for those that are straight or short enough."""
    trial = _clip(way.here - way.length * way.direction, bounds)
    scores = head(trial)
    end, size = unit(scores.pull(goal.weights(scores.values)))
    ahead = reasons(scores, size)
    there = _clip(way.here - way.length * (way.direction + end) / 2, bounds)
    error = torch.linalg.vector_norm(there - trial, dim=1, keepdim=True) / way.length
    straight = (error <= tolerance).squeeze(1) & (ahead == RUNNING)
    short = ~straight & (way.length <= step).squeeze(1)
    growth = (0.8 * tolerance / error.clamp(min=1e-12)).clamp(0.3, 3.0)
    way.length = (way.length * growth).clamp(step, LONGEST * step)
    way.spent = way.spent + 1

    moved = (straight | short)[:, None]
    way.before = torch.where(moved, way.here, way.before)
    way.here = torch.where(short[:, None], trial, torch.where(moved, there, way.here))
    way.scores = torch.where(short[:, None], scores.values, way.scores)
    way.direction = torch.where(short[:, None], end, way.direction)
    way.reason = torch.where(short, ahead, way.reason)
    new = straight.nonzero().flatten()
    if len(new):
        scores = head(there[new])
        direction, size = unit(scores.pull(goal.at(new).weights(scores.values)))
        way.scores[new], way.direction[new] = scores.values, direction
        way.reason[new] = reasons(scores, size)
        way.spent[new] += 1


def _clip(images: Tensor, bounds: tuple[float, float] | None) -> Tensor:
    return images if bounds is None else images.clamp_(*bounds)
