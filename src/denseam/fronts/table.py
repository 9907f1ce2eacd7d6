"""The front for tables of numbers: any features, in any units."""

import math
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from denseam.checks import number, whole
from denseam.fronts.base import Front
from denseam.onnx_graph import OnnxGraph

# Chosen on small data sets; docs/sklearn.md has the measurements.
_DEVIATIONS = 3.0  # of a feature, that become 1
_CHUNK = 10_000  # rows at once
_LEAST_WIDTH = 32  # visible neurons before the lift


class Table(Front):
    """A front that turns rows of a table into visible neurons (docs/sklearn.md). Features are

    * standardised, v = (x - mean) / (3 deviations), clipped to [-1, 1];
    * repeated, if they are few, until overlaps are large beside class neurons;
    * lifted onto a sphere, v -> (v, sqrt(R^2 - |v|^2)), where the largest overlap of a memory is
      with its nearest row. The new component is spread over as many neurons as keep it in [-1, 1].

    ``Table.fit`` learns all of it from rows.

    Args:
        n_features: in a row.
        repeats: of all features, side by side.
        radius: R^2 of the sphere, >= 1.

    Attributes:
        mean: (n_features,).
        factor: (n_features,), 1 / (3 deviations); 0 for a constant feature.

    >>> rows = torch.tensor([[1.0, 50.0], [3.0, 70.0]])
    >>> Table.fit(rows)(rows).shape
    torch.Size([2, 36])
    """

    name: ClassVar[str] = "table"
    exact = True
    mean: Tensor
    factor: Tensor

    def __init__(self, n_features: int, repeats: int = 1, radius: float = 1.0) -> None:
        n_features, repeats = whole("n_features", n_features), whole("repeats", repeats)
        self._height_neurons = math.ceil(number("radius", radius, least=1))
        super().__init__((n_features,), n_features * repeats + self._height_neurons)
        self.repeats, self.radius = repeats, float(radius)
        self.register_buffer("mean", torch.zeros(n_features, dtype=torch.float64))
        self.register_buffer("factor", torch.ones(n_features, dtype=torch.float64))

    @classmethod
    def fit(cls, rows: Tensor) -> Self:
        """Learn the front from rows (M, n_features), finite, in any units and with any offset."""
        return cls.of_chunks(lambda: torch.split(rows, _CHUNK))

    @classmethod
    def of_chunks(cls, chunks: Callable[[], Iterable[Tensor]]) -> Self:
        """Learn the front from rows in chunks (B, n_features); they are read three times."""
        mean, factor = _standard(chunks)
        repeats = -(-_LEAST_WIDTH // len(mean))
        flat = cls(len(mean), repeats)
        flat.mean, flat.factor = mean, factor
        radius = max(float(flat.scaled(rows.double()).square().sum(1).max()) for rows in chunks())
        front = cls(len(mean), repeats, max(radius, 1.0))
        front.mean, front.factor = mean, factor
        return front

    def scaled(self, inputs: Tensor) -> Tensor:
        """Return standardised features, (B, n_features) -> (B, n_features * repeats) in [-1, 1]."""
        # In float64, where an offset leaves more of a feature.
        exact = (inputs.double() - self.mean.double()) * self.factor.double()
        return exact.clamp(-1, 1).to(inputs.dtype).repeat(1, self.repeats)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return visible neurons, (B, n_features) -> (B, N)."""
        v = self.scaled(inputs)
        rest = (self.radius - v.square().sum(dim=1, keepdim=True)).clamp(min=0)
        height = (rest / self._height_neurons).sqrt()
        return torch.cat([v, height.expand(-1, self._height_neurons)], dim=1)

    def settings(self) -> dict[str, Any]:
        return {"n_features": self.input_shape[0], "repeats": self.repeats, "radius": self.radius}

    def onnx(self, graph: OnnxGraph, inputs: str) -> str:
        factor = self.factor.clamp(max=torch.finfo(torch.float32).max)
        v = graph("Mul", graph("Sub", inputs, self.mean), factor)
        v = graph("Concat", *[graph("Clip", v, -1.0, 1.0)] * self.repeats, axis=1)
        squares = graph.over("Sum", graph("Mul", v, v))
        rest = graph("Relu", graph("Sub", self.radius, squares))
        height = graph("Sqrt", graph("Div", rest, float(self._height_neurons)))
        return graph("Concat", v, *[height] * self._height_neurons, axis=1)


def _standard(chunks: Callable[[], Iterable[Tensor]]) -> tuple[Tensor, Tensor]:
    """Return means and 1 / (3 deviations) of features, (n_features,) float64.

    Everything is relative to the middle of a feature's range and in units of half of it: no offset
    takes digits from a deviation, no square leaves the range. A feature is constant, with 0, where
    its deviation is below the rounding of its values.
    """
    ends, rounding = list[Tensor](), 0.0
    for rows in chunks():
        ends += rows.double().aminmax(dim=0)
        rounding = torch.finfo(rows.dtype if rows.is_floating_point() else torch.float64).eps
    low, high = torch.stack(ends).aminmax(dim=0)
    middle, half = high / 2 + low / 2, high / 2 - low / 2  # the sums could overflow
    unit = torch.where(half > 0, half, 1.0)
    count, sums, squares = 0, torch.zeros_like(unit), torch.zeros_like(unit)
    for rows in chunks():
        relative = (rows.double() - middle) / unit  # in [-1, 1]
        count += len(rows)
        sums += relative.sum(dim=0)
        squares += relative.square().sum(dim=0)
    mean = sums / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt() * half
    varies = deviation > rounding * torch.maximum(low.abs(), high.abs())
    scale = _DEVIATIONS * torch.where(varies, deviation, 1.0)
    factor = torch.where(varies, (1 / scale).clamp(max=torch.finfo(torch.float64).max), 0.0)
    return middle + mean * half, factor
