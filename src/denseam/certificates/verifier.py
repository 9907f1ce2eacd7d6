"""The verifier: short, in float64 with errors rounded outward, and without any solver.

A proof names its bound and numbers, put here into the inequality that makes the bound true
(docs/certificates.md). A sum of N products is taken to be off by (N + 8) 2^-52 times the sum of
their magnitudes, twice what float64 can lose; NaN proves nothing.
"""

import math
from typing import Any

import numpy as np

from denseam.certificates.fields import Array, Fields, lipschitz_constant
from denseam.certificates.votes import Lead

__all__ = ["Verifier"]

U = 2.0**-52


class Verifier:
    """A check of proofs for one model: its fields, a norm, and whether images stay in [-1, 1]."""

    def __init__(self, fields: Fields, norm: str, *, box: bool) -> None:
        self.fields, self.norm, self.box = fields, norm, box
        self.off = (fields.A.shape[1] + 8) * U  # of sums over N
        self.all_off = (len(fields.A) + 16) * U + self.off  # of sums over K and N
        self.mass = np.abs(fields.A)
        self.lengths = self._length(fields.A) * (1 + self.off)
        self._constant = lipschitz_constant(fields, self.lengths, norm)
        self.sizes: dict[int, Array] = {}  # dual norms of A_k - kappa A, by k

    def __call__(self, visible: Array, labels: Any, proofs: list[dict[str, Any]]) -> list[bool]:
        """Return for each image (B, N) of a class (B,) whether its proof holds."""
        h = visible @ self.fields.A.T
        e = self.off * (np.abs(visible) @ self.mass.T) + 1e-280
        rows = zip(visible, h, e, labels, proofs, strict=True)
        with np.errstate(all="ignore"):
            return [self._holds(v, h, e, int(y), proof) for v, h, e, y, proof in rows]

    def _holds(self, v: Array, h: Array, e: Array, y: int, proof: dict[str, Any]) -> bool:
        try:
            if not 0 <= proof["radius"] < math.inf:
                return False
            if proof["bound"] in ("pairwise", "distance"):
                return self._linear(v, h, e, y, proof)
            if proof["bound"] == "votes":
                return self._votes(h, e, y, proof["radius"], int(proof["depth"]))
            rule = {"convex": self._convex, "lipschitz": self._lipschitz}
            return rule[proof["bound"]](h, e, y, proof["radius"])
        except (KeyError, IndexError, TypeError, ValueError):
            return False

    def _linear(self, v: Array, h: Array, e: Array, y: int, proof: dict[str, Any]) -> bool:
        f, r, k = self.fields, proof["radius"], proof["base"]
        own, rival = f.own(y), f.rival(y)
        low = h + own - e - U * (np.abs(h) + np.abs(own))
        high = f.kappa * (h + e) + rival
        high += 4 * U * (f.kappa * np.abs(h) + np.nan_to_num(np.abs(rival), posinf=0))
        holds = low[k] - high > r * self._size(k) * (1 + 4 * U)
        holds |= low - high > r * (f.kappa - 1) * self.lengths * (1 + 8 * U)  # against itself
        for l, memories, multipliers in proof["rivals"]:
            lam = np.asarray(multipliers, dtype=np.float64)
            if not ((lam > 0).all() and self._dual(v, r, l, memories, lam, low - high[l])):
                return False
            holds[l] = True
        return bool(holds.all())

    def _dual(self, v: Array, r: float, l: int, memories: Any, lam: Array, gaps: Array) -> bool:
        """Return whether no change within r has lam . (kappa A_l - A_k) delta >= lam . gaps_k."""
        f, count = self.fields, (len(lam) + 8) * U
        z = lam.sum() * f.kappa * f.A[l] - lam @ f.A[memories]
        error = count * (lam.sum() * f.kappa * self.mass[l] + lam @ self.mass[memories])
        d = gaps[memories]
        gain = lam @ d - count * (lam @ np.abs(d))
        low, high = (-1 - v, 1 - v) if self.box else (np.full_like(v, -9e9), np.full_like(v, 9e9))
        if self.norm == "linf":
            moved = np.maximum(z * np.minimum(r, high), z * np.maximum(-r, low))
            lost = (moved + error * r).sum() + self.off * (np.abs(moved) + error * r).sum()
            return bool(gain > lost)
        delta = np.clip(z, low, high)  # where z delta - delta^2 / 2 is largest
        lost = (z * delta - delta**2 / 2).sum() + self.off * (np.abs(z * delta) + delta**2).sum()
        lost += (1 + self.off) * (error * (np.abs(delta) + error)).sum()
        return bool(2 * (gain - lost) * (1 - 8 * U) > r * r)

    def _length(self, rows: Array) -> Array:
        order = 1 if self.norm == "linf" else 2
        return np.asarray(np.linalg.norm(rows, order, axis=1))

    def _size(self, k: int) -> Array:
        if k not in self.sizes:
            A, kappa, lengths = self.fields.A, self.fields.kappa, self.lengths
            both = lengths[k] + kappa * lengths
            if self.norm == "linf":
                self.sizes[k] = self._length(A[k] - kappa * A) * (1 + self.off) + 2 * U * both
            else:
                squares = lengths[k] ** 2 - 2 * kappa * (A @ A[k]) + (kappa * lengths) ** 2
                self.sizes[k] = np.sqrt(np.maximum(squares, 0) + 4 * self.off * both**2)
        return self.sizes[k]

    def _votes(self, h: Array, e: Array, y: int, r: float, depth: int) -> bool:
        f, lead = self.fields, Lead(self.fields, self.lengths, self.norm, self.all_off)
        error, own = e + f.overlap_error, h + f.b[:, y] - f.shift_error
        rivals = [h + f.b[:, c] + f.shift_error for c in self._others(y)]
        return all(lead.holds(own, rival, error, r, depth) for rival in rivals)

    def _convex(self, h: Array, e: Array, y: int, r: float) -> bool:
        f, low = self.fields, np.maximum(h + self.fields.b[:, y] - e - self.fields.slack, 0)
        score = self._norm(low)
        p = (low / score) ** (f.power - 1)
        psi = p @ f.A / p.sum()
        away = self._length(f.A - psi) * (1 + self.off) + 2 * U * self.lengths
        reach = r * float(self._length(psi[None])[0]) * (1 + self.off)
        lost = 4 * self.all_off * f.power * (score + r * (p @ self.lengths))
        return bool(score > 0) and all(
            (score + p.sum() * t - lost) * (1 - 2 * f.blur)
            > self._norm(h + f.b[:, c] + e + f.slack + r * away + t) * (1 + 2 * self.all_off)
            for c in self._others(y)
            for t in (-reach, reach)
        )

    def _lipschitz(self, h: Array, e: Array, y: int, r: float) -> bool:
        f, off = self.fields, 4 * self.all_off + 2 * self.fields.blur
        own = self._norm(h + f.b[:, y] - e - f.slack)
        best = max((self._norm(h + f.b[:, c] + e + f.slack) for c in self._others(y)), default=0.0)
        lead = own - best - off * (abs(own) + abs(best))
        return bool(lead > 2 * r * self._constant * (1 + off))

    def _others(self, y: int) -> list[int]:
        return [c for c in range(self.fields.b.shape[1]) if c != y]

    def _norm(self, h: Array) -> float:
        """Return the n-norm of fields (K,), those below 0 left out; the largest for n = inf."""
        top, n = float(h.max()), self.fields.power
        if math.isinf(n) or top <= 0:
            return top if math.isinf(n) else 0.0
        return float(top * ((np.maximum(h, 0) / top) ** n).sum() ** (1 / n))
