"""Where exactly the target overtakes, between an image in front of the boundary and one behind."""

import torch
from torch import Tensor

from denseam.descent.heads import Head, own_and_best_other

__all__ = ["RELATIVE_MARGIN", "bisect"]

# On the boundary the two scores differ by less than this part of the larger of the two.
RELATIVE_MARGIN = 1e-7
_BISECTIONS = 60


def bisect(
    head: Head, before: Tensor, behind: Tensor, targets: Tensor, crossed: Tensor
) -> tuple[Tensor, Tensor]:
    """The boundary on the way from ``before`` to ``behind``, (B, N) and (B,), in float64.

    Bisection on the margin between the target and the best other class, with a secant step every
    other time. Where ``crossed`` (B,) is false, ``behind`` is returned with a margin of NaN.
    """
    boundary = behind.double().clone()
    margin = torch.full((len(behind),), torch.nan, dtype=torch.float64, device=behind.device)
    rows = crossed.nonzero().flatten()
    near, way = before[rows].double(), behind[rows].double() - before[rows].double()
    low, high = torch.zeros(2, len(rows), dtype=torch.float64, device=behind.device)
    high = high + 1
    low_margin = _margin(head, near, targets[rows])
    high_margin = _margin(head, near + way, targets[rows])
    for number in range(_BISECTIONS):
        if not len(rows):
            break
        secant = low + (high - low) * low_margin / (low_margin - high_margin)
        inside = (secant > low) & (secant < high) & (number % 2 == 0)
        middle = torch.where(inside, secant, (low + high) / 2)
        image = near + middle[:, None] * way
        found = _margin(head, image, targets[rows])
        boundary[rows], margin[rows] = image, found.abs()
        is_low = found < 0
        low, low_margin = torch.where(is_low, middle, low), torch.where(is_low, found, low_margin)
        high = torch.where(is_low, high, middle)
        high_margin = torch.where(is_low, high_margin, found)
        left = found.abs() > RELATIVE_MARGIN
        rows, near, way = rows[left], near[left], way[left]
        low, high, low_margin, high_margin = (x[left] for x in (low, high, low_margin, high_margin))
    return boundary, margin


def _margin(head: Head, images: Tensor, targets: Tensor) -> Tensor:
    """Target's score minus the best other's, relative to the larger of the two, (B,).

    In energy gaps, so that Y differs by no larger part: g (tanh g)' is never above tanh g.
    """
    own, other = own_and_best_other(head(images).values, targets)
    largest = torch.maximum(own.abs(), other.abs())
    return torch.where(largest > 0, (own - other) / largest, 0.0)
