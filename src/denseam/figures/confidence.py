"""Fig. 6: the surer a model is, the rarer it errs."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from denseam.analysis import ConfidenceBins
from denseam.errors import InputError
from denseam.figures import canvas
from denseam.figures.checks import check_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ConfidenceCurves", "plot", "plot_counts", "plot_errors", "save"]


@dataclass(frozen=True)
class ConfidenceCurves:
    """Error against confidence of R models.

    Attributes:
        names: R models, like "n = 2"; at most 8, more curves cannot be told apart.
        bins: R times what ``analysis.confidence_bins`` found.

    Raises:
        InputError: when any of it does not fit together.
    """

    names: tuple[str, ...]
    bins: tuple[ConfidenceBins, ...]

    def __post_init__(self) -> None:
        check_curves(self.names, self.bins, ConfidenceBins, "bins")
        for name, each in zip(self.names, self.bins, strict=True):
            if sum(each.counts) < 1:
                raise InputError(f"{name}: bins of no image at all")


def plot_errors(record: ConfidenceCurves, ax: "Axes") -> None:
    """Draw the error of every bin at the mean confidence of its images, with 95 % intervals.

    Bins without images are left out. The gray line is where confidence is accuracy.
    """
    ax.plot([0, 100], [100, 0], color="0.7", linewidth=0.7, zorder=0, label="calibrated")
    for name, bins, style in zip(record.names, record.bins, canvas.CURVES, strict=False):
        shown = [j for j, count in enumerate(bins.counts) if count]
        percent = [100 * bins.errors[j] for j in shown]
        away = [[100 * abs(bins.intervals[j][side] - bins.errors[j]) for j in shown]
                for side in (0, 1)]  # fmt: skip
        ax.errorbar([100 * bins.confidences[j] for j in shown], percent, away,
                    label=canvas.literal(name), elinewidth=0.8, **style)  # fmt: skip
    ax.set_xlim(-2, 102)
    ax.set_ylim(-3, 103)
    ax.set_ylabel("error, % of a bin's images\n(bars: 95 % interval)")
    _legend(ax)


def plot_counts(record: ConfidenceCurves, ax: "Axes") -> None:
    """Draw how many images each of these errors is measured on, on a logarithmic scale."""
    for bins, style in zip(record.bins, canvas.CURVES, strict=False):
        shown = [j for j, count in enumerate(bins.counts) if count]
        ax.plot([100 * bins.confidences[j] for j in shown], [bins.counts[j] for j in shown],
                **{**style, "linewidth": 0.8, "markersize": 2.5})  # fmt: skip
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.7)
    ax.set_xlim(-2, 102)
    ax.set_ylabel("images")


def plot(record: ConfidenceCurves, axes: Sequence["Axes"]) -> None:
    """Draw errors on ``axes[0]`` and, below it, the numbers of images on ``axes[1]``."""
    plot_errors(record, axes[0])
    axes[0].tick_params(labelbottom=False)
    plot_counts(record, axes[1])
    axes[1].set_xlabel("mean confidence of a bin, %")


def save(record: ConfidenceCurves, path: str | os.PathLike[str]) -> None:
    """Write the figure to a .png, .svg or .pdf file; errors as in ``canvas.save``."""
    canvas.save(path, lambda *axes: plot(record, axes), size=(4.3, 3.4), rows=2, heights=(3, 1))


def _legend(ax: "Axes") -> None:
    """To the right of the Axes, where no curve can run into it."""
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
