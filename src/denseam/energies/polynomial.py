"""Polynomials: the rectified one of the paper (Eq. 2.2), and the plain one of NIPS16."""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from denseam.checks import number, whole
from denseam.energies.base import Homogeneous, OnnxFunction, nonzero, quotient
from denseam.onnx_graph import OnnxGraph

MOST_POWER = 1e6  # float32 rounds a field by 6e-8, so its power by 6 % here


def rectified_polynomial(x: Tensor, power: float) -> Tensor:
    """Return F_n(x) = x^n for x >= 0, else 0 (Eq. 2.2)."""
    return x.clamp(min=0) ** power


def rectified_polynomial_slope(x: Tensor, power: float) -> Tensor:
    """Return F_n'(x) = n x^(n-1) for x > 0, else 0; zero at the kink of F_1."""
    return torch.where(x > 0, power * x.clamp(min=0) ** (power - 1), torch.zeros_like(x))


@dataclass(frozen=True)
class RectifiedPolynomial(Homogeneous):
    """The rectified polynomial F_n(x) = x^n for x >= 0, else 0 (Eq. 2.2).

    Args:
        n: the power, 1 <= n <= 10^6. Whole numbers are fastest.

    Raises:
        InputError: for another n.

    >>> RectifiedPolynomial(3).value(torch.tensor([-1.0, 2.0]))
    tensor([0., 8.])
    """

    name: ClassVar[str] = "rectified_polynomial"
    n: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", number("power", self.n, least=1, most=MOST_POWER))

    @classmethod
    def matched(cls, power: float, temperature: float) -> Self:  # noqa: ARG003, a power has no scale
        return cls(power)

    @property
    def power(self) -> float:
        return self.n

    def value(self, x: Tensor) -> Tensor:
        return rectified_polynomial(x, self.n)

    def slope(self, x: Tensor) -> Tensor:
        return rectified_polynomial_slope(x, self.n)

    def log(self, x: Tensor) -> Tensor:
        return self.n * x.clamp(min=0).log()

    def slope_ratio(self, x: Tensor, y: Tensor | float) -> Tensor:
        powers = quotient(x.clamp(min=0), y) ** (self.n - 1)
        return powers if self.n > 1 else powers * (x > 0)

    def pull(self, x: Tensor, y: Tensor | float) -> Tensor:
        return (self.n / nonzero(y)) * self.slope_ratio(x, y)

    def size(self, x: Tensor) -> Tensor:
        return x.clamp(min=0)

    def onnx(self, graph: OnnxGraph) -> OnnxFunction:
        def ratio(x: str, y: str, wide: bool) -> str:
            del wide  # a power's type is that of its base
            return graph("Pow", graph("Div", x, y), self.n)

        def log_ratio(x: str, y: str) -> str:
            return graph("Mul", graph("Log", graph("Div", x, y)), self.n)

        return OnnxFunction(lambda x: graph("Relu", x), ratio, log_ratio)


@dataclass(frozen=True)
class Polynomial(Homogeneous):
    """The plain polynomial F_n(x) = x^n of NIPS16, negative for negative x where n is odd.

    At even n a memory and its negative are one; n = 2 is the Hopfield network of 1982. An energy
    below 0 has no logarithm, so this one is for retrieval only.

    Args:
        n: the power, a whole number, 1 <= n <= 10^6.

    Raises:
        InputError: for another n.

    >>> Polynomial(3).value(torch.tensor([-1.0, 2.0]))
    tensor([-1.,  8.])
    """

    name: ClassVar[str] = "polynomial"
    n: int

    def __post_init__(self) -> None:
        power = number("power", self.n, least=1, most=MOST_POWER)
        object.__setattr__(self, "n", whole("power", int(power) if power % 1 == 0 else self.n))

    @classmethod
    def matched(cls, power: float, temperature: float) -> Self:  # noqa: ARG003, a power has no scale
        return cls(power)  # type: ignore[arg-type]

    @property
    def power(self) -> float:
        return float(self.n)

    def value(self, x: Tensor) -> Tensor:
        return _whole_power(x, self.n)

    def slope(self, x: Tensor) -> Tensor:
        return self.n * _whole_power(x, self.n - 1)

    def size(self, x: Tensor) -> Tensor:
        return x.abs()


def _whole_power(x: Tensor, n: int) -> Tensor:
    """Return x^n by repeated squaring from the top bit down: a tenth of the time of ``x**n``."""
    if n == 0:
        return torch.ones_like(x)
    power = x
    for bit in bin(n)[3:]:
        power = power * power
        power = power * x if bit == "1" else power
    return power
