"""Where a margin changes sign on straight lines through pixel space, many lines at once."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from denseam.descent.heads import Head, own_and_best_other

# On the boundary the two scores differ by less than this fraction of the larger of the two.
RELATIVE_MARGIN = 1e-7
_BISECTIONS = 60


def on_boundary(
    head: Head, before: Tensor, behind: Tensor, targets: Tensor, crossed: Tensor
) -> tuple[Tensor, Tensor]:
    """Find the boundary between images (B, N) in front of it and behind it, in float64.

    Bisection on the margin between the target (B,) and the best other class, with a secant step
    every other time. Returns images (B, N) and the relative margins (B,) left there. Where
    ``crossed`` (B,) is false these are ``behind`` and NaN.
    """
    boundary = behind.double().clone()
    left = torch.full((len(behind),), torch.nan, dtype=torch.float64, device=behind.device)
    rows = crossed.nonzero().flatten()
    near, way = before[rows].double(), behind[rows].double() - before[rows].double()
    low, high = torch.zeros(2, len(rows), dtype=torch.float64, device=behind.device)
    high = high + 1
    low_margin = _relative_margin(head, near, targets[rows])
    high_margin = _relative_margin(head, near + way, targets[rows])
    for number in range(_BISECTIONS):
        if not len(rows):
            break
        secant = low + (high - low) * low_margin / (low_margin - high_margin)
        inside = (secant > low) & (secant < high) & (number % 2 == 0)
        middle = torch.where(inside, secant, (low + high) / 2)
        image = near + middle[:, None] * way
        margin = _relative_margin(head, image, targets[rows])
        boundary[rows], left[rows] = image, margin.abs()
        is_low = margin < 0
        low, low_margin = _pick(is_low, (middle, margin), (low, low_margin))
        high, high_margin = _pick(is_low, (high, high_margin), (middle, margin))
        going = margin.abs() > RELATIVE_MARGIN
        rows, near, way = rows[going], near[going], way[going]
        low, high, low_margin, high_margin = (
            x[going] for x in (low, high, low_margin, high_margin)
        )
    return boundary, left


def first_crossing(
    margins: Callable[[Tensor], Tensor], at_zero: Tensor, guess: Tensor, looks: int
) -> Tensor:
    """Find about the least lengths (R,) at which margins (R,) are no longer positive; inf if none.

    Regula falsi with the Illinois rule between a length in front of the boundary and one behind;
    until there is one behind, lengths double. ``at_zero`` are the margins at length 0, ``guess``
    is where to look first.
    """
    near, far = torch.zeros_like(guess), torch.full_like(guess, math.inf)
    margin_near, margin_far = at_zero.clone(), torch.full_like(guess, -1.0)
    length, behind_before = guess, torch.zeros_like(guess, dtype=torch.bool)
    for look in range(looks):
        margin = margins(length)
        behind = ~(margin > 0)
        # The end that stays where it is twice counts half, or it would stay for good.
        again = (behind == behind_before) & (look > 0)
        margin_near = torch.where(behind & again, margin_near / 2, margin_near)
        margin_far = torch.where(~behind & again, margin_far / 2, margin_far)
        near, margin_near = _pick(behind, (near, margin_near), (length, margin))
        far, margin_far = _pick(behind, (length, margin), (far, margin_far))
        behind_before = behind
        share = margin_near / (margin_near - margin_far).clamp(min=torch.finfo(far.dtype).tiny)
        between = near + share.nan_to_num(0.5).clamp(0.01, 0.99) * (far - near)
        length = torch.where(far.isfinite(), between, 2 * length)
    return far


def _pick(
    condition: Tensor, yes: tuple[Tensor, Tensor], no: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    return torch.where(condition, yes[0], no[0]), torch.where(condition, yes[1], no[1])


def _relative_margin(head: Head, images: Tensor, targets: Tensor) -> Tensor:
    """Return the target's score minus the best other's, relative to the larger of the two, (B,).

    In energy gaps, so that Y differs by no larger part: g (tanh g)' is never above tanh g.
    """
    target, other = own_and_best_other(head(images).values, targets)
    largest = torch.maximum(target.abs(), other.abs())
    return torch.where(largest > 0, (target - other) / largest, 0.0)
