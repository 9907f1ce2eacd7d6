"""Classifiers behind a guard: whatever has labels, each asked in its own way.

`member_of` makes a `Member` of a network of the package (or its name or file), an ``nn.Module``, an
estimator with scikit-learn's methods, an ONNX file, the URL of an endpoint of the Open Inference
Protocol, or any function. Each is shown images as it ``takes`` them:

    visible   (B, N) in [-1, 1]
    flat      (B, N) in [0, 1]
    images    (B, 1, H, W) in [0, 1]
    bytes     (B, H, W) uint8
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from denseam.classifier import Classifier
from denseam.data.pixels import to_bytes, to_unit
from denseam.descent.batch import check_deterministic
from denseam.errors import InputError
from denseam.guard.answers import checked, to_labels
from denseam.guard.blocks import Blocks
from denseam.guard.evidence import scores
from denseam.pretrained import load_any
from denseam.saved import describe_model

__all__ = [
    "TAKES",
    "Estimator",
    "Function",
    "Member",
    "Module",
    "Network",
    "Takes",
    "member_of",
    "shown",
]

Takes = Literal["visible", "flat", "images", "bytes"]
TAKES: tuple[Takes, ...] = get_args(Takes)


class Member:
    """A classifier behind a guard.

    Attributes:
        takes: how images are shown to it.
        preprocess: what is done to them then; None for nothing.
        shape: (H, W) of an image; None where it has none.
        n_classes: C, None where it does not say.
        prompt: whether it only computes, on the CPU, as far as is known.
    """

    kind = "function"
    takes: Takes = "images"
    n_classes: int | None = None
    prompt: bool = False

    def __init__(
        self,
        *,
        takes: Takes | None = None,
        preprocess: Callable[[Tensor], Any] | None = None,
        shape: tuple[int, int] | None = None,
    ) -> None:
        if takes is not None:
            self.takes = takes
        if self.takes not in TAKES:
            raise InputError(f"takes = {takes!r}: wanted {', '.join(TAKES)}")
        if self.takes in ("images", "bytes") and shape is None:
            raise InputError(f"takes = {self.takes!r}: wanted image_shape, N is no square number")
        self.preprocess = preprocess
        self.shape = shape

    def labels(self, visible: Tensor) -> Tensor:
        """(B, N) in [-1, 1] -> (B,) int64.

        Raises:
            AnswerError: when what comes back is neither labels (B,) nor scores (B, C).
        """
        if not len(visible):
            return torch.empty(0, dtype=torch.int64)
        return self._labels(visible)

    def describe(self) -> dict[str, Any]:
        """What it is, as plain JSON values."""
        return {"kind": self.kind, "takes": self.takes}

    def _labels(self, visible: Tensor) -> Tensor:
        return to_labels(self._ask(self._shown(visible)), len(visible))

    def _answers(self, block: Tensor) -> tuple[Tensor]:
        """Of a block, as a member has them that computes here: see ``denseam.guard.blocks``."""
        return (checked(self._ask(self._shown(block)), len(block)),)

    def _ask(self, shown_images: Any) -> Any:
        raise NotImplementedError

    def _shown(self, visible: Tensor) -> Any:
        images = shown(visible, self.takes, self.shape)
        return images if self.preprocess is None else self.preprocess(images)


class Network(Member):
    """A network of the package, which takes "visible": what else, a preprocessing makes that.

    Raises:
        InputError: for other ``takes`` without one.
    """

    kind = "network"
    takes: Takes = "visible"

    def __init__(self, network: Classifier, **more: Any) -> None:
        super().__init__(**more)
        if self.takes != "visible" and self.preprocess is None:
            raise InputError(
                f"takes = {self.takes!r}: a network of denseam takes 'visible', or what a "
                "preprocess makes of others"
            )
        self.network = network
        self.n_classes = network.n_classes
        self.prompt = self.preprocess is None and network.memories.device.type == "cpu"
        ask = self._scores if self.preprocess is None else self._answers
        self._blocks = Blocks(ask, some=True)

    def _labels(self, visible: Tensor) -> Tensor:
        (found,) = self._blocks(visible, self.network.memories.device)
        return found.argmax(dim=1)

    def _scores(self, block: Tensor) -> tuple[Tensor]:
        return (self._ask(block).cpu(),)

    def _ask(self, shown_images: Tensor) -> Tensor:
        with torch.inference_mode():
            return scores(self.network, shown_images.to(self.network.memories))

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **describe_model(self.network)}


class Module(Member):
    """An ``nn.Module`` that returns scores (B, C) or labels (B,).

    Raises:
        InputError: for dropout or batch normalisation as in training; when asked, too.
    """

    kind = "module"

    def __init__(self, module: nn.Module, **more: Any) -> None:
        super().__init__(**more)
        check_deterministic(module)
        self.module = module
        self._blocks = Blocks(self._answers)

    def _labels(self, visible: Tensor) -> Tensor:
        check_deterministic(self.module)
        own = next(self.module.parameters(), None)
        (found,) = self._blocks(visible, None if own is None else own.device)
        return to_labels(found, len(visible))

    def _ask(self, shown_images: Any) -> Any:
        own = next(self.module.parameters(), None)
        if own is not None and isinstance(shown_images, Tensor):
            floating = shown_images.is_floating_point()
            shown_images = shown_images.to(own.device, own.dtype if floating else None)
        with torch.no_grad():
            return self.module(shown_images)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), **describe_model(self.module)}


class Estimator(Member):
    """Anything with scikit-learn's ``predict``; labels that are no whole numbers count from 0."""

    kind = "estimator"
    takes: Takes = "flat"

    def __init__(self, estimator: Any, **more: Any) -> None:
        super().__init__(**more)
        self.estimator = estimator
        classes = getattr(estimator, "classes_", None)
        self.classes = None if classes is None else np.asarray(classes)
        self.n_classes = None if self.classes is None else _bound(self.classes)

    def _ask(self, shown_images: Any) -> Any:
        given = shown_images.numpy() if isinstance(shown_images, Tensor) else shown_images
        found = np.asarray(self.estimator.predict(given))
        if self.classes is None or np.issubdtype(found.dtype, np.integer):
            return found
        return np.searchsorted(self.classes, found)  # classes_ are sorted

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "type": type(self.estimator).__qualname__}


