"""Numbers of a recipe: those of Python or NumPy checked and made Python's, and exactly in words."""

import math
import operator
from numbers import Real
from typing import Any

from denseam.errors import InputError

__all__ = ["exact", "number", "whole"]


def whole(name: str, value: Any, least: int) -> int:
    """An int; InputError for what is no whole number, or a smaller one."""
    try:
        found = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        found = None
    if found is None or found < least:
        raise InputError(f"{name} = {value!r}: wanted a whole number >= {least}")
    return found


def number(name: str, value: Any, low: float, high: float, *, open_low: bool) -> float:
    """A finite float; InputError for what is no number, or one out of range."""
    try:
        real = isinstance(value, Real) and not isinstance(value, bool)
        found = float(value) if real else math.nan
    except OverflowError:
        found = math.inf
    if not (math.isfinite(found) and (low < found if open_low else low <= found) and found <= high):
        least = f"{'>' if open_low else '>='} {low:g}"
        most = f" and <= {high:g}" if math.isfinite(high) else ""
        raise InputError(f"{name} = {value!r}: wanted a number {least}{most}")
    return found


def exact(x: float) -> str:
    """As short as it reads back the same."""
    return f"{x:g}" if float(f"{x:g}") == x else repr(x)
