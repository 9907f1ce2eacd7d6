"""Nearest neighbours: where a dense associative memory of its training images goes as n grows.

Of sum_mu F_n(on) only the largest term is left as n goes to infinity, so the label is that of the
memory with the largest overlap. Among memories of one length that is the nearest one.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self, get_args

import torch
from torch import Tensor, nn

from denseam import fronts
from denseam.checks import choice, whole
from denseam.classifier import Classifier
from denseam.data import Examples
from denseam.data.pixels import to_bytes, to_visible
from denseam.data.validate import check_labels, check_visible
from denseam.heads import HeadName, lead
from denseam.kernels.products import FORMS, default_product
from denseam.onnx_graph import OnnxGraph
from denseam.presets import Preset

Metric = Literal["l2", "overlap"]
_CHUNK = 200  # images compared with all memories at once: 48 MB for MNIST's 60,000


class NearestNeighbour(Classifier):
    """A classifier with the label of the nearest of its memories, which are M training images.

    The score of a class is minus the squared distance to its nearest memory, or the overlap with
    its most similar one. The energy gap is the lead over the best other class, divided by T^2.

    A class without images scores -inf and is never the label. Infinite leads, over such classes
    or without another class, are clamped to the range of the dtype.

    Args:
        visible: (M, N) training images in [-1, 1].
        labels: (M,) int64, 0 .. C - 1.
        n_classes: C.
        metric: "l2", or "overlap", which is the limit of DAM_n.
        temperature: T > 0, the scale of the energy gap.
        front: a module from inputs to (B, N), which ``visible`` has passed through.

    Raises:
        InputError: for images or labels that do not fit, or another metric.
    """

    kind: ClassVar[str] = "nearest"
    _words: ClassVar[tuple[str, str]] = ("nearest", "nearest neighbour")
    half_lengths: Tensor
    initial: ClassVar[tuple[float, float]] = (0.0, 0.0)
    presets: ClassVar[Mapping[float, Preset]] = {1: Preset(1, 10, 10, 0, 0.04, 1)}
    only_power: ClassVar[float | None] = 1.0
    compares_distances: ClassVar[bool] = True
    learns: ClassVar[bool] = False  # they are its training images

    def __init__(
        self,
        visible: Tensor,
        labels: Tensor,
        n_classes: int,
        *,
        metric: Metric = "l2",
        temperature: float = 10.0,
        front: nn.Module | None = None,
    ) -> None:
        n_visible, n_classes = visible.shape[-1], whole("n_classes", n_classes)
        check_visible(visible, n_visible, allow_empty=False)
        check_labels(labels, n_classes, len(visible))
        super().__init__(
            n_visible, n_classes, 1, 1.0, temperature, front=front, dtype=visible.dtype
        )
        order = labels.argsort(stable=True)  # class by class, for one maximum over each
        votes = 2 * nn.functional.one_hot(labels[order], n_classes).to(visible) - 1
        memories = torch.cat([visible[order], votes], dim=1)
        self.memories = nn.Parameter(memories, requires_grad=False)
        half = memories[:, :n_visible].square().sum(dim=1) / 2
        self.register_buffer("half_lengths", half, persistent=False)  # |xi|^2 / 2, (M,)
        self.metric: Metric = choice("metric", metric, get_args(Metric))
        self.counts = torch.bincount(labels, minlength=n_classes).tolist()

    @classmethod
    def of(
        cls,
        images: Examples,
        *,
        metric: Metric = "l2",
        dtype: torch.dtype = torch.float32,
        front: nn.Module | None = None,
    ) -> Self:
        """Return the classifier of these images, passed through a front."""
        visible = images.inputs(torch.float64 if getattr(front, "exact", False) else dtype)
        with torch.no_grad():
            visible = visible if front is None else front(visible).to(dtype)
        return cls(visible, images.labels, images.n_classes, metric=metric, front=front)

    @property
    def power(self) -> float:
        """Infinity, the limit that this network is."""
        return torch.inf

    def _scores(self, visible: Tensor, head: HeadName) -> Tensor:
        with torch.no_grad():
            nearest = torch.cat(
                [self._nearest(chunk) for chunk in torch.split(visible, _CHUNK)]
            )  # (B, C)
        memories = self.visible_memories[nearest]  # (B, C, N)
        if self.metric == "l2":
            scores = -(visible[:, None] - memories).square().sum(dim=2)
        else:
            scores = (visible[:, None] * memories).sum(dim=2)
        absent = torch.tensor([count == 0 for count in self.counts], device=scores.device)
        scores = scores.masked_fill(absent, -torch.inf)
        if head == "log_energy":
            return scores
        limit = torch.finfo(scores.dtype).max
        return (lead(scores) / self.temperature**2).clamp(-limit, limit)

    def _nearest(self, visible: Tensor) -> Tensor:
        """Return the position of the best memory of each class, (B, N) -> (B, C)."""
        # On whole rows, with class neurons at 0, because products need dense operands.
        neurons = nn.functional.pad(visible, (0, self.n_classes))
        ours = visible.device.type == "cpu" and visible.dtype is torch.float32
        multiply = FORMS[default_product() if ours else "torch"]
        similarities = multiply(neurons, self.memories.detach())
        if self.metric == "l2":
            similarities -= self.half_lengths
        first, best = 0, list[Tensor]()
        for count in self.counts:
            # A class without images gets any position: its score becomes -inf.
            members = similarities[:, first : first + count] if count else similarities[:, :1]
            best.append(members.argmax(dim=1) + (first if count else 0))
            first += count
        return torch.stack(best, dim=1)

    def onnx(self, graph: OnnxGraph, visible: str, head: HeadName) -> tuple[str, str]:
        memories = graph.constant(self.visible_memories)  # (M, N), class by class
        halves = [-self.visible_memories.square().sum(dim=1) / 2] if self.metric == "l2" else []
        similar = graph("Gemm", visible, memories, *halves, transB=1)  # (B, M)
        places, first = list[str](), 0
        for count in self.counts:
            start = first if count else 0  # any position for a class without images
            bounds = map(graph.integers, (start, start + max(count, 1), 1))
            place = graph("ArgMax", graph("Slice", similar, *bounds), axis=1, keepdims=1)
            places.append(graph("Add", place, graph.integers(start)))
            first += count
        nearest = graph("Gather", memories, graph("Concat", *places, axis=1))  # (B, C, N)
        image = graph("Unsqueeze", visible, graph.integers(1))
        if self.metric == "l2":
            apart = graph("Sub", image, nearest)
            squared = graph("ReduceSum", graph("Mul", apart, apart), graph.integers(2), keepdims=0)
            scores = graph("Neg", squared)
        else:
            scores = graph("ReduceSum", graph("Mul", image, nearest), graph.integers(2), keepdims=0)
        if 0 in self.counts:
            absent = torch.tensor([0.0 if count else -torch.inf for count in self.counts])
            scores = graph("Add", scores, absent)
        if head == "log_energy":
            return scores, ""
        two = graph("TopK", scores, graph.integers(2), out="two", more=("places",), axis=1)
        best, second = (graph("Gather", two, graph.integers(i), axis=1) for i in (0, 1))
        other = graph("Where", graph("Equal", scores, best), second, best)
        return scores, graph("Div", graph("Sub", scores, other), self.temperature**2)

    def tensors(self, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
        pixels = self.visible_memories
        grey = to_bytes(pixels.double())
        if dtype is not None:
            pixels = pixels.to(dtype)
        elif torch.equal(_visible(grey), pixels):
            pixels = grey  # an image: a quarter of the size, nothing lost
        labels = self.class_memories.argmax(dim=1)
        return {"pixels": pixels, "labels": labels, **fronts.tensors(self.front)}

    def settings(self) -> dict[str, Any]:
        return {
            "network": self.kind,
            "metric": self.metric,
            "temperature": self.temperature,
            "n_visible": self.n_visible,
            "n_classes": self.n_classes,
            **fronts.settings(self.front),
        }

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Self:
        return cls(
            _visible(tensors["pixels"]), tensors["labels"], int(settings["n_classes"]),
            metric=settings["metric"], temperature=settings["temperature"],
            front=fronts.restore(tensors, settings),
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{self.n_memories} images, n_classes={self.n_classes}, metric={self.metric!r}"


def _visible(pixels: Tensor) -> Tensor:
    """Return saved pixels in [-1, 1]: bytes converted, float64 as it is, others as float32."""
    if pixels.dtype is torch.uint8:
        return to_visible(pixels)
    return pixels if pixels.dtype is torch.float64 else pixels.float()
