"""The interface of an energy function F: its value, its slope, and ratios of both.

A network's energy is E = -sum_mu F(h_mu), over the fields h of its memories (Eq. 2.2). F(h)
itself may leave the range of numbers, so F is compared with F at another field: the largest one of
an image, or the temperature. The methods here are those comparisons.
"""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from denseam.errors import InputError
from denseam.onnx_graph import LEAST, OnnxGraph


class OnnxFunction(NamedTuple):
    """F as operators of an ONNX graph; functions take and return names of values."""

    size: Callable[[str], str]
    ratio: Callable[[str, str, bool], str]  # F(x) / F(y); in float64 where the last is True
    log_ratio: Callable[[str, str], str]  # log F(x) - log F(y)
    least: float | None = LEAST  # the least scale; None where any will do


class EnergyFunction(ABC):
    """An energy function F; subclasses are frozen dataclasses whose fields are its parameters.

    F >= 0 and does not fall where it matters. Arguments x and y are fields, or anything in their
    units: tensors of one shape, or that broadcast; y may be a number.

    A subclass works on every device through PyTorch. To be fast it has one more file for each
    language, named after ``name``: ``kernels/functions/<name>.c`` and
    ``kernels/triton/device/functions/<name>.py``.

    >>> from denseam.energies import Exponential
    >>> F = Exponential(beta=1000.0)
    >>> F.ratio(torch.tensor([7.0, 6.0]), 7.0)  # F itself would be infinite
    tensor([1., 0.])
    """

    name: ClassVar[str]  # in files, recipes and the names of its C functions
    has_gap: ClassVar[bool] = True  # False: F(on) - F(off) means nothing, see ``memory``

    @classmethod
    @abstractmethod
    def matched(cls, power: float, temperature: float) -> Self:
        """Return the function of this kind that is like h^n around h = T, up to a factor."""

    @property
    @abstractmethod
    def power(self) -> float:
        """The power n if F(x) grows as x^n; infinite if it grows faster."""

    @property
    def least_log(self) -> float:
        """The finite number that replaces the logarithm of an energy of 0."""
        return torch.finfo(torch.float32).min

    @property
    def parameters(self) -> tuple[float, ...]:
        """The fields, in order; ``type(F)(*F.parameters) == F``."""
        return dataclasses.astuple(self)  # type: ignore[call-overload, no-any-return]

    @abstractmethod
    def value(self, x: Tensor) -> Tensor:
        """Return F(x)."""

    @abstractmethod
    def slope(self, x: Tensor) -> Tensor:
        """Return F'(x)."""

    @abstractmethod
    def log(self, x: Tensor) -> Tensor:
        """Return log F(x); -inf where F is 0."""

    def log_sum(self, values: Tensor) -> Tensor:
        """Return what a sum of ratios F(x) / F(scale) adds to log F(scale): its logarithm."""
        return values.log()

    @abstractmethod
    def ratio(self, x: Tensor, y: Tensor | float) -> Tensor:
        """Return F(x) / F(y); 0 where both are 0."""

    @abstractmethod
    def slope_ratio(self, x: Tensor, y: Tensor | float) -> Tensor:
        """Return F'(x) / F'(y); 0 where both are 0."""

    @abstractmethod
    def pull(self, x: Tensor, y: Tensor | float) -> Tensor:
        """Return F'(x) / F(y); 0 where both are 0."""

    @abstractmethod
    def size(self, x: Tensor) -> Tensor:
        """Return x in the order of F: F(x) / F(scale) is finite for the largest size as scale."""

    def active(self, scale: Tensor) -> Tensor:
        """Return True for each scale at which some memory has an energy."""
        return torch.ones_like(scale, dtype=torch.bool)

    def scale(self, fields: Tensor, dim: int) -> Tensor:
        """Return the scale of fields (..., K, ...) along ``dim``, which stays with length 1."""
        return self.size(fields).amax(dim=dim, keepdim=True)

    def onnx(self, graph: OnnxGraph) -> OnnxFunction:
        """Return F as operators of an ONNX graph.

        Raises:
            InputError: for a function that has none.
        """
        raise InputError(f"the energy function {self.name!r} has no ONNX graph")


class Homogeneous(EnergyFunction):
    """A power: F(s x) = s^n F(x) for s > 0, and F(1) = 1; negative fields are free.

    A subclass has ``power``, ``value``, ``slope`` and ``size``; the other methods follow.

    >>> class Even(Homogeneous):
    ...     name, power = "even", 4.0
    ...     def matched(cls, power, temperature): return cls()
    ...     def value(self, x): return x**4
    ...     def slope(self, x): return 4 * x**3
    ...     def size(self, x): return x.abs()
    >>> Even().ratio(torch.tensor([-3.0]), 3.0)
    tensor([1.])
    """

    @property
    def least_log(self) -> float:
        """Log F of the least normal number of float32, the least of an active memory."""
        return self.power * math.log(torch.finfo(torch.float32).tiny)

    def log(self, x: Tensor) -> Tensor:
        size = self.size(x)
        return self.power * size.log() + self.value(quotient(x, size)).log()

    def ratio(self, x: Tensor, y: Tensor | float) -> Tensor:
        return self.value(quotient(x, y))

    def slope_ratio(self, x: Tensor, y: Tensor | float) -> Tensor:
        return self.slope(quotient(x, y)) / self.power

    def pull(self, x: Tensor, y: Tensor | float) -> Tensor:
        return self.slope(quotient(x, y)) / nonzero(y)

    def active(self, scale: Tensor) -> Tensor:
        return scale > 0


def quotient(x: Tensor, y: Tensor | float) -> Tensor:
    """Return x / y, or x where y is 0; not x * (1 / y), which overflows for a subnormal y."""
    return x / nonzero(y)


def nonzero(y: Tensor | float) -> Tensor | float:
    """Return y, or 1 where y is 0."""
    return torch.where(y > 0, y, torch.ones_like(y)) if isinstance(y, Tensor) else y or 1.0
