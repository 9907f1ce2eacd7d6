"""Fig. 8: error and confidence against the size of one step along the sign of the gradient."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from torch import Tensor

from denseam.data.validate import SLACK
from denseam.errors import InputError
from denseam.figures import canvas
from denseam.figures.checks import check_fractions, check_names, check_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["SignCurves", "plot", "plot_confidences", "plot_errors", "save"]

_MARKS = 12  # about as many markers on a curve as can be told apart


@dataclass(frozen=True, eq=False)
class SignCurves:
    """How models fare on images that were deformed against themselves.

    Attributes:
        names: R models, like "n = 2"; at most 8, more curves cannot be told apart.
        eps: (E,) sizes of the deformation, Linf, visible units, rising.
        errors: (R, E) floating, fractions of the images.
        intervals: (R, E, 2) floating, 95 % intervals of the errors.
        confidences: (R, E) floating: mean confidence on the wrongly labelled images, NaN exactly
            where there are none.
        counts: how many images each error is measured on.

    Raises:
        InputError: when any of it does not fit together.
    """

    names: tuple[str, ...]
    eps: tuple[float, ...]
    errors: Tensor
    intervals: Tensor
    confidences: Tensor
    counts: int

    def __post_init__(self) -> None:
        check_names(self.names, "names")
        check_numbers(self.eps, "eps")
        R, E = len(self.names), len(self.eps)
        if len(canvas.CURVES) < R:
            raise InputError(f"{R} curves cannot be told apart: at most {len(canvas.CURVES)}")
        if self.eps[0] < 0 or any(a >= b for a, b in pairwise(self.eps)):
            raise InputError(f"eps must rise from 0 or more, got {self.eps}")
        check_fractions(self.errors, (R, E), "errors")
        check_fractions(self.intervals, (R, E, 2), "intervals")
        check_fractions(self.confidences, (R, E), "confidences")
        low, high = self.intervals.unbind(dim=2)
        # Written so that NaN fails too.
        inside = (low <= self.errors + SLACK) & (self.errors <= high + SLACK)
        if not bool(inside.all()):
            raise InputError("every error must be a number within its interval")
        if not self.confidences.isnan().equal(self.errors == 0):
            raise InputError("confidences must be NaN where there is no error, and only there")
        if not isinstance(self.counts, int) or self.counts < 1:
            raise InputError(f"counts = {self.counts}: wanted the number of images, >= 1")


def plot_errors(record: SignCurves, ax: "Axes") -> None:
    """Draw error in % against eps, its 95 % interval as a band."""
    _draw_errors(record, ax)
    _legend(ax)


def plot_confidences(record: SignCurves, ax: "Axes") -> None:
    """Draw the mean confidence of wrongly labelled images in % against eps."""
    _curves(record, record.confidences, ax)
    ax.set_ylabel("mean confidence, %\n(wrongly labelled images)")
    _legend(ax)


def plot(record: SignCurves, axes: Sequence["Axes"]) -> None:
    """Draw errors on ``axes[0]`` and confidences on ``axes[1]``, which has the legend of both."""
    _draw_errors(record, axes[0])
    plot_confidences(record, axes[1])


def save(record: SignCurves, path: str | os.PathLike[str]) -> None:
    """Write the figure to a .png, .svg or .pdf file; errors as in ``canvas.save``."""
    canvas.save(path, lambda *axes: plot(record, axes), size=(6.3, 2.4), columns=2)


def _draw_errors(record: SignCurves, ax: "Axes") -> None:
    _curves(record, record.errors, ax)
    for style, interval in zip(canvas.CURVES, 100 * record.intervals.cpu(), strict=False):
        low, high = interval.T.tolist()
        ax.fill_between(record.eps, low, high, color=style["color"], alpha=0.2, linewidth=0)
    ax.set_ylabel(f"error, % of {record.counts} images\n(band: 95 % interval)")


def _legend(ax: "Axes") -> None:
    """To the right of the Axes, where no curve can run into it."""
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _curves(record: SignCurves, values: Tensor, ax: "Axes") -> None:
    """One curve for each model, fractions (R, E) in %."""
    for name, row, style in zip(record.names, values.tolist(), canvas.CURVES, strict=False):
        percent = [100 * value for value in row]
        ax.plot(
            record.eps, percent, label=canvas.literal(name), markevery=_marked(percent), **style
        )
    ax.set_ylim(-3, 103)
    ax.set_xlabel(r"$\epsilon$ ($L_\infty$), visible units (2 = black to white)")


def _marked(values: Sequence[float]) -> list[int]:
    """Which points get a marker: some of many, and those alone between gaps, which have no line."""
    every = math.ceil(len(values) / _MARKS)
    gap = [True, *map(math.isnan, values), True]
    alone = {i for i in range(len(values)) if gap[i] and gap[i + 2]}
    return sorted(alone | set(range(0, len(values), every)))
