"""Answers of a guard's members, checked: labels or scores."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denseam.checks import plain
from denseam.errors import AnswerError

_MOST = 2**63  # labels are int64


def to_labels(returned: Any, count: int, names: Sequence[str] = ()) -> Tensor:
    """Return the labels (B,) int64 in a classifier's answer; see ``checked``.

    Raises:
        AnswerError: as ``checked``.
    """
    values = checked(returned, count, names)
    return values.argmax(dim=1) if values.ndim == 2 else values


def checked(returned: Any, count: int, names: Sequence[str] = ()) -> Tensor:
    """Return a classifier's labels (B,) int64 or scores (B, C) as a tensor on the CPU.

    Args:
        returned: labels (B,) or (B, 1), whole numbers or texts, or floating scores (B, C) of
            C >= 2 classes; tensor, array, series or list.
        count: B.
        names: of the classes, in the order of their labels; see ``label_number``.

    Raises:
        AnswerError: for anything else, scores that are NaN, and labels below 0.
    """
    if not isinstance(returned, Tensor):
        is_text = _array(returned).dtype.kind in "OUST"
        returned = label_numbers(returned, names) if is_text else returned
    values = _tensor(returned, "classifier", f"labels ({count},), or scores ({count}, C)")
    if _whole(values) and values.shape in ((count,), (count, 1)):
        labels = values.reshape(count).long()
        if count and int(labels.min()) < 0:
            raise AnswerError(f"the classifier returned the label {int(labels.min())}: wanted >= 0")
        return labels
    several = values.ndim == 2 and len(values) == count and values.shape[1] > 1
    if not (several and values.is_floating_point()):
        raise AnswerError(
            f"the classifier returned {tuple(values.shape)} {values.dtype} for {count} images: "
            f"wanted labels ({count},), or scores ({count}, C) of at least two classes"
        )
    if bool(values.isnan().any()):
        raise AnswerError("the classifier returned scores that are NaN")
    return values


def are_scores(returned: Any) -> bool:
    """Return whether an answer has the shape (B, C) of scores of several classes."""
    array = _array(returned)
    return array.ndim == 2 and array.shape[1] > 1


def label_numbers(labels: Any, names: Sequence[str] = ()) -> NDArray[np.int64]:
    """Return an estimator's labels, of any shape and type, as numbers; see ``label_number``.

    Raises:
        AnswerError: for anything that is no label.
    """
    # NumPy makes texts of all items where a list has one.
    array = np.array(labels, object) if isinstance(labels, list | tuple) else _array(labels)
    if array.dtype.kind not in "biufOUST":
        raise AnswerError(f"the classifier returned {array.dtype}: wanted labels")
    numbers = [label_number(label, names) for label in array.ravel().tolist()]
    return np.array(numbers, np.int64).reshape(array.shape)


def label_number(label: Any, names: Sequence[str] = ()) -> int:
    """Return the number that a label is: 7 for 7, 7.0 and "7", 1 for True.

    Args:
        label: a whole number >= 0 of any type, a truth value, or a text.
        names: of the classes; the text of one of them is its place.

    Raises:
        AnswerError: for anything else. A position among sorted labels says nothing: the detector's
            classes may come in another order.

    >>> label_number(7.0), label_number("7"), label_number("dog", ["cat", "dog"])
    (7, 7, 1)
    """
    value: Any = label.decode(errors="replace") if isinstance(label, bytes) else plain(label)
    if isinstance(value, str):
        if value in names:
            return list(names).index(value)
        if not (value.isascii() and value.isdecimal()):
            known = ", ".join(map(repr, names)) or "class_names, in the order of the detector's"
            raise AnswerError(f"the classifier returned the label {value[:80]!r}: wanted {known}")
        value = int(value) if len(value) < 20 else _MOST
    if isinstance(value, int | float) and 0 <= value < _MOST and value == int(value):
        return int(value)
    raise AnswerError(
        f"the classifier returned the label {repr(label)[:80]}: wanted a whole number >= 0, or the "
        "name of a class"
    )


def checked_scores(returned: Any, count: int) -> Tensor:
    """Return a detector's scores (B,) as float64 on the CPU.

    Raises:
        AnswerError: for anything but ``count`` real numbers, none of them NaN.
    """
    values = _tensor(returned, "detector", f"scores ({count},)")
    if values.shape != (count,) or values.is_complex():
        raise AnswerError(
            f"the detector returned {tuple(values.shape)} {values.dtype} for {count} images: "
            f"wanted scores ({count},)"
        )
    if bool(values.isnan().any()):
        raise AnswerError("the detector returned scores that are NaN")
    return values.double()


def _array(returned: Any) -> NDArray[Any]:
    if isinstance(returned, Tensor):
        returned = returned.detach().cpu()
    try:
        return np.asarray(returned)
    except (TypeError, ValueError, RuntimeError) as error:
        raise AnswerError(
            f"the classifier returned {type(returned).__name__}: wanted labels or scores"
        ) from error


def _tensor(returned: Any, who: str, wanted: str) -> Tensor:
    try:
        return torch.as_tensor(returned).detach().cpu().to_dense()
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise AnswerError(
            f"the {who} returned {type(returned).__name__}: wanted {wanted}"
        ) from error


def _whole(values: Tensor) -> bool:
    floating = values.is_floating_point() or values.is_complex()
    return not floating and values.dtype != torch.bool
