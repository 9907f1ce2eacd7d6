"""Energy differences of single neurons: E with neuron i at -1 minus E with it at +1.

With the fields h_mu = xi^mu . v and rest_mu = h_mu - xi_i^mu v_i, this is NIPS16's Eq. 3:

    gap_i = sum_mu [ F(rest_mu + xi_i^mu) - F(rest_mu - xi_i^mu) ],      v_i <- sign(gap_i)

and for class neurons, all at -1, the argument of tanh in Eq. 2.1 times F(T). Fields, differences
and decisions are in float64, on the scale of the largest field, so that nothing overflows and a
flip that counts as falling falls. With ``Patterns`` as columns (D, K): a neuron reads one row.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from denseam.energies import EnergyFunction
from denseam.retrieval.patterns import Patterns

__all__ = ["Columns", "sweep"]

_NUMBERS = 2**25  # of fields that are held at once: 256 MB
_NOISE = 4 * torch.finfo(torch.float64).eps  # of the terms of a gap


@dataclass(frozen=True)
class Columns:
    """All patterns as columns in float64 precision, ready for single neurons."""

    F: EnergyFunction
    columns: Tensor  # (D, K)
    centre: Tensor | None = None  # (D,) float64: overlaps are (xi - centre) . (v - centre)

    @classmethod
    def of(cls, patterns: Patterns, F: EnergyFunction, centre: Tensor | None) -> "Columns":
        """Return the columns of patterns; all of them are held in memory, beside these."""
        columns = patterns.whole().T.contiguous()
        if centre is not None:
            columns = columns - centre.to(columns.dtype)[:, None]
        return cls(F, columns, centre)

    @property
    def images_at_once(self) -> int:
        """States whose fields, (K, b), are held at once."""
        return max(1, _NUMBERS // self.columns.shape[1])

    def fields(self, states: Tensor) -> Tensor:
        """Return h, (b, D) float64 -> (K, b) float64."""
        moved = states if self.centre is None else states - self.centre
        total = moved.new_zeros(self.columns.shape[1], len(states))
        for start in range(0, len(self.columns), 256):
            piece = self.columns[start : start + 256].double()
            total.addmm_(piece.T, moved[:, start : start + 256].T)
        return total

    def gap(self, fields: Tensor, states: Tensor, neuron: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return gap / F(scale), what rounding may have made of it, and the scale, (b,) each."""
        column = self.columns[neuron].double()[:, None]  # (K, 1)
        plus = fields + column * (1 - states[:, neuron])
        minus = fields - column * (1 + states[:, neuron])
        F = self.F
        scale = torch.maximum(F.scale(plus, 0), F.scale(minus, 0))[0]
        on, off = F.ratio(plus, scale), F.ratio(minus, scale)
        # Each term is 1 at most, and rounded.
        return (on - off).sum(dim=0), torch.full_like(scale, _NOISE * len(fields)), scale

    def gaps(self, states: Tensor, neurons: Tensor) -> Tensor:
        """Return E(v_i = -1) - E(v_i = +1) of neurons (n,), (b, D) float64 -> (b, n) float64."""
        result = states.new_empty(len(states), len(neurons))
        limit = torch.finfo(torch.float64).max
        for start in range(0, len(states), self.images_at_once):
            some = states[start : start + self.images_at_once]
            fields = self.fields(some)
            for j, i in enumerate(neurons.tolist()):
                gap, noise, scale = self.gap(fields, some, i)
                gap = torch.where(gap.abs() <= noise, 0, gap)
                value = self.F.value(scale).clamp(-limit, limit)
                result[start : start + len(some), j] = (gap * value).clamp(-limit, limit)
        return result


def sweep(columns: Columns, states: Tensor, free: Tensor, order: Tensor, *, at_once: bool) -> None:
    """Turn every free neuron to the side of the lower energy, in place.

    Args:
        columns: the patterns.
        states: (B, D) float64.
        free: (B, D) bool: neurons that may turn.
        order: (D,) int64, in which neurons take their turns.
        at_once: all neurons look at the same state; otherwise each sees those that turned before.
    """
    before = states.clone() if at_once else states
    for start in range(0, len(states), columns.images_at_once):
        some = slice(start, start + columns.images_at_once)
        fields = columns.fields(before[some])
        for i in order.tolist():
            may = free[some, i]
            if not bool(may.any()):
                continue
            now = before[some, i]
            gap, noise, _ = columns.gap(fields, before[some], i)
            turned = torch.where(gap > noise, 1.0, torch.where(gap < -noise, -1.0, now))
            turned = torch.where(may, turned, now)
            if not at_once:
                change = turned - now
                if bool(change.any()):
                    fields.addmm_(columns.columns[i].double()[:, None], change[None])
            states[some, i] = turned
