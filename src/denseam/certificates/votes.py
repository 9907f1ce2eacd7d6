"""The lead of a class in a sum of powers, as an inequality: a part of the verifier.

Memory mu adds D_mu(t) = F(x_mu + t) - F(z_mu + t) to the lead of one class over another, when its
overlap moves by t. Where x >= z that is above its tangent; elsewhere above the tangent less
N_mu t^2 / 2. So the lead is at least that of the tangents, minus what all N_mu can take.

A ball is cut into slabs, halves of halves along the gradient u of the lead, and each slab has
its own tangents: with delta = tau u + delta', overlaps move by tau A_mu.u, which hardly
varies in a thin slab, and by at most |delta'| |A_mu - (A_mu.u) u| across.
"""

import math
from dataclasses import dataclass

import numpy as np

from denseam.certificates.fields import Array, Fields

__all__ = ["Lead"]

U = 2.0**-52
Slab = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Lead:
    """Lower bounds of a lead for one model.

    Attributes:
        fields: of the model.
        lengths: (K,) dual norms of its memories, rounded up.
        norm: of the distance; "linf" has no slabs.
        off: relative error of a sum over memories and pixels in float64.
    """

    fields: Fields
    lengths: Array
    norm: str
    off: float

    def holds(self, leading: Array, rival: Array, error: Array, r: float, depth: int) -> bool:
        """Return whether ``leading`` wins against ``rival`` wherever overlaps move within r.

        Args:
            leading: (K,) fields of the class, rounded down.
            rival: (K,) fields of another class, rounded up.
            error: (K,) of the overlaps.
            r: the radius.
            depth: how often a slab may be halved.
        """
        return self._holds(leading, rival, error, r, (-r, r), None, depth)

    def _holds(
        self, leading: Array, rival: Array, error: Array, r: float,
        slab: Slab, u: Array | None, depth: int,
    ) -> bool:  # fmt: skip
        f, n, off = self.fields, self.fields.power, self.off
        mid, half = (0.0, 0.0) if u is None else (sum(slab) / 2, (slab[1] - slab[0]) / 2)
        along = np.zeros(len(f.A)) if u is None else f.A @ u
        across = np.sqrt(np.maximum(self.lengths**2 * (1 + 8 * off) - along**2, 0))
        side = math.sqrt(max(r * r - max(slab[0], -slab[1], 0) ** 2, 0)) * (1 + off)
        blur = error + 4 * off * r * self.lengths
        reach = (side * across + half * np.abs(along) + blur) * (1 + 4 * U)
        fields = leading + mid * along, rival + mid * along
        scale = max(float((field + reach).max()) for field in fields)
        if not (scale > 0 and 2 <= n < math.inf):
            return False
        x, z = (np.maximum(field, 0) / scale for field in fields)
        far_x, far_z = (np.maximum(field + reach, 0) / scale for field in fields)
        slopes = n / scale * (x ** (n - 1) - z ** (n - 1))
        bend = np.maximum(far_z ** (n - 2) - (far_x ** (n - 2) if n >= 3 else 0), 0)
        bend = np.where(fields[1] > fields[0], n * (n - 1) / scale**2 * bend, 0)
        gradient = slopes @ f.A
        length = float(np.linalg.norm(gradient, 1 if self.norm == "linf" else 2))
        slope = 0.0 if u is None else float(gradient @ u)
        lost = side * math.sqrt(max(length**2 * (1 + 16 * off) - slope**2, 0)) + half * abs(slope)
        lost += np.abs(slopes) @ blur + (bend * reach**2).sum() / 2
        size = ((far_x**n).sum() + (far_z**n).sum()) * (2 * f.blur + 16 * off * n)
        size += off * 8 * n * r * (np.abs(slopes) @ self.lengths)
        lead = (x**n - z**n).sum()
        if lead - lost * (1 + 16 * off) > size:
            return True
        if depth < 1 or lead <= 0 or length <= 0 or self.norm == "linf":
            return False
        u, mid = gradient / length if u is None else u, sum(slab) / 2
        halves = (slab[0], mid), (mid, slab[1])
        return all(self._holds(leading, rival, error, r, each, u, depth - 1) for each in halves)
