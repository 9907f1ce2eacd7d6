"""Fig. 8: error and confidence against the size of one step along the sign of the gradient."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from denseam.figures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = 12  # about as many markers on a curve as can be told apart


@dataclass(frozen=True, eq=False)
class SignCurves:
    """Errors of models on images that were moved against themselves, and their confidence there."""

    names: tuple[str, ...]  # R models, like "n = 2"; at most 8
    eps: tuple[float, ...]  # (E,) sizes of the move, Linf, visible units, rising
    errors: Tensor  # (R, E) floating, fractions of the images
    intervals: Tensor  # (R, E, 2) floating, 95 % intervals of the errors
    confidences: Tensor  # (R, E) floating: mean confidence on errors, NaN without errors
    counts: int  # images that each error is measured on

    def __post_init__(self) -> None:
        sizes = len(self.names), len(self.eps)
        canvas.check_shape("errors", self.errors, *sizes)
        canvas.check_shape("intervals", self.intervals, *sizes, 2)
        canvas.check_shape("confidences", self.confidences, *sizes)


def plot_errors(record: SignCurves, ax: "Axes") -> None:
    """Draw error in % against eps, its 95 % interval as a band."""
    _draw_errors(record, ax)
    canvas.legend(ax)


def plot_confidences(record: SignCurves, ax: "Axes") -> None:
    """Draw the mean confidence of wrongly labelled images in % against eps."""
    _draw(record, record.confidences, ax)
    ax.set_ylabel("mean confidence, %\n(wrongly labelled images)")
    canvas.legend(ax)


def plot(record: SignCurves, axes: Sequence["Axes"]) -> None:
    """Draw errors on ``axes[0]`` and confidences on ``axes[1]``, which has the legend of both."""
    _draw_errors(record, axes[0])
    plot_confidences(record, axes[1])


layout = canvas.fixed(size=(6.3, 2.4), columns=2)
save = canvas.saver(plot, layout)


def _draw_errors(record: SignCurves, ax: "Axes") -> None:
    _draw(record, record.errors, ax)
    for look, interval in zip(canvas.CURVES, 100 * record.intervals.cpu(), strict=False):
        low, high = interval.T.tolist()
        ax.fill_between(record.eps, low, high, color=look["color"], alpha=0.2, linewidth=0)
    ax.set_ylabel(f"error, % of {record.counts} images\n(band: 95 % interval)")


def _draw(record: SignCurves, values: Tensor, ax: "Axes") -> None:
    """Draw one curve for each model, fractions (R, E) in %."""
    for look, row in canvas.curves(record.names, values.tolist()):
        percent = [100 * value for value in row]
        ax.plot(record.eps, percent, markevery=_marked(percent), **look)
    ax.set_ylim(-3, 103)
    ax.set_xlabel("$\\epsilon$ ($L_\\infty$), visible units\n(2: from black to white)")


def _marked(values: Sequence[float]) -> list[int]:
    """Return the points to mark: some of many, and those between gaps, which have no line."""
    every = math.ceil(len(values) / _MARKS)
    gap = [True, *map(math.isnan, values), True]
    alone = {i for i in range(len(values)) if gap[i] and gap[i + 2]}
    return sorted(alone | set(range(0, len(values), every)))
