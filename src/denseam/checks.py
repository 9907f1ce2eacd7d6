"""One policy for the numbers and words that a user hands in.

A number of Python, NumPy or PyTorch means the same at every entrance, and so does an array or
tensor of no axes that holds one. What comes back is a plain number of Python. A bool is no number.
"""

import math
import operator
from collections.abc import Iterable
from numbers import Real
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from denseam.errors import InputError
from denseam.spelling import suggestion

__all__ = [
    "choice",
    "exact",
    "image_shape",
    "is_number",
    "number",
    "numbers",
    "plain",
    "seed_of",
    "whole",
]

T = TypeVar("T")

_MOST_SHOWN = 80  # characters of a wrong value in a message


def whole(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """Return a whole number as an int.

    Args:
        name: what the number is called in messages.
        value: an int, a NumPy or PyTorch integer, or a 0-d array or tensor of one.
        least: the smallest number that is allowed.
        most: the largest number that is allowed; None for no limit.

    Raises:
        InputError: for anything else, floats and bools included, or a number out of range.

    >>> whole("epochs", np.int64(20))
    20
    """
    scalar = _scalar(value)
    try:
        result = None if isinstance(scalar, bool) else operator.index(scalar)
    except TypeError:
        result = None
    if result is None or result < least or (most is not None and result > most):
        raise _wrong(name, value, "a whole number", {"least": least, "most": most})
    return result


def seed_of(value: Any) -> int:
    """Return a seed as an int.

    Raises:
        InputError: for anything but a whole number that PyTorch's generators take: 64 bits, with a
            sign or without.

    >>> seed_of(np.uint64(7))
    7
    """
    return whole("seed", value, -(2**63), 2**64 - 1)


def number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
    unit: str = "",
) -> float:
    """Return a finite number as a float.

    Args:
        name: what the number is called in messages.
        value: a real number of Python, NumPy or PyTorch, or a 0-d array or tensor of one.
        above: what the number must exceed.
        least: the smallest number that is allowed.
        below: what the number must not reach.
        most: the largest number that is allowed.
        unit: what the number is measured in, for messages.

    Raises:
        InputError: for anything else, bools, NaN and infinities included, or a number out of range.

    >>> number("eps", np.float64(0.2), above=0)
    0.2
    """
    scalar = _scalar(value)
    try:
        result = float(scalar) if is_number(scalar) else math.nan
    except (OverflowError, TypeError):  # an int beyond all floats; a span of time
        result = math.nan
    inside = (
        math.isfinite(result)
        and (above is None or result > above)
        and (least is None or result >= least)
        and (below is None or result < below)
        and (most is None or result <= most)
    )
    if not inside:
        bounds = {"above": above, "least": least, "below": below, "most": most}
        raise _wrong(name, value, "a number", bounds, unit)
    return result


def numbers(name: str, values: Any, **bounds: Any) -> list[float]:
    """Return one number, or each of several, as finite floats.

    Args:
        name: what a number is called in messages.
        values: what ``number`` takes, or a non-empty list, array (L,) or tensor (L,) of that.
        bounds: as ``number`` takes them.

    Raises:
        InputError: for anything else, or a number out of range.

    >>> numbers("eps", np.array([0.25, 0.5]), above=0)
    [0.25, 0.5]
    """
    if is_number(values) or not isinstance(values, Iterable) or isinstance(values, str | bytes):
        return [number(name, values, **bounds)]
    try:
        each = list(values)
    except TypeError:  # an array without axes that holds no number
        each = [values]
    if not each:
        raise InputError(f"{name} = {_shown(values)}: wanted one number or more")
    return [number(name, value, **bounds) for value in each]


def image_shape(name: str, value: Any, n_pixels: int | None = None) -> tuple[int, int]:
    """Return the height and width of an image as ints.

    Args:
        name: what the shape is called in messages.
        value: two whole numbers >= 1.
        n_pixels: what their product must be; None for anything.

    Raises:
        InputError: for anything else.

    >>> image_shape("shape", np.array([28, 28]))
    (28, 28)
    """
    sides = list(value) if isinstance(value, Iterable) else []
    if len(sides) != 2:
        raise InputError(f"{name} = {_shown(value)}: wanted (height, width)")
    height, width = (whole(name, side) for side in sides)
    if n_pixels is not None and height * width != n_pixels:
        raise InputError(f"{name} {(height, width)} does not fit {n_pixels} pixels")
    return height, width


def choice(name: str, value: Any, options: Iterable[T]) -> T:
    """Return the option that ``value`` equals.

    Args:
        name: what the choice is called in messages.
        value: one of the options.
        options: what is allowed, such as the words of a ``Literal``.

    Raises:
        InputError: for anything else; the message lists the options.

    >>> choice("norm", "l2", ("l2", "linf"))
    'l2'
    """
    allowed = list(options)
    for option in allowed:
        if isinstance(value, type(option)) and value == option:
            return option
    *others, last = [repr(option) for option in allowed]
    listed = f"{', '.join(others)} or {last}" if others else last
    hint = suggestion(f"{value}", map(str, allowed)) if isinstance(value, str) else ""
    raise InputError(f"{name} = {_shown(value)}: wanted {listed}{hint}")


def is_number(value: Any) -> bool:
    """Return whether a value is a single real number, as ``number`` takes it; NaN is one too."""
    scalar = _scalar(value)
    return isinstance(scalar, Real) and not isinstance(scalar, bool)


def exact(x: float) -> str:
    """Return the shortest text that reads back as the same float.

    >>> exact(30.0), exact(10 / 3)
    ('30', '3.3333333333333335')
    """
    return f"{x:g}" if float(f"{x:g}") == x else repr(x)


def plain(value: Any) -> Any:
    """Return a scalar of NumPy or PyTorch as Python's, and anything else as it is.

    >>> plain(np.float32(0.5)), plain("margin")
    (0.5, 'margin')
    """
    is_array = isinstance(value, Tensor | np.ndarray | np.generic)
    return value.item() if is_array and value.ndim == 0 else value


def _scalar(value: Any) -> Any:
    """Return what an array or tensor of no axes holds, None for one with axes, others as is."""
    if not isinstance(value, Tensor | np.ndarray):
        return value
    try:
        return value.item() if value.ndim == 0 else None
    except RuntimeError:  # a tensor without values, on the device "meta"
        return None


def _wrong(name: str, value: Any, kind: str, bounds: dict[str, Any], unit: str = "") -> InputError:
    limits = [_limit(side, bound) for side, bound in bounds.items() if bound is not None]
    wanted = " ".join([kind, " and ".join(limits)]).strip() + (f", in {unit}" if unit else "")
    return InputError(f"{name} = {_shown(value)}: wanted {wanted}")


def _limit(side: str, bound: float) -> str:
    """Return ">= 0", "< 2^32": seeds have limits that are powers of two."""
    if isinstance(bound, int) and abs(bound) > 2**16:
        if side == "most" and not bound & (bound + 1):
            return f"< 2^{bound.bit_length()}"
        if side == "least" and not -bound & (-bound - 1):
            return f">= -2^{(-bound).bit_length() - 1}"
    sign = {"above": ">", "least": ">=", "below": "<", "most": "<="}[side]
    return f"{sign} {bound}" if isinstance(bound, int) else f"{sign} {bound:g}"


def _shown(value: Any) -> str:
    """Return a value as one short line."""
    if isinstance(value, Tensor | np.ndarray) and value.ndim:
        return f"{type(value).__name__} of shape {tuple(value.shape)}"
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes no int of more than 4300 digits
        return f"an int of {value.bit_length()} bits" if isinstance(value, int) else "?"
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
