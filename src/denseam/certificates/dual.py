"""A batched solver of small least-distance problems, by their duals.

    min |delta|^2 / 2   subject to   C delta >= d  (m rows),   low <= delta <= high

has the dual function D(lam) = lam . d - sum_i max_i (z_i delta_i - delta_i^2 / 2) with z = C^T lam
and delta = clip(z, low, high); for every lam >= 0, sqrt(2 D) is below the distance. On the pixels
that do not touch the box D is quadratic, so a step solves that quadratic problem, m by m, by
coordinate ascent, and is shortened where it does not raise D.

With |delta|_inf in place of |delta|^2 / 2, lam proves the radius r at which the most that z . delta
reaches within r and the box has grown to lam . d. A few steps of subgradients raise it.
"""

import torch
from torch import Tensor

__all__ = ["least_distance", "least_linf", "proven"]

_SWEEPS = 20
_STEPS = (1.0, 0.4, 0.1)
_NEWTON = 12
_UNREACHED = 2.0  # visible units: no image is farther in Linf


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


def proven(
    norm: str, C: Tensor, d: Tensor, low: Tensor | None, high: Tensor | None, lam: Tensor
) -> Tensor:
    """Return the distances (P,) that multipliers lam >= 0 (P, m) prove."""
    z, gain = (lam[:, None] @ C)[:, 0].double(), (lam * d).double().sum(dim=1)
    if norm == "linf":
        return _reached(z, gain, low, high)[0]
    delta = z if low is None or high is None else z.clamp(low, high)
    value = gain - (z * delta - delta.square() / 2).sum(dim=1)
    return (2 * value.clamp(min=0)).sqrt()


def least_linf(
    C: Tensor,  # (P, m, N)
    d: Tensor,  # (P, m)
    low: Tensor | None,  # (P, N), <= 0
    high: Tensor | None,
    rounds: int = 20,
) -> Tensor:
    """Return multipliers lam >= 0, (P, m), of sum 1."""
    (P, m, N), rows = C.shape, torch.arange(len(C))
    ends = [None if end is None else end.repeat_interleave(m, dim=0) for end in (low, high)]
    alone = _reached(C.reshape(P * m, N), d.flatten(), *ends)[0].reshape(P, m)
    best = torch.zeros_like(d)
    best[rows, alone.argmax(dim=1)] = 1.0
    lam, largest = best, alone.amax(dim=1)
    for step in range(rounds if m > 1 else 0):
        z = (lam[:, None] @ C)[:, 0]
        radii, delta = _reached(z, (lam * d).sum(dim=1), low, high)
        better = radii > largest
        best = torch.where(better[:, None], lam, best)
        largest = torch.maximum(radii, largest)
        slope = d - (C @ delta[:, :, None])[:, :, 0]
        slope = slope / slope.abs().amax(dim=1, keepdim=True).clamp(min=1e-20)
        lam = (lam + 0.5 / (step + 1) * slope).clamp(min=0)
        lam = lam / lam.sum(dim=1, keepdim=True).clamp(min=1e-20)
    return best


def _reached(
    z: Tensor, gain: Tensor, low: Tensor | None, high: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the least Linf sizes (P,) at which z . delta reaches gain, and those delta (P, N).

    The most that z . delta reaches is concave in the size: Newton's steps come from below.
    """
    room = torch.full_like(z, _UNREACHED)
    if low is not None and high is not None:
        room = torch.where(z > 0, high, -low)
    size = z.abs()
    radii = torch.zeros_like(gain)
    for _ in range(_NEWTON):
        open_ = room > radii[:, None]
        reached = (size * torch.minimum(room, radii[:, None])).sum(dim=1)
        slope = (size * open_).sum(dim=1)
        radii = radii + (gain - reached).clamp(min=0) / slope.clamp(min=1e-20)
        radii = radii.clamp(max=_UNREACHED)
    delta = z.sign() * torch.minimum(room, radii[:, None])
    return radii, delta
