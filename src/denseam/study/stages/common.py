"""What several stages say alike."""

from collections.abc import Callable

from torch import Tensor

from denseam.evaluation import wilson_interval
from denseam.study.findings import Row, Unit

__all__ = ["mean", "part_of", "proportion"]


def proportion(id: str, what: str, count: int, total: int, command: str) -> Row:  # noqa: A002
    """``count`` of ``total``, with its 95 % interval (Wilson)."""
    low, high = wilson_interval(count, total)
    return Row(id, what, count / total, command, "%", low, high, total)


def mean(
    id: str,  # noqa: A002
    what: str,
    values: Tensor,  # (M,)
    command: str,
    unit: Unit = "",
) -> list[Row]:
    """One row: the mean of M values, with a 95 % interval from their spread. No row for no value.

    Fractions stay in [0, 1].
    """
    if not len(values):
        return []
    exact = values.double()
    middle = float(exact.mean())
    if len(exact) == 1:
        return [Row(id, what, middle, command, unit, count=1)]
    half = 1.959964 * float(exact.std()) / len(exact) ** 0.5
    low, high = middle - half, middle + half
    if unit == "%":
        low, high = max(0.0, low), min(1.0, high)
    return [Row(id, what, middle, command, unit, low, high, len(exact))]


def part_of(
    progress: Callable[[int, int], None], index: int, parts: int
) -> Callable[[int, int], None]:
    """Progress of one of several equal parts as progress of the whole."""
    return lambda done, total: progress(index * total + done, parts * total)