class Function(Member):
    """Any function of images that returns scores (B, C) or labels (B,)."""

    def __init__(self, function: Callable[[Any], Any], **more: Any) -> None:
        super().__init__(**more)
        self.function = function

    def _ask(self, shown_images: Any) -> Any:
        return self.function(shown_images)

    def describe(self) -> dict[str, Any]:
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return {**super().describe(), "type": name}


def member_of(
    given: object,
    *,
    takes: Takes | None = None,
    preprocess: Callable[[Tensor], Any] | None = None,
    shape: tuple[int, int] | None = None,
) -> Member:
    """The classifier of whatever was given.

    Raises:
        InputError: when it is nothing that has labels.
        MissingPackageError: when an ONNX file needs onnxruntime.
        DataUnavailableError, FileFormatError: when a file is not there, or is none.
    """
    more: dict[str, Any] = {"takes": takes, "preprocess": preprocess, "shape": shape}
    if isinstance(given, Member):
        return given
    if isinstance(given, str | Path):
        return _named(given, more)
    if isinstance(given, nn.Module):
        return Network(given, **more) if isinstance(given, Classifier) else Module(given, **more)
    if callable(getattr(given, "predict", None)):
        return Estimator(given, **more)
    if callable(given):
        return Function(given, **more)
    raise InputError(
        f"classifier: wanted a network, an nn.Module, an estimator, a function, an .onnx file or "
        f"a URL, got {type(given).__name__}"
    )


def _named(given: str | Path, more: dict[str, Any]) -> Member:
    """The classifier at a URL, in an ONNX file, or of the package's kind."""
    if str(given).startswith(("http://", "https://")):
        from denseam.guard.endpoint import Endpoint  # noqa: PLC0415 (it makes members)

        return Endpoint(str(given), **more)
    if str(given).endswith(".onnx"):
        from denseam.guard.onnxfile import OnnxFile  # noqa: PLC0415 (it makes members)

        return OnnxFile(given, **more)
    return Network(load_any(given), **more)


def _bound(classes: NDArray[Any]) -> int:
    """One more than the largest label: whole numbers are labels as they are."""
    whole = np.issubdtype(classes.dtype, np.integer) and classes.size
    return 1 + int(classes.max()) if whole else len(classes)


def shown(visible: Tensor, takes: Takes, shape: tuple[int, int] | None) -> Tensor:
    """Images (B, N) in [-1, 1] as a member takes them."""
    if takes == "visible":
        return visible
    if takes == "flat":
        return to_unit(visible)
    height, width = shape or (1, visible.shape[1])
    if takes == "bytes":
        return to_bytes(visible).reshape(-1, height, width)
    return to_unit(visible).reshape(-1, 1, height, width)
