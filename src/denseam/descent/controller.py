"""Eq. 3.2 with a step-size controller: the same curve through pixel space by far fewer gradients.

Steps of a fixed small eps follow the curve dv/ds = -u(v) by Euler's rule. Here Heun's rule follows
it, with steps as long as the curve is straight. A trial step goes along u at its beginning and
costs one more gradient at its end; the mean of both directions is taken if they differ by less than
``TOLERANCE`` (half the length of u_end - u_begin, about half the angle between them in radians).

On the floor of a narrow valley u points to one wall and then to the other, and no step of a useful
length is straight. There the trial step of length eps is taken as it is, as fixed steps would.
"""

import torch

from denseam.descent.goals import Goal
from denseam.descent.heads import Head
from denseam.descent.loop import Pace, Way, look
from denseam.descent.result import RUNNING

TOLERANCE = 0.1
LONGEST = 10.0  # in fixed steps; in a longer one an image could cross twice unseen


def heun(way: Way, head: Head, goal: Goal, pace: Pace) -> None:
    """Take Heun's step where it is straight, Euler's where it is short, and none elsewhere.

    The last two images enclose a crossing on a chord of the curve, up to ``LONGEST`` steps apart.
    """
    trial = pace.clipped(way.here - way.length * way.direction)
    scores, end, ahead = look(head, trial, goal)
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
    way.scores = torch.where(short[:, None], scores, way.scores)
    way.direction = torch.where(short[:, None], end, way.direction)
    way.reason = torch.where(short, ahead, way.reason)
    new = straight.nonzero().flatten()
    if len(new):
        way.scores[new], way.direction[new], way.reason[new] = look(head, there[new], goal.at(new))
        way.spent[new] += 1
