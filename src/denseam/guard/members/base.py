"""A classifier behind a guard: how it is shown images, asked for labels, and saved.

Each is shown images as it ``takes`` them:

    visible   (B, N) in [-1, 1]
    flat      (B, N) in [0, 1]
    images    (B, 1, H, W) in [0, 1]
    bytes     (B, H, W) uint8
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn

from denseam.checks import choice
from denseam.data.pixels import Scale
from denseam.errors import InputError
from denseam.guard.answers import checked, to_labels
from denseam.guard.samples import converted
from denseam.guard.saving import Saved
from denseam.precision import in_full_precision

Takes = Literal["visible", "flat", "images", "bytes"]
TAKES: tuple[Takes, ...] = get_args(Takes)

_SCALES: dict[Takes, Scale] = {
    "visible": "visible", "flat": "unit", "images": "unit", "bytes": "byte",
}  # fmt: skip


class Member:
    """A classifier behind a guard.

    A subclass says which classifiers it serves, and overrides ``_ask``.

    Args:
        classifier: the network, file, function, ...
        takes: how it is shown images; None for its kind's usual way.
        preprocess: applied to the images it is shown; None for nothing.
        shape: (H, W) of an image; None where it has none.
        class_names: of the classes, in the order of the detector's: the labels of texts.

    Attributes:
        n_classes: C; None where it does not say.
        prompt: whether it only computes, on the CPU, as far as is known.
        module: what has gradients; None where nothing has.
    """

    kind: ClassVar[str]
    restorable: ClassVar[bool] = False  # whether a guard's file can bring it back
    takes: Takes = "images"
    n_classes: int | None = None
    prompt: bool = False
    module: nn.Module | None = None

    def __init__(
        self,
        classifier: Any,
        *,
        takes: Takes | None = None,
        preprocess: Callable[[Tensor], Any] | None = None,
        shape: tuple[int, int] | None = None,
        class_names: Sequence[str] = (),
    ) -> None:
        self.classifier = classifier
        self.class_names = tuple(class_names)
        if takes is not None:
            self.takes = choice("takes", takes, TAKES)
        if self.takes in ("images", "bytes") and shape is None:
            raise InputError(f"takes = {self.takes!r}: wanted image_shape, N is no square number")
        self.preprocess = preprocess
        self.shape = shape

    @classmethod
    def serves(cls, classifier: object) -> bool:
        """Return whether a classifier is of this kind."""
        raise NotImplementedError

    @in_full_precision
    def labels(self, images: Tensor, scale: Scale = "visible") -> Tensor:
        """Return the labels (B,) int64 of images (B, N), on the CPU.

        Raises:
            AnswerError: when the classifier returns neither labels (B,) nor scores (B, C).
        """
        if not len(images):
            return torch.empty(0, dtype=torch.int64)
        return self._labels(shown(images, scale, self.takes, self.shape))

    def class_scores(self, images: Tensor, scale: Scale = "visible") -> Tensor:
        """Return scores (B, C) of images (B, N), with gradients, where there is a ``module``."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """Return what it is, as plain JSON values."""
        return {"kind": self.kind, "takes": self.takes}

    def settings(self) -> dict[str, Any] | None:
        """Return what a guard's file holds beside ``tensors``; None where it stays outside."""
        return None

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that a guard's file holds of it."""
        return {}

    @classmethod
    def restore(cls, saved: Saved) -> object:
        """Return the classifier of a guard's file.

        Raises:
            InputError: for a kind that no file can bring back.
            DataUnavailableError, FileFormatError: when it is missing, or has changed.
        """
        raise InputError(
            f"{saved.file}: its classifier, a {cls.kind}, could not be saved: pass "
            "classifier=... to Guard.load"
        )

    @property
    def _black(self) -> float:
        """The value of a black pixel, as it takes images."""
        return -1.0 if self.takes == "visible" else 0.0

    def _labels(self, images: Tensor) -> Tensor:
        """Return labels (B,) of images as it takes them."""
        return to_labels(self._ask(self._prepared(images.cpu())), len(images), self.class_names)

    def _columns(self, block: Tensor) -> tuple[Tensor]:
        """Return labels or scores of a block of images, for ``Blocks``."""
        return (checked(self._ask(self._prepared(block)), len(block), self.class_names),)

    def _ask(self, images: Any) -> Any:
        """Return what the classifier says of images as it takes them, preprocessed."""
        raise NotImplementedError

    def _prepared(self, images: Tensor) -> Any:
        return images if self.preprocess is None else self.preprocess(images)


def shown(images: Tensor, scale: Scale, takes: Takes, shape: tuple[int, int] | None) -> Tensor:
    """Return images (B, N) as a member takes them: without a conversion where they are that."""
    flat = converted(images, scale, _SCALES[takes])
    height, width = shape or (1, images.shape[1])
    if takes == "images":
        return flat.reshape(-1, 1, height, width)
    return flat.reshape(-1, height, width) if takes == "bytes" else flat
