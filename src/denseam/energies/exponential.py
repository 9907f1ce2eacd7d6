"""The exponential: the energy of log-sum-exp, and the limit of powers."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from denseam.checks import number
from denseam.energies.base import EnergyFunction, OnnxFunction
from denseam.onnx_graph import OnnxGraph


@dataclass(frozen=True)
class Exponential(EnergyFunction):
    """The exponential F(x) = exp(beta (x - at)): its log-energy is a log-sum-exp over memories.

    Demircigil et al. (arXiv 1702.01929) let the power of the energy go to infinity; Ramsauer et
    al. (arXiv 2008.02217) take the logarithm of that energy, -log sum_mu exp(beta h_mu) / beta.
    Nothing is rectified: every memory is active for every image. F(x) / F(y) = exp(beta (x - y)),
    so a scale is subtracted from fields, where a power divides them by it.

    Args:
        beta: > 0, per unit of a field. n / T makes it touch h^n / T^n at h = T.
        at: the field where F is 1. Only log-energies depend on it, by a constant.

    Raises:
        InputError: for another beta, or a field that is no number.

    >>> Exponential(0.5).log(torch.tensor([-1.0, 2.0]))
    tensor([-0.5000,  1.0000])
    """

    name: ClassVar[str] = "exponential"
    beta: float
    at: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", number("beta", self.beta, above=0))
        object.__setattr__(self, "at", number("at", self.at))

    @classmethod
    def matched(cls, power: float, temperature: float) -> Self:
        return cls(power / temperature, temperature)

    @property
    def power(self) -> float:
        """Infinity: F grows faster than any power."""
        return torch.inf

    def value(self, x: Tensor) -> Tensor:
        return torch.exp(self.log(x))

    def slope(self, x: Tensor) -> Tensor:
        return self.beta * self.value(x)

    def log(self, x: Tensor) -> Tensor:
        return self.beta * (x - self.at)

    def ratio(self, x: Tensor, y: Tensor | float) -> Tensor:
        return torch.exp(self.beta * (x - y))

    def slope_ratio(self, x: Tensor, y: Tensor | float) -> Tensor:
        return self.ratio(x, y)

    def pull(self, x: Tensor, y: Tensor | float) -> Tensor:
        return self.beta * self.ratio(x, y)

    def size(self, x: Tensor) -> Tensor:
        return x

    def onnx(self, graph: OnnxGraph) -> OnnxFunction:
        def log_ratio(x: str, y: str, wide: bool = False) -> str:
            beta = graph.constant(self.beta, torch.float64 if wide else None)
            return graph("Mul", graph("Sub", x, y), beta)

        def ratio(x: str, y: str, wide: bool) -> str:
            return graph("Exp", log_ratio(x, y, wide))

        return OnnxFunction(lambda x: x, ratio, log_ratio, least=None)
