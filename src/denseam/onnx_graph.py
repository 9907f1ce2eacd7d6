"""A graph of ONNX operators as plain names and arrays, without the onnx package.

Networks, fronts and energy functions add their formulas to it; ``interop.onnx`` writes it.
"""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LEAST", "OnnxGraph"]

_TYPES = {torch.float32: 1, torch.float64: 11}  # ONNX's own numbers
LEAST = torch.finfo(torch.float32).tiny  # of a field, as in ``ImageClassifier``


class OnnxGraph:
    """A graph: nodes in the order of computation, and constants, by the names of their values."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.largest = torch.finfo(dtype).max
        self.nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def __call__(
        self,
        kind: str,
        *inputs: str | float | Tensor,
        out: str = "",
        more: tuple[str, ...] = (),
        **attributes: Any,
    ) -> str:
        """Add a node and return the name of its value; numbers and tensors become constants.

        ``more`` names the other values of operators that have several.
        """
        name = out or f"{kind.lower()}_{len(self.nodes)}"
        names = [each if isinstance(each, str) else self.constant(each) for each in inputs]
        self.nodes.append((kind, names, [name, *more], attributes))
        return name

    def constant(self, value: float | Tensor, dtype: torch.dtype | None = None) -> str:
        """Add a number or a tensor, in the graph's dtype by default; returns its name."""
        name = f"constant_{len(self.constants)}"
        tensor = torch.as_tensor(value, dtype=dtype or self.dtype).detach().cpu().contiguous()
        self.constants[name] = tensor.numpy()
        return name

    def integers(self, *values: int) -> str:
        """Add a list of whole numbers, such as axes; returns its name."""
        name = "integers_" + "_".join(map(str, values))
        self.constants[name] = np.array(values, np.int64)
        return name

    def cast(self, values: str, dtype: torch.dtype) -> str:
        """Add a conversion to another dtype."""
        return self("Cast", values, to=_TYPES[dtype])

    def over(self, kind: Literal["Sum", "Max"], values: str) -> str:
        """Add the sum or the maximum of each row, (B, X) -> (B, 1)."""
        return self(f"Reduce{kind}", values, self.integers(1), keepdims=1)
