"""Dense associative memories in the convolutional setting (section 7 of the paper).

``ConvFrontAM`` is a ``DenseAM`` behind ``fronts.Convolutional``. In a ``ConvolutionalAM`` memories
are patches themselves, and see every place of a map.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad, unfold

from denseam import kernels
from denseam.checks import whole
from denseam.classifier import Classifier, check_head
from denseam.data.arrays import square
from denseam.errors import InputError
from denseam.explanation import Explanation, Order, explain
from denseam.heads import Head, HeadName, module_head
from denseam.kernels.interface import field_shifts
from denseam.model import DenseAM
from denseam.onnx_graph import OnnxGraph
from denseam.presets import Preset

__all__ = ["ConvFrontAM", "ConvolutionalAM", "check_patch", "parsed_patch"]

_PATCH = re.compile(r"(\d+)(?:/(\d+))?")


class ConvFrontAM(DenseAM):
    """A dense associative memory behind convolutions that learn together with it.

    Arguments and errors as for ``DenseAM``; the front is usually a ``fronts.Convolutional``.
    """

    kind: ClassVar[str] = "conv-front"
    _words: ClassVar[tuple[str, str]] = ("front{n:g}", "n = {n:g} behind convolutions")
    presets: ClassVar[Mapping[float, Preset]] = {20: Preset(2, 20, 20, 0, 0.002, 0.05)}
    usual: ClassVar[Mapping[str, Any]] = {
        "epochs": 20, "n_memories": 500, "per_class": 10, "objective": "cross-entropy",
        "initial": "samples", "sampling": "natural", "front": "convolutional",
        "levels": "16x5/2,32x5/2,256",
    }  # fmt: skip


class ConvolutionalAM(ConvFrontAM):
    """A dense associative memory whose memories are patches that see every place of a map.

    With v_p the patch at place p of an image, or of the map that a front has made of it,

        E = -sum_mu sum_p F_n(xi^mu . v_p + sum_c xi_c^mu x_c)

    and the class neurons follow the rule of the paper, Y_c = tanh(beta (E_off - E_on_c)). So a pair
    of a memory and a place is as a memory of a ``DenseAM``; the energy itself pools over places.

    Args:
        n_visible: N, numbers of the map.
        n_classes, n_memories, power, temperature: as for ``DenseAM``.
        patch: side of a patch and the distance between two, such as "4/1"; the distance is 1 where
            it is left out. The whole map where it is empty: then there is one place.
        shape: (H, W) or (channels, H, W) of the map; that of the front, or a square, by default.
        options: ``energy``, ``front``, ``seed``, ``dtype`` and ``device``, as for ``DenseAM``.

    Attributes:
        memories: (K, D + C): patches of D = channels * side * side components, then votes.

    Raises:
        InputError: as for ``DenseAM``, and for a shape or patch that does not fit.

    >>> model = ConvolutionalAM(784, 10, n_memories=50, power=20, temperature=20.0, patch="12/4")
    >>> model.memories.shape, model.n_places, model.predict(torch.zeros(3, 784)).shape
    (torch.Size([50, 154]), 25, torch.Size([3]))
    """

    kind: ClassVar[str] = "conv-dam"
    dense: ClassVar[bool] = False
    products: ClassVar[tuple[str, ...]] = ("full",)
    _words: ClassVar[tuple[str, str]] = ("conv{n:g}", "convolutional, n = {n:g}")
    usual: ClassVar[Mapping[str, Any]] = {**ConvFrontAM.usual, "levels": "16x5/2,32x3/2"}

    def __init__(
        self,
        n_visible: int,
        n_classes: int,
        n_memories: int,
        power: float | None = None,
        temperature: float | None = None,
        *,
        patch: str = "",
        shape: Sequence[int] | None = None,
        **options: Any,
    ) -> None:
        front = options.get("front")
        shape = getattr(front, "map_shape", None) or shape or square(n_visible) or (1, n_visible)
        sizes = tuple(whole("shape", side) for side in shape)
        if len(sizes) not in (2, 3) or math.prod(sizes) != n_visible:
            raise InputError(
                f"shape = {sizes}: wanted (H, W) or (channels, H, W) of {n_visible} numbers"
            )
        self.map_shape = (sizes[0] if len(sizes) == 3 else 1, *sizes[-2:])
        self.patch = patch
        side, self.stride = parsed_patch(patch)
        H, W = self.map_shape[1:]
        self.patch_shape = (side or H, side or W)
        if side > min(H, W):
            raise InputError(
                f"patch = {patch!r}: memories of {side} x {side} see no place of a map of {H} x {W}"
            )
        super().__init__(n_visible, n_classes, n_memories, power, temperature, **options)

    @property
    def n_seen(self) -> int:
        return self.map_shape[0] * math.prod(self.patch_shape)

    @property
    def places(self) -> tuple[int, int]:
        """Rows and columns of places."""
        (H, W), (h, w) = self.map_shape[1:], self.patch_shape
        return (H - h) // self.stride + 1, (W - w) // self.stride + 1

    @property
    def n_places(self) -> int:
        """P, the number of places that a memory sees."""
        return math.prod(self.places)

    def patches(self, visible: Tensor) -> Tensor:
        """Return what memories see, (B, N) -> (B * P, D), place by place of each image."""
        maps = visible.reshape(-1, *self.map_shape)
        columns = unfold(maps, self.patch_shape, stride=self.stride)  # (B, D, P)
        return columns.transpose(1, 2).reshape(-1, self.n_seen)

    def neurons(self, visible: Tensor) -> Tensor:
        return pad(self.patches(visible), (0, self.n_classes))

    @property
    def picture_shape(self) -> tuple[int, ...] | None:
        """The shape of a patch, of pictures in grey or colour; None behind levels."""
        if super().picture_shape is None or self.map_shape[0] not in (1, 3):
            return None
        return self.patch_shape if self.map_shape[0] == 1 else (3, *self.patch_shape)

    # ---- scores ------------------------------------------------------------------------------

    def _scores(self, visible: Tensor, head: HeadName) -> Tensor:
        """Return log-energies pooled by the energy itself, or energy gaps summed over places."""
        scores = self._scores_of(self.patches(visible), head)
        return scores.to(visible.dtype)

    def _exact_log_energy(self, visible: Tensor) -> Tensor:
        return self._scores_of(self.patches(visible), "log_energy")

    def _pooled(self, scores: Tensor, head: HeadName) -> Tensor:
        """Return scores over all places, (B * P, C) -> (B, C)."""
        if self.n_places == 1:
            return scores
        each = scores.reshape(-1, self.n_places, self.n_classes)
        if head == "log_energy":
            return torch.logsumexp(each, dim=1)
        limit = torch.finfo(scores.dtype).max
        return each.double().sum(dim=1).clamp(-limit, limit).to(scores.dtype)

    def predict(self, inputs: object) -> Tensor:
        """Return labels, (B,) int64, as ``DenseAM.predict``."""
        inputs = self.as_inputs(inputs)
        self._check(inputs)
        with torch.no_grad():
            return self.exact_scores(inputs).argmax(dim=1)

    @property
    def batch_invariant(self) -> bool:
        return False

    def energies(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        return Classifier.energies(self, inputs)

    def head(self, shape: torch.Size, head: HeadName) -> Head:
        """Return a head of exact scores, whose gradients do not underflow: shares of an energy."""
        check_head(head)
        if head == "log_energy":
            return module_head(self.exact_scores, shape)
        return Classifier.head(self, shape, head)

    def _pair_fields(self, inputs: Tensor, classes: Tensor) -> Tensor:
        """Return the fields of pairs with a class on, (B, ...) and (B,) -> (K, B, P)."""
        overlaps = self.visible_memories.detach() @ self.patches(self.visible(inputs).detach()).T
        shifts = field_shifts(self.class_memories.detach())[:, classes]  # (K, B)
        return overlaps.reshape(len(overlaps), -1, self.n_places) + shifts[:, :, None]

    def winner_distances(
        self, inputs: Tensor, labels: Tensor, overlaps: Tensor | None = None
    ) -> Tensor:
        """Return distances of the winning memories to the patches where they win, (B,)."""
        fields = self._pair_fields(inputs, labels).transpose(0, 1).flatten(1)  # (B, K * P)
        winners = fields.argmax(dim=1)
        patches = self.patches(self.visible(inputs).detach())
        patches = patches.reshape(-1, self.n_places, self.n_seen)
        seen = patches[torch.arange(len(patches)), winners % self.n_places]
        memories = self.visible_memories.detach()[winners // self.n_places]
        distances: Tensor = (seen - memories).double().norm(dim=1)
        return distances

    def contributions(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        fields = self._pair_fields(inputs, self.predict(inputs))
        largest = self.energy.scale(fields.transpose(0, 1).flatten(1), dim=1).squeeze(1)  # (B,)
        shares = self.energy.ratio(fields, largest[None, :, None]).sum(dim=2)
        active = self.largest_fields(fields.amax(dim=(1, 2))) > 0
        return active, shares / shares.amax(dim=0).clamp(min=torch.finfo(shares.dtype).tiny)

    def explain(
        self, visible: object, count: int = 10, *, label: int | None = None, by: Order = "share"
    ) -> Explanation:
        """Explain a label by pairs of a memory and a place, as ``DenseAM.explain``.

        ``where`` says which row and column a place of the explanation is.
        """
        inputs = self.as_inputs(visible)
        predicted = self.predict(inputs)
        if len(predicted) != 1:
            raise InputError(f"visible holds {len(predicted)} images: one is explained at a time")
        with torch.no_grad():
            patches = self.patches(self.visible(inputs))
        return explain(
            patches, self.memories, self.energy, int(predicted), count=count, label=label, by=by
        )

    def where(self, place: int) -> tuple[int, int]:
        """Return row and column, on the map, of the upper left corner of the patch at a place."""
        row, column = divmod(place, self.places[1])
        return row * self.stride, column * self.stride

    def _onnx_overlaps(self, graph: OnnxGraph, visible: str) -> tuple[str, Tensor]:
        """Return overlaps of pairs, (B, K * P), and what classes add to them, (K * P, C + 1)."""
        channels, (h, w) = self.map_shape[0], self.patch_shape
        maps = graph("Reshape", visible, graph.integers(-1, *self.map_shape))
        filters = self.visible_memories.reshape(-1, channels, h, w)
        overlaps = graph("Flatten", graph("Conv", maps, filters, strides=[self.stride] * 2), axis=1)
        shifts = field_shifts(self.class_memories.detach().double())
        return overlaps, shifts.repeat_interleave(self.n_places, dim=0)

    # ---- training ----------------------------------------------------------------------------

    _gradient = Classifier._gradient  # noqa: SLF001 (by autograd, through the kernels)

    def _scores_of(self, rows: Tensor, head: HeadName) -> Tensor:
        if head != "log_energy":
            return self._pooled(super()._scores(rows, head), head)
        exact = kernels.exact_log_energy(rows, self.memories, self.energy)
        return self._pooled(exact, head)

    # ---- files -------------------------------------------------------------------------------

    def settings(self) -> dict[str, Any]:
        return {
            **super().settings(),
            "n_classes": self.n_classes,
            "patch": self.patch,
            "shape": list(self.map_shape),
        }

    @classmethod
    def _restored(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **super()._restored(settings),
            "patch": settings["patch"],
            "shape": settings["shape"],
        }

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, patch={self.patch!r}"


def check_patch(text: str) -> str:
    """Return the text; raise InputError unless ``parsed_patch`` takes it."""
    parsed_patch(text)
    return text


def parsed_patch(text: str) -> tuple[int, int]:
    """Return side and stride of a text such as "4/1"; a side of 0 for the whole map.

    Raises:
        InputError: for another form, or a size of 0.
    """
    if text == "":
        return 0, 1
    match = _PATCH.fullmatch(text) if isinstance(text, str) else None
    side, stride = (int(x or 1) for x in match.groups()) if match else (0, 0)
    if not side or not stride:
        raise InputError(f"patch = {text!r}: wanted SIDE/STRIDE, such as 4/1, or 4")
    return side, stride
