"""The front for tables of numbers: any features, in any units."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from denseam.checks import number, whole
from denseam.fronts.base import Front
from denseam.onnx_graph import OnnxGraph

__all__ = ["Table"]

# Chosen on small data sets; docs/sklearn.md has the measurements.
_DEVIATIONS = 3.0  # of a feature, that become 1
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
        """Learn the front from rows (M, n_features)."""
        rows = rows.double()
        return cls.from_statistics(rows.mean(dim=0), rows.var(dim=0, unbiased=False), [rows])

    @classmethod
    def from_statistics(cls, mean: Tensor, variance: Tensor, chunks: Iterable[Tensor]) -> Self:
        """Learn the front from the statistics of rows, and the rows themselves in chunks.

        Args:
            mean: (n_features,) float64.
            variance: (n_features,) float64.
            chunks: all rows, (B, n_features) float64 each.
        """
        deviation = variance.sqrt()
        varies = deviation > 1e-12 * mean.abs()
        factor = torch.where(varies, 1 / torch.where(varies, _DEVIATIONS * deviation, 1.0), 0.0)
        repeats = -(-_LEAST_WIDTH // len(mean))
        flat = cls(len(mean), repeats)
        flat.mean, flat.factor = mean, factor
        radius = max(float(flat.scaled(rows).square().sum(dim=1).max()) for rows in chunks)
        front = cls(len(mean), repeats, max(radius, 1.0))
        front.mean, front.factor = mean, factor
        return front

    def scaled(self, inputs: Tensor) -> Tensor:
        """Return standardised features, (B, n_features) -> (B, n_features * repeats) in [-1, 1]."""
        scaled = (inputs - self.mean.to(inputs)) * self.factor.to(inputs)
        return scaled.clamp(-1, 1).repeat(1, self.repeats)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return visible neurons, (B, n_features) -> (B, N)."""
        v = self.scaled(inputs)
        rest = (self.radius - v.square().sum(dim=1, keepdim=True)).clamp(min=0)
        height = (rest / self._height_neurons).sqrt()
        return torch.cat([v, height.expand(-1, self._height_neurons)], dim=1)

    def settings(self) -> dict[str, Any]:
        return {
            "n_features": self.input_shape[0],
            "repeats": self.repeats,
            "radius": self.radius,
        }

    def onnx(self, graph: OnnxGraph, inputs: str) -> str:
        v = graph("Mul", graph("Sub", inputs, self.mean), self.factor)
        v = graph("Concat", *[graph("Clip", v, -1.0, 1.0)] * self.repeats, axis=1)
        squares = graph.over("Sum", graph("Mul", v, v))
        rest = graph("Relu", graph("Sub", self.radius, squares))
        height = graph("Sqrt", graph("Div", rest, float(self._height_neurons)))
        return graph("Concat", v, *[height] * self._height_neurons, axis=1)
