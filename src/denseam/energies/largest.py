"""The largest field: the limit of powers n, and of exponentials, as they grow without bound."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from denseam.energies.base import EnergyFunction


@dataclass(frozen=True)
class Largest(EnergyFunction):
    """The limit n -> infinity: the energy of a class is its largest field, and nothing else.

    With S_c = sum_mu h_mu^n, the limit of S_c^(1/n) is max_mu h_mu, the score here (section 7 of
    the paper: at large n, nearest neighbours decide). So "log-energies" are fields themselves.
    Class regions are polyhedra, and distances to them can be proved: see ``denseam.certificates``.

    F(h) / F(T) is 0 below T and infinite above, so the energy gap has no limit. In its place stands
    the lead of a class over the best other one, divided by T.

    >>> Largest().ratio(torch.tensor([3.0, 2.9]), 3.0)
    tensor([1., 0.])
    """

    name: ClassVar[str] = "largest"
    has_gap: ClassVar[bool] = False

    @classmethod
    def matched(cls, power: float, temperature: float) -> Self:
        del power, temperature
        return cls()

    @property
    def power(self) -> float:
        """Infinity."""
        return torch.inf

    def value(self, x: Tensor) -> Tensor:
        return self.ratio(x, 0.0)

    def slope(self, x: Tensor) -> Tensor:
        return self.ratio(x, 0.0)

    def log(self, x: Tensor) -> Tensor:
        return x

    def log_sum(self, values: Tensor) -> Tensor:
        return torch.zeros_like(values)  # equal fields are no more than one of them

    def ratio(self, x: Tensor, y: Tensor | float) -> Tensor:
        return (x >= y).to(x.dtype)

    def slope_ratio(self, x: Tensor, y: Tensor | float) -> Tensor:
        return self.ratio(x, y)

    def pull(self, x: Tensor, y: Tensor | float) -> Tensor:
        return self.ratio(x, y)

    def size(self, x: Tensor) -> Tensor:
        return x
