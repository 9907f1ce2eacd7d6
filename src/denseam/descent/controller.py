"""Eq. 3.2 with a step-size controller: the same curve through pixel space by far fewer gradients.

Steps of a fixed small eps follow the curve dv/ds = -u(v) by Euler's rule. Here Heun's rule follows
it, with steps as long as the curve is straight. A trial step goes along u at its beginning and
costs one more gradient at its end; the mean of both directions is taken if they differ by less than
``TOLERANCE`` (half the length of u_end - u_begin, about half the angle between them in radians).

On the floor of a narrow valley u points to one wall and then to the other, and no step of a useful
length is straight. There the trial step of length eps is taken as it is, as fixed steps would.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from denseam.descent.goals import Goal
from denseam.descent.heads import Head
from denseam.descent.loop import WINDOW, Crossed, OnStep, Pace, Step, comparable, reasons, unit
from denseam.descent.result import RUNNING, Descended, Stop, code

__all__ = ["descend_controlled"]

TOLERANCE = 0.1
LONGEST = 10.0  # in fixed steps; in a longer one an image could cross twice unseen


@dataclass
class _Way:
    """The A images that have not stopped."""

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
        """Return some of the images, by index or mask."""
        return _Way(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def descend_controlled(
    head: Head,
    start: Tensor,  # (B, N), not changed
    goal: Goal,
    pace: Pace,
    *,
    crossed: Crossed,
    on_step: OnStep | None = None,
) -> Descended:
    """Descend as ``loop.descend`` does, by longer steps; ``steps`` of the result are gradients.

    The last two images enclose the crossing on a chord of the curve, up to ``LONGEST`` steps apart.
    """
    ended = Descended.at_start(start)
    way = _set_out(head, start, goal, pace.step)
    number = 0
    while True:
        if on_step is not None:
            on_step(Step(number, way.rows, way.here, way.scores))
        if number and number % WINDOW == 0:
            moved = torch.linalg.vector_norm(way.here - way.anchor, dim=1)
            way.reason[(moved < pace.step) & (way.reason == RUNNING)] = code(Stop.CONVERGED)
            way.anchor = way.here
        way.reason[crossed(way.scores, way.rows) & comparable(way.reason)] = code(Stop.CROSSED)
        way.reason[(way.spent > pace.max_steps) & (way.reason == RUNNING)] = code(Stop.MAX_STEPS)
        done = way.reason != RUNNING
        if bool(done.any()):
            out = way.at(done)
            ended.put(out.rows, out.here, out.before, out.spent - 1, out.reason)
            way, goal = way.at(~done), goal.at(~done)
            if not len(way.rows):
                return ended
        _advance(way, head, goal, pace)
        number += 1


def _set_out(head: Head, start: Tensor, goal: Goal, step: float) -> _Way:
    scores = head(start)
    direction, size = unit(scores.pull(goal.weights(scores.values)))
    reason, rows = reasons(scores, size), torch.arange(len(start), device=start.device)
    length = torch.full_like(start[:, :1], step)
    spent = torch.ones_like(rows)
    return _Way(rows, start, start, scores.values, direction, length, start, spent, reason)


def _advance(way: _Way, head: Head, goal: Goal, pace: Pace) -> None:
    """Take Heun's step where it is straight, Euler's where it is short, and none elsewhere."""
    trial = pace.clipped(way.here - way.length * way.direction)
    scores = head(trial)
    end, size = unit(scores.pull(goal.weights(scores.values)))
    ahead = reasons(scores, size)
    there = pace.clipped(way.here - way.length * (way.direction + end) / 2)
    error = torch.linalg.vector_norm(there - trial, dim=1, keepdim=True) / way.length
    straight = (error <= TOLERANCE).squeeze(1) & (ahead == RUNNING)
    short = ~straight & (way.length <= pace.step).squeeze(1)
    growth = (0.8 * TOLERANCE / error.clamp(min=1e-12)).clamp(0.3, 3.0)
    way.length = (way.length * growth).clamp(pace.step, LONGEST * pace.step)
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
