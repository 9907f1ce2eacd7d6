"""The base class of fronts, which turn inputs into ``visible``."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from denseam.errors import InputError
from denseam.onnx_graph import OnnxGraph


class Front(nn.Module, ABC):
    """A module before the memories, saved with the model and restored without code from the file.

    A subclass calls ``super().__init__(input_shape, n_visible)`` and has ``settings`` and
    ``forward``; buffers hold what it has learned, parameters what it learns with the memories. Its
    row in ``FRONTS`` makes it known to files.
    Gradients flow through ``forward``, so attacks change the inputs themselves.

    Args:
        input_shape: the shape of one input.
        n_visible: N, the numbers that ``forward`` returns for it.

    >>> class Halved(Front):
    ...     name = "halved"
    ...     def forward(self, inputs):
    ...         return inputs.reshape(-1, self.n_visible) / 2
    ...     def settings(self):
    ...         return {"input_shape": self.input_shape, "n_visible": self.n_visible}
    >>> Halved((2, 2), 4)(torch.ones(1, 2, 2))
    tensor([[0.5000, 0.5000, 0.5000, 0.5000]])
    """

    name: ClassVar[str]  # in files
    exact: ClassVar[bool] = False  # whether inputs are float64, for offsets that float32 loses
    learns: ClassVar[bool] = False  # whether training changes its parameters

    def __init__(self, input_shape: tuple[int, ...], n_visible: int) -> None:
        super().__init__()
        self.input_shape = input_shape
        self.n_visible = n_visible

    @property
    def n_inputs(self) -> int:
        """The number of numbers in one input."""
        return math.prod(self.input_shape)

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Return visible neurons, (B, *input_shape) or (B, n_inputs) -> (B, N)."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the arguments of the constructor, as plain JSON values."""

    def check(self, inputs: Tensor) -> None:
        """Raise InputError unless inputs are finite and (B, *input_shape) or (B, n_inputs)."""
        shapes = (self.input_shape, (self.n_inputs,))
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            kind = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
            raise InputError(f"inputs must be a floating tensor, got {kind}")
        if tuple(inputs.shape[1:]) not in shapes:
            expected = " or ".join(str(("B", *shape)).replace("'", "") for shape in set(shapes))
            raise InputError(f"inputs have shape {tuple(inputs.shape)}: wanted {expected}")
        if not bool(torch.isfinite(inputs.detach()).all()):
            raise InputError("inputs hold NaN or infinite numbers; every number must be finite")

    def onnx(self, graph: OnnxGraph, inputs: str) -> str:
        """Add the front to an ONNX graph, see ``interop.graph``; (B, *input_shape) -> (B, N).

        Raises:
            InputError: for a front that has no ONNX graph.
        """
        raise InputError(f"the front {self.name!r} has no ONNX graph")
