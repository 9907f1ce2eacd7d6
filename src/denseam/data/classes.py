"""Labels as people have them: the classes in them, and their names."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denseam.errors import InputError


class Classes(NamedTuple):
    """Labels as numbers of classes, (M,) int64 in 0 .. C - 1, and the names of the C classes."""

    labels: Tensor
    names: tuple[str, ...]


def to_classes(labels: object, class_names: Sequence[str] = ()) -> Classes:
    """Return the classes in labels of any type.

    Args:
        labels: (M,) or (M, 1) of integers, floats, bools or strings; or (M, C) one-hot. Classes are
            the distinct values, sorted; whole numbers from 0 to C - 1 stay as they are.
        class_names: C names. Labels are then positions in it, or those names.

    Raises:
        InputError: for labels of another shape, missing ones, and names that do not fit.

    >>> to_classes([5, 1, 5])
    Classes(labels=tensor([1, 0, 1]), names=('1', '5'))
    """
    values = _values(labels)
    names = tuple(str(name) for name in class_names)
    if values.dtype.kind in "iu" and names:
        if len(values) and not 0 <= int(values.min()) <= int(values.max()) < len(names):
            raise InputError(
                f"labels must lie in 0..{len(names) - 1}, as there are {len(names)} class names; "
                f"got {values.min()}..{values.max()}"
            )
        return Classes(torch.from_numpy(values.astype(np.int64)), names)
    distinct, numbers = np.unique(values, return_inverse=True)
    spelled = tuple(_spelled(value) for value in distinct)
    if names and set(spelled) <= set(names):
        order = np.array([names.index(name) for name in spelled], np.int64)
        return Classes(torch.from_numpy(order[numbers]), names)
    if names:
        raise InputError(f"labels are {_shown(spelled)}, class names {_shown(names)}")
    return Classes(torch.from_numpy(numbers.reshape(-1).astype(np.int64)), spelled)


def _values(labels: object) -> NDArray[Any]:
    """Return labels as one array (M,) of integers, floats, bools or strings without gaps."""
    if isinstance(labels, Tensor):
        labels = labels.detach().cpu().numpy()
    try:
        values = np.asarray(labels)
    except (TypeError, ValueError) as error:
        raise InputError(f"labels must be numbers or strings along one axis: {error}") from error
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2:
        return _from_one_hot(values)
    if values.ndim != 1:
        raise InputError(f"labels must have shape (M,), or (M, C) one-hot, got {values.shape}")
    if values.dtype.kind == "O":
        values = _plain(values)
    if values.dtype.kind == "f":
        return _whole_if_all_are(values)
    if values.dtype.kind not in "iubUS":
        raise InputError(f"labels must be numbers or strings, got {values.dtype}")
    return np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values


def _whole_if_all_are(values: NDArray[Any]) -> NDArray[Any]:
    """Return floating labels as int64 where all are whole numbers, else as they are."""
    missing = np.flatnonzero(~np.isfinite(values))
    if len(missing):
        raise InputError(
            f"labels must be finite: row {missing[0]} (counted from 0) is {values[missing[0]]}; "
            f"{len(missing)} such in all"
        )
    if np.abs(values).max(initial=0) < 2**53 and (values == np.trunc(values)).all():
        return values.astype(np.int64)
    return values


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Return an array of objects as one of strings, bools or numbers, as its elements are."""
    missing = [row for row, value in enumerate(values) if _is_missing(value)]
    if missing:
        raise InputError(
            f"row {missing[0]} (counted from 0) has no label; {len(missing)} such in all"
        )
    if all(isinstance(value, bool | np.bool_) for value in values):
        return values.astype(bool)
    if all(isinstance(value, int | float | np.number) for value in values):
        return np.array([*values])
    if all(isinstance(value, bytes) for value in values):
        return np.array([value.decode("utf-8", "replace") for value in values])
    return np.array([str(value) for value in values])


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def _from_one_hot(values: NDArray[Any]) -> NDArray[Any]:
    ones = values == 1
    if values.dtype.kind not in "iufb" or not (
        (ones.sum(axis=1) == 1).all() and ((values == 0) | ones).all()
    ):
        raise InputError(
            f"labels have shape {values.shape}: wanted (M,), or (M, C) one-hot, with a single 1 in "
            "each row"
        )
    return np.asarray(ones.argmax(axis=1))


def _spelled(value: Any) -> str:
    return str(value.item() if isinstance(value, np.generic) else value)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f", ... ({len(names)} in all)" if len(names) > 6 else "")
