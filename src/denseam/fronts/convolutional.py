"""The front that learns: levels of convolutions before the memories (section 7 of the paper)."""

import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, linear, max_pool2d, relu

from denseam.checks import number, seed_of, whole
from denseam.errors import InputError
from denseam.fronts.base import Front
from denseam.onnx_graph import OnnxGraph

_TINY = 1e-6  # below an energy or a variance: the root has a slope at 0
_LEVEL = re.compile(r"(\d+)x(\d+)(?:/(\d+))?")


class Level(NamedTuple):
    """A level: filters of kernel x kernel, pooled over squares of pool x pool places."""

    channels: int
    kernel: int
    pool: int


class Convolutional(Front):
    """A front of convolutions that learns together with the memories behind it.

    A level is a layer of memories that see every place. The field h of a filter is rectified and
    raised to the power m; its energies are pooled over neighbours; the m-th root brings them back
    to the units of a field; and the map is normalised, to mean 0 and deviation 1 for each image:

        r = (mean over pool x pool places of F_m(h))^(1/m),   F_m(h) = h^m for h >= 0, else 0

    The limit of large m is the ReLU with the largest of neighbours, as in convolutional networks.
    A dense level at the end, if any, has tanh.

    Args:
        input_shape: (H, W), or (channels, H, W).
        levels: channels x kernel / pool of each level, and the features of a dense level at the
            end, such as "16x5/2,32x3/2" or "16x5/2,32x5/2,256". A pool of 1 may be left out.
        power: m >= 1; None for the limit.
        seed: of the first filters.

    Raises:
        InputError: for another shape, levels of another form, or a kernel or pool that is larger
            than the map before it.

    >>> front = Convolutional((28, 28), "16x5/2,32x3/2")
    >>> front.map_shape, front(torch.zeros(2, 784)).shape
    ((32, 5, 5), torch.Size([2, 800]))
    """

    name: ClassVar[str] = "convolutional"
    learns: ClassVar[bool] = True

    def __init__(
        self,
        input_shape: Sequence[int],
        levels: str = "16x5/2,32x3/2",
        *,
        power: float | None = 2.0,
        seed: int = 0,
    ) -> None:
        shape = tuple(whole("input_shape", side) for side in input_shape)
        if len(shape) not in (2, 3):
            raise InputError(f"input_shape = {shape}: wanted (H, W) or (channels, H, W)")
        self.levels, features = parsed(levels)
        self.map_shape = _map_shape(shape, self.levels)
        super().__init__(shape, features or math.prod(self.map_shape))
        self._text = levels
        self.power = None if power is None else number("power", power, least=1)
        draw = torch.Generator().manual_seed(seed_of(seed))
        channels = [1, *shape][-3], *(level.channels for level in self.levels)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        sizes: list[tuple[int, ...]] = [
            (level.channels, before, level.kernel, level.kernel)
            for before, level in zip(channels, self.levels, strict=False)
        ]
        sizes += [(features, math.prod(self.map_shape))] if features else []
        for size in sizes:
            deviation = math.prod(size[1:]) ** -0.5
            self.weights.append(nn.Parameter(torch.randn(size, generator=draw) * deviation))
            self.biases.append(nn.Parameter(torch.zeros(size[0])))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return visible neurons, (B, *input_shape) or (B, n_inputs) -> (B, N)."""
        x = inputs.reshape(-1, *[1, *self.input_shape][-3:])
        for level, weight, bias in zip(self.levels, self.weights, self.biases, strict=False):
            x = _normalised(self._pooled(relu(conv2d(x, weight, bias)), level.pool))
        x = x.flatten(1)
        if len(self.weights) > len(self.levels):
            x = torch.tanh(_normalised(linear(x, self.weights[-1], self.biases[-1])))
        return x

    def _pooled(self, x: Tensor, pool: int) -> Tensor:
        if self.power is None:
            return max_pool2d(x, pool)
        if self.power == 1:
            return avg_pool2d(x, pool)
        energy: Tensor = x.square() if self.power == 2 else x**self.power
        energy = avg_pool2d(energy, pool) + _TINY
        return energy.sqrt() if self.power == 2 else energy ** (1 / self.power)

    def settings(self) -> dict[str, Any]:
        return {"input_shape": list(self.input_shape), "levels": self._text, "power": self.power}

    def onnx(self, graph: OnnxGraph, inputs: str) -> str:
        x = graph("Reshape", inputs, graph.integers(-1, *[1, *self.input_shape][-3:]))
        for level, weight, bias in zip(self.levels, self.weights, self.biases, strict=False):
            x = graph("Relu", graph("Conv", x, weight, bias))
            window: dict[str, Any] = {"kernel_shape": [level.pool] * 2}
            window["strides"] = window["kernel_shape"]
            if self.power is None:
                x = graph("MaxPool", x, **window)
            else:
                x = graph("AveragePool", graph("Pow", x, self.power), **window)
                if self.power != 1:
                    x = graph("Pow", graph("Add", x, _TINY), 1 / self.power)
            x = _normalised_onnx(graph, x, 1, 2, 3)
        x = graph("Flatten", x, axis=1)
        if len(self.weights) > len(self.levels):
            x = graph("Gemm", x, self.weights[-1], self.biases[-1], transB=1)
            x = graph("Tanh", _normalised_onnx(graph, x, 1))
        return x

    def extra_repr(self) -> str:
        return f"{self.input_shape}, {self._text!r}, power={self.power}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"


def parsed(levels: str) -> tuple[list[Level], int]:
    """Return the levels of a text such as "16x5/2,32x3/2", and the features of a dense one, or 0.

    Raises:
        InputError: for another form, or a size of 0.
    """
    expected = "CHANNELSxKERNEL/POOL,... and perhaps a number of features, as in 16x5/2,32x3/2,256"
    *texts, last = levels.replace(" ", "").split(",") if isinstance(levels, str) else [""]
    features = int(last) if last.isdecimal() and texts else 0
    texts += [] if features else [last]
    matches = [_LEVEL.fullmatch(text) for text in texts]
    sizes = [[int(x or 1) for x in match.groups()] for match in matches if match]
    if len(sizes) < len(texts) or not all(all(level) for level in sizes):
        raise InputError(f"levels = {levels!r}: wanted {expected}")
    return [Level(*level) for level in sizes], features


def check_levels(text: str) -> str:
    """Return the text; raise InputError unless it is empty, or as ``parsed`` takes it."""
    if text != "":
        parsed(text)
    return text


def _map_shape(shape: tuple[int, ...], levels: list[Level]) -> tuple[int, int, int]:
    """Return (channels, H, W) after the levels; InputError where the map is too small."""
    channels, *sides = [1, *shape][-3:]
    for place, (filters, kernel, pool) in enumerate(levels, 1):
        left = [side - kernel + 1 for side in sides]
        if min(left) < pool:
            raise InputError(
                f"level {place} looks at {kernel} x {kernel} places and pools {pool} x {pool}: "
                f"wanted maps of at least {kernel + pool - 1} x {kernel + pool - 1}, got "
                f"{sides[0]} x {sides[1]}, of images {shape}"
            )
        channels, sides = filters, [side // pool for side in left]
    return channels, sides[0], sides[1]


def _normalised(x: Tensor) -> Tensor:
    """Return each image's numbers (B, ...) with mean 0 and deviation 1."""
    return nn.functional.layer_norm(x, x.shape[1:], eps=_TINY)


def _normalised_onnx(graph: OnnxGraph, x: str, *axes: int) -> str:
    over = graph.integers(*axes)
    x = graph("Sub", x, graph("ReduceMean", x, over, keepdims=1))
    variance = graph("ReduceMean", graph("Mul", x, x), over, keepdims=1)
    return graph("Div", x, graph("Sqrt", graph("Add", variance, _TINY)))
