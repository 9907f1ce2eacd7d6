"""A batched solver of small least-distance problems, by their duals.

    min |delta|^2 / 2   subject to   C delta >= d  (m rows),   low <= delta <= high

has the dual function D(lam) = lam . d - sum_i max_i (z_i delta_i - delta_i^2 / 2) with z = C^T lam
and delta = clip(z, low, high); for every lam >= 0, sqrt(2 D) is below the distance. On the pixels
that do not touch the box D is quadratic, so a step solves that quadratic problem, m by m, by
coordinate ascent, and is shortened where it does not raise D.
"""

import torch
from torch import Tensor

__all__ = ["least_distance"]

_SWEEPS = 20
_STEPS = (1.0, 0.4, 0.1)


def least_distance(
    C: Tensor,  # (P, m, N)
    d: Tensor,  # (P, m)
    low: Tensor | None,  # (P, N), <= 0; None without a box
    high: Tensor | None,  # (P, N), >= 0
    rounds: int = 6,
) -> Tensor:
    """Return multipliers lam >= 0, (P, m)."""
    gram = C @ C.transpose(1, 2)
    sizes = gram.diagonal(dim1=1, dim2=2).clamp(min=1e-20)
    # One constraint alone: lam = d / |C|^2, of the one that is farthest away.
    distances = d / sizes.sqrt()
    first = distances.argmax(dim=1, keepdim=True)
    lam = torch.zeros_like(d).scatter(1, first, (d / sizes).clamp(min=0).gather(1, first))
    lam = _ascend(gram, d, lam)
    if low is None or high is None:
        return lam
    value = _dual(C, d, low, high, lam)
    for _ in range(rounds):
        z = (lam[:, None] @ C)[:, 0]
        clipped = z.clamp(low, high)
        free = (z == clipped).to(C.dtype)
        inside = C * free[:, None]
        left = d - (C @ (clipped * (1 - free))[:, :, None])[:, :, 0]
        target = _ascend(inside @ C.transpose(1, 2), left, lam)
        before = value
        for step in _STEPS:
            tried = lam + step * (target - lam)
            tried_value = _dual(C, d, low, high, tried)
            better = tried_value > value
            lam = torch.where(better[:, None], tried, lam)
            value = torch.where(better, tried_value, value)
            if bool(better.all()):
                break
        if bool((value <= before * (1 + 1e-5)).all()):
            break
    return lam


def _ascend(gram: Tensor, linear: Tensor, lam: Tensor) -> Tensor:
    """Raise lam . linear - lam gram lam / 2 over lam >= 0, one coordinate after the other."""
    lam, count = lam.clone(), lam.shape[1]
    sizes = gram.diagonal(dim1=1, dim2=2)
    useful = sizes > 1e-12
    sizes = torch.where(useful, sizes, 1.0)
    for _ in range(_SWEEPS if count > 1 else 1):
        for j in range(count):
            slope = linear[:, j] - (gram[:, j] * lam).sum(dim=1)
            moved = (lam[:, j] + slope / sizes[:, j]).clamp(min=0)
            lam[:, j] = torch.where(useful[:, j], moved, lam[:, j])
    return lam


def _dual(C: Tensor, d: Tensor, low: Tensor, high: Tensor, lam: Tensor) -> Tensor:
    z = (lam[:, None] @ C)[:, 0]
    delta = z.clamp(low, high)
    return (lam * d).sum(dim=1) - (z * delta - delta.square() / 2).sum(dim=1)
