"""Binarised input, the cheapest defence, to compare others with."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from denseam.checks import number
from denseam.classifier import Classifier, HeadName
from denseam.errors import InputError
from denseam.onnx_graph import OnnxGraph


class Binarised(Classifier):
    """A network behind a threshold: it sees every pixel as -1 or +1.

    A step has no slope, and attacks by gradients would find nothing. That would be hidden
    gradients, not robustness, so the gradient is passed straight through the threshold (BPDA,
    Athalye, Carlini and Wagner 2018).

    Args:
        network: the network behind the threshold.
        threshold: pixels at or below it become -1; visible units.

    Raises:
        InputError: for a threshold outside [-1, 1), and for a network with a front.
    """

    kind: ClassVar[str] = "binarised"

    def __init__(self, network: Classifier, *, threshold: float = 0.0) -> None:
        nn.Module.__init__(self)  # it has no memories of its own
        if not isinstance(network.front, nn.Identity):
            raise InputError("network: wanted one without a front, to binarise what it looks at")
        self.network, self.front = network, nn.Identity()
        self.threshold = number("threshold", threshold, least=-1, below=1)
        self.n_visible, self.n_classes = network.n_visible, network.n_classes

    @property
    def memories(self) -> nn.Parameter:  # type: ignore[override]
        """The memories of the network behind the threshold."""
        return self.network.memories

    @property
    def words(self) -> tuple[str, str]:
        name, label = self.network.words
        return f"{name}binarised", f"{label}, binarised"

    @property
    def power(self) -> float:
        return self.network.power

    @property
    def temperature(self) -> float:
        return self.network.temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        self.network.temperature = value

    def predict(self, inputs: object) -> Tensor:
        visible = self.as_inputs(inputs)
        self._check(visible)
        return self.network.predict(binarise(visible, self.threshold))

    def exact_scores(self, visible: Tensor) -> Tensor:
        finite = visible.detach().isfinite().all(dim=1, keepdim=True)
        return torch.where(finite, self.network.exact_scores(self._seen(visible)), torch.nan)

    def onnx(self, graph: OnnxGraph, visible: str, head: HeadName) -> tuple[str, str]:
        nothing = graph("Mul", visible, 0.0)  # but NaN where the pixel is no number
        hard = graph("Where", graph("Greater", visible, self.threshold), 1.0, -1.0)
        return self.network.onnx(graph, graph("Add", hard, nothing), head)

    def _scores(self, visible: Tensor, head: HeadName) -> Tensor:
        return self.network._scores(self._seen(visible), head)  # noqa: SLF001

    def _seen(self, visible: Tensor) -> Tensor:
        """Return binarised images (B, N) with the gradient of the identity."""
        return binarise(visible.detach(), self.threshold) + (visible - visible.detach())

    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        return self.network.tensors(dtype)

    def settings(self) -> dict[str, Any]:
        return {**self.network.settings(), "binarised_at": self.threshold}

    def extra_repr(self) -> str:
        return f"threshold={self.threshold:g}"

    def get_extra_state(self) -> dict[str, float]:
        return {"threshold": self.threshold}

    def set_extra_state(self, state: Any) -> None:
        self.threshold = float(state["threshold"])


def binarise(visible: Tensor, threshold: float = 0.0) -> Tensor:
    """Return -1 at or below the threshold and +1 above it, in the same shape and dtype."""
    return torch.where(visible > threshold, 1.0, -1.0).to(visible.dtype)
