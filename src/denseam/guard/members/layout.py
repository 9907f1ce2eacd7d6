"""Inputs and outputs of classifiers that are not made of PyTorch: graphs and endpoints."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from denseam.errors import AnswerError, InputError
from denseam.guard.members.base import Takes

T = TypeVar("T")

_LABELS = ("label", "labels", "output_label")


@dataclass(frozen=True)
class Input:
    """An input of a graph or an endpoint.

    Attributes:
        name: what it is called.
        dims: of a batch, the first one being B; None or -1 where any size will do.
        dtype: of its numbers.
    """

    name: str
    dims: tuple[int | None, ...]
    dtype: np.dtype[Any]

    @property
    def takes(self) -> Takes:
        """The way in which it takes images, judged by its name, shape and type."""
        if self.dtype == np.uint8:
            return "bytes"
        if self.name == "visible":
            return "visible"
        return "flat" if len(self.dims) == 2 else "images"

    @property
    def batch(self) -> int | None:
        """B where it is fixed."""
        first = self.dims[0] if self.dims else None
        return first if first is not None and first > 0 else None

    def arranged(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return a batch of any shape (B, ...) as the input wants it, pixels in their order.

        Raises:
            InputError: when they do not fit.
        """
        count, pixels = len(images), math.prod(images.shape[1:])
        wanted = [None if d is None or d < 1 else d for d in self.dims[1:]]
        known = math.prod(d for d in wanted if d is not None)
        shape = [pixels // known if d is None else d for d in wanted]
        if wanted.count(None) > 1:  # as they are, where what is known agrees
            same = len(wanted) == images.ndim - 1
            pairs = zip(wanted, images.shape[1:], strict=True) if same else [(None, -1)]
            shape = [has if wants in (None, has) else -1 for wants, has in pairs]
        if not shape or math.prod(shape) != pixels:
            raise InputError(
                f"the classifier's input {self.name!r} has the shape {self.dims}, which does not "
                f"fit images of {pixels} pixels"
            )
        return np.ascontiguousarray(images.reshape(count, *shape), dtype=self.dtype)


def answer(outputs: Sequence[tuple[str, T]]) -> T:
    """Return the output that is called labels, or else the first one.

    Raises:
        AnswerError: when there is none.
    """
    if not outputs:
        raise AnswerError("the classifier returned nothing")
    return next((value for name, value in outputs if name in _LABELS), outputs[0][1])
