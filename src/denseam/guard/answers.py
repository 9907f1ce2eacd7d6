"""Answers of a guard's members, checked: labels or scores."""

from typing import Any

import torch
from torch import Tensor

from denseam.errors import AnswerError

__all__ = ["checked", "checked_scores", "to_labels"]


def to_labels(returned: Any, count: int) -> Tensor:
    """Return the labels (B,) int64 in a classifier's answer; see ``checked``.

    Raises:
        AnswerError: as ``checked``.
    """
    values = checked(returned, count)
    return values.argmax(dim=1) if values.ndim == 2 else values


def checked(returned: Any, count: int) -> Tensor:
    """Return a classifier's labels (B,) int64 or scores (B, C) as a tensor on the CPU.

    Args:
        returned: labels (B,) or (B, 1), whole numbers, or floating scores (B, C) of C >= 2 classes;
            tensor, array or list.
        count: B.

    Raises:
        AnswerError: for anything else, scores that are NaN, and labels below 0.
    """
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


def _tensor(returned: Any, who: str, wanted: str) -> Tensor:
    try:
        return torch.as_tensor(returned).detach().cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise AnswerError(
            f"the {who} returned {type(returned).__name__}: wanted {wanted}"
        ) from error


def _whole(values: Tensor) -> bool:
    floating = values.is_floating_point() or values.is_complex()
    return not floating and values.dtype != torch.bool
