"""Classifiers behind a guard: whatever has labels, each asked in its own way.

To add a kind: a subclass of `Member` in a file of its own, and its row in ``MEMBERS``.
"""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from denseam.errors import InputError
from denseam.guard.members.base import TAKES, Member, Takes
from denseam.guard.members.endpoint import Endpoint
from denseam.guard.members.functions import Estimator, Function
from denseam.guard.members.modules import Module, Network
from denseam.guard.members.onnxfile import OnnxFile

__all__ = ["MEMBERS", "TAKES", "Member", "Takes", "member_of"]

MEMBERS: tuple[type[Member], ...] = (Endpoint, OnnxFile, Network, Module, Estimator, Function)
"""Every kind of classifier; the first one that serves a classifier gets it."""


def member_of(
    classifier: object,
    *,
    takes: Takes | None = None,
    preprocess: Callable[[Tensor], Any] | None = None,
    shape: tuple[int, int] | None = None,
    class_names: Sequence[str] = (),
) -> Member:
    """Return a classifier as a member of a guard.

    Args:
        classifier: a network of denseam, its name or file; an ``nn.Module``; an estimator with
            ``predict``; an ``.onnx`` file; the URL of an endpoint of the Open Inference Protocol;
            any function of images; or a `Member`, which is returned as it is.
        takes: how it is shown images; by default its kind's usual way.
        preprocess: applied to the images it is shown.
        shape: (H, W) of an image; None where it has none.
        class_names: of the classes, in the order of the detector's, for labels that are texts.

    Raises:
        InputError: when it is nothing that has labels.
        MissingPackageError: when an ONNX file needs onnxruntime.
        DataUnavailableError, FileFormatError: when a file is missing, or of another format.
    """
    if isinstance(classifier, Member):
        return classifier
    for kind in MEMBERS:
        if kind.serves(classifier):
            return kind(
                classifier, takes=takes, preprocess=preprocess, shape=shape,
                class_names=class_names,
            )  # fmt: skip
    raise InputError(
        f"classifier: wanted a network, an nn.Module, an estimator, a function, an .onnx file or "
        f"a URL, got {type(classifier).__name__}"
    )
