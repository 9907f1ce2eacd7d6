# ruff: noqa: RUF001 - minus and times signs, as on the page
"""How the report writes numbers, and how large it shows pictures."""

import struct

import pytest

from denseam.study.report import numbers
from denseam.study.report.pages import embed

from .sample_results import empty_png


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "expected"),
    [
        (0.0153, 0.01307, 0.01791, "%", "1.53 % (1.31 to 1.79)"),
        (1.0, 0.99962, 1.0, "%", "100.00 % (99.96 to 100.00)"),
        (0.62, 0.5895, 0.6496, "%", "62.0 % (59.0 to 65.0)"),
        (0.0341, 0.0304, 0.0378, "%", "3.4 % (3.0 to 3.8)"),
        (0.94, 0.92, 0.96, "", "0.94 (0.92 to 0.96)"),
        (1234.5, 1200.25, 1260.75, "s", "1,234 s (1,200 to 1,261)"),
        (-0.5, -0.8, 0.002, "", "−0.5 (−0.8 to 0.0)"),
        (5.0, 5.0, 5.0, "px", "5 px (5 to 5)"),
        (1.234e-7, 1.1e-7, 1.3e-7, "s", "1.23 × 10⁻⁷ s (1.10 × 10⁻⁷ to 1.30 × 10⁻⁷)"),
        (0.1 + 0.2, None, None, "", "0.3"),
        (0.985, None, None, "%", "98.5 %"),
        (0.9998, None, None, "%", "99.98 %"),
        (0.50333, None, None, "%", "50.3 %"),
        (8121, None, None, "", "8,121"),
        (8121.7, None, None, "", "8,122"),
        (0, None, None, "%", "0 %"),
        (8.24e-5, None, None, "s", "8.24 × 10⁻⁵ s"),
        (-0.0, None, None, "", "0"),
    ],
)
def test_numbers_are_written_as_their_interval_says(value, low, high, unit, expected):
    assert str(numbers.quantity(value, low, high, unit)).replace("\u00a0", " ") == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (2.04, "2.0 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (731, "12 min 11 s"),
        (3599.7, "1 h 00 min"),
        (45000, "12 h 30 min"),
    ],
)
def test_durations(seconds, expected):
    assert numbers.duration(seconds).replace("\u00a0", " ") == expected


def test_pictures_are_as_large_as_their_resolution_says():
    dots = round(300 / 0.0254)
    at_300 = empty_png(1890, 900, struct.pack(">I4sIIB4s", 9, b"pHYs", dots, dots, 1, b""))
    assert embed("a", at_300)[1:] == (726, 346)
    assert embed("a", empty_png(1000, 10))[1:] == (600, 6)
