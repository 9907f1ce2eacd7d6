"""Checks that the records of figures share."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from denseam.data.validate import SLACK, check_images
from denseam.errors import InputError
from denseam.figures.canvas import CURVES

__all__ = [
    "check_curves",
    "check_fractions",
    "check_mask",
    "check_names",
    "check_numbers",
    "check_pictures",
]


def check_names(names: Sequence[str], what: str) -> None:
    """Refuse anything but a non-empty tuple of strings, none of them empty.

    Raises:
        InputError: naming ``what`` it was.
    """
    fine = isinstance(names, tuple) and all(isinstance(n, str) and n.strip() for n in names)
    if not fine or not names:
        raise InputError(f"{what} must be a tuple of one or more names, got {names!r}")


def check_numbers(numbers: Sequence[float], what: str) -> None:
    """Refuse anything but a non-empty tuple of finite numbers.

    Raises:
        InputError: naming ``what`` it was.
    """
    if not isinstance(numbers, tuple) or not numbers:
        raise InputError(f"{what} must be a tuple of one or more numbers, got {numbers!r}")
    wrong = [n for n in numbers if not isinstance(n, int | float) or not math.isfinite(n)]
    if wrong:
        raise InputError(f"{what} must hold finite numbers, got {wrong[0]!r}")


def check_pictures(images: Tensor, lead: tuple[int, ...], what: str = "images") -> None:
    """Refuse anything but floating images (*lead, H, W) in visible units [-1, 1].

    Raises:
        InputError: on a wrong type, shape or range.
    """
    wanted = f"({', '.join(map(str, lead))}, H, W)"
    _check_floating(images, f"{what} {wanted}")
    if images.ndim != len(lead) + 2 or images.shape[:-2] != lead:
        raise InputError(f"{what} must have shape {wanted}, got {tuple(images.shape)}")
    check_images(images.flatten(0, -3))


def check_fractions(values: Tensor, shape: tuple[int, ...], what: str) -> None:
    """Refuse anything but a floating tensor of ``shape`` in [0, 1]; NaN passes.

    Raises:
        InputError: on a wrong type, shape or range.
    """
    _check_floating(values, what)
    if values.shape != shape:
        raise InputError(f"{what} must have shape {shape}, got {tuple(values.shape)}")
    wrong = values[(values < -SLACK) | (values > 1 + SLACK)]
    if len(wrong):
        raise InputError(f"{what} must be fractions in [0, 1], got {float(wrong[0]):g}")


def check_mask(mask: Tensor, shape: tuple[int, ...], what: str) -> None:
    """Refuse anything but a bool tensor of ``shape``.

    Raises:
        InputError: on a wrong type or shape.
    """
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != shape:
        given = f"{mask.dtype} {tuple(mask.shape)}" if isinstance(mask, Tensor) else repr(mask)
        raise InputError(f"{what} must be a bool tensor of shape {shape}, got {given}")


def _check_floating(values: Tensor, what: str) -> None:
    if not isinstance(values, Tensor) or not values.is_floating_point():
        given = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise InputError(f"{what} must be a floating torch.Tensor, got {given}")


def check_curves(names: Sequence[str], records: Sequence[object], kind: type, what: str) -> None:
    """Refuse anything but one record of a kind for each name, and no more than can be told apart.

    Raises:
        InputError: naming ``what`` it was.
    """
    check_names(names, "names")
    if len(names) > len(CURVES):
        raise InputError(f"{len(names)} curves cannot be told apart: at most {len(CURVES)}")
    if not isinstance(records, tuple) or not all(isinstance(each, kind) for each in records):
        raise InputError(f"{what} must be a tuple of {kind.__name__}, got {records!r}")
    if len(records) != len(names):
        raise InputError(f"{len(names)} names and {len(records)} {what}: wanted as many")
