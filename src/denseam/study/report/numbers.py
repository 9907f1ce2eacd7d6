"""Numbers as text, everywhere in the report.

The interval says how many digits mean something: the larger of its two sides keeps two significant
digits while they are at most 35, else one (the rule of the Particle Data Group); percentages of 1
and more keep two decimals at most. A number without an interval keeps three digits; a whole number
(a Python int) is exact.
"""

import math
from typing import NamedTuple

_SIGNIFICANT = 3
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SMALLEST, _LARGEST = 1e-4, 1e9  # outside of these, powers of ten are written
_PERCENT_PLACES = 2  # of 1 % and more: 98.52, however sure
_NBSP = "\u00a0"
_TIMES = "\u00d7"


class Quantity(NamedTuple):
    """A number as text; ``str`` gives all of it."""

    main: str  # with its unit: "1.53 %"
    interval: str | None  # without: "1.31 to 1.79"

    def __str__(self) -> str:
        return self.main if self.interval is None else f"{self.main} ({self.interval})"


def quantity(value: float, low: float | None, high: float | None, unit: str) -> Quantity:
    """Return a value, its interval and its unit as text.

    Args:
        value: the measurement; with unit "%" a fraction of 1.
        low: lower end of the interval, or None where there is none.
        high: upper end, or None.
        unit: written behind the value; "" for none.
    """
    percent = unit == "%"
    tail = f"{_NBSP}{unit}" if unit else ""
    if low is None or high is None:
        return Quantity(_alone(100 * value if percent else value, percent=percent) + tail, None)
    scale = 100 if percent else 1
    value, low, high = scale * value, scale * low, scale * high
    side = max(value - low, high - value)
    exponent = _exponent(max(abs(value), abs(low), abs(high)))
    ten = 10.0**exponent
    places = _places_of_side(side / ten) if side > 0 else _places(value / ten)
    if percent and max(abs(value), abs(low), abs(high)) >= 1:
        places = min(places, _PERCENT_PLACES)
    while places and all(_is_round(x / ten, places - 1) for x in (value, low, high)):
        places -= 1  # they were given with fewer
    main, bottom, top = (_fixed(x / ten, places) + _power(exponent) for x in (value, low, high))
    return Quantity(main + tail, f"{bottom} to {top}")


def plain(value: float) -> str:
    """Return a number without unit or interval, such as a count, as text."""
    return _alone(value, percent=False)


def duration(seconds: float) -> str:
    """Return seconds as people say them: "8.3 s", "4 min 10 s", "2 h 05 min"."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f}{_NBSP}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}{_NBSP}s"
    if whole < 3600:
        return f"{whole // 60}{_NBSP}min {whole % 60:02d}{_NBSP}s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,}{_NBSP}h {minutes % 60:02d}{_NBSP}min"


def _alone(value: float, *, percent: bool) -> str:
    if isinstance(value, int):
        return _fixed(value, 0)
    exponent = _exponent(abs(value))
    places = _places(value / 10.0**exponent)
    if percent and 90 < value < 100:  # 99.98 is not 100
        places = max(places, min(2, _places(100 - value)))
    text = _fixed(value / 10.0**exponent, places)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text + _power(exponent)


def _places(value: float) -> int:
    """Return the decimal places that leave three significant digits."""
    return 0 if value == 0 else max(0, _SIGNIFICANT - 1 - math.floor(math.log10(abs(value))))


def _places_of_side(side: float) -> int:
    """Return the decimal places that leave one or two significant digits of a side."""
    first = math.floor(math.log10(side))
    two = side / 10.0**first < 3.55
    return max(0, int(two) - first)


def _is_round(value: float, places: int) -> bool:
    return math.isclose(value, round(value, places), rel_tol=1e-12)


def _exponent(size: float) -> int:
    return 0 if size == 0 or _SMALLEST <= size < _LARGEST else math.floor(math.log10(size))


def _power(exponent: int) -> str:
    return f" {_TIMES} 10{str(exponent).translate(_SUPERSCRIPTS)}" if exponent else ""


def _fixed(value: float, places: int) -> str:
    text = f"{value:,.{places}f}"
    if text.startswith("-"):
        text = text[1:] if not text.strip("-0.,") else f"\u2212{text[1:]}"
    return text
