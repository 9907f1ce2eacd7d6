"""Fig. 6: error against confidence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from denseam.analysis import ConfidenceBins
from denseam.figures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class ConfidenceCurves:
    """Error against confidence of R models."""

    names: tuple[str, ...]  # R models, like "n = 2"; at most 8
    bins: tuple[ConfidenceBins, ...]  # R results of ``analysis.confidence_bins``


def plot_errors(record: ConfidenceCurves, ax: "Axes") -> None:
    """Draw the error of every bin at the mean confidence of its images, with 95 % intervals.

    Bins without images are left out. The gray line is where confidence is accuracy.
    """
    ax.plot([0, 100], [100, 0], color="0.7", linewidth=0.7, zorder=0, label="calibrated")
    for look, bins in canvas.curves(record.names, record.bins):
        shown = _filled(bins)
        percent = [100 * bins.errors[j] for j in shown]
        away = [[100 * abs(bins.intervals[j][side] - bins.errors[j]) for j in shown]
                for side in (0, 1)]  # fmt: skip
        sure = [100 * bins.confidences[j] for j in shown]
        ax.errorbar(sure, percent, away, elinewidth=0.8, **look)
    ylabel = "error, % of a bin's images\n(bars: 95 % interval)"
    ax.set(xlim=(-2, 102), ylim=(-3, 103), ylabel=ylabel)
    canvas.legend(ax)


def plot_counts(record: ConfidenceCurves, ax: "Axes") -> None:
    """Draw how many images each of these errors is measured on, on a logarithmic scale."""
    for look, bins in canvas.curves(record.names, record.bins):
        shown = _filled(bins)
        ax.plot([100 * bins.confidences[j] for j in shown], [bins.counts[j] for j in shown],
                **{**look, "linewidth": 0.8, "markersize": 2.5})  # fmt: skip
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.7)
    ax.set(xlim=(-2, 102), ylabel="images")


def record_of(bins: ConfidenceBins, *, name: str = "model") -> ConfidenceCurves:
    """Return the record of one model's bins."""
    return ConfidenceCurves((name,), (bins,))


def plot(record: Any, axes: Sequence["Axes"]) -> None:
    """Draw errors on ``axes[0]`` and, below it, the numbers of images on ``axes[1]``."""
    record = canvas.as_record(record, ConfidenceCurves, record_of)
    plot_errors(record, axes[0])
    axes[0].tick_params(labelbottom=False)
    plot_counts(record, axes[1])
    axes[1].set_xlabel("mean confidence of a bin, %")


layout = canvas.fixed(size=(4.3, 3.4), rows=2, heights=(3, 1))
save = canvas.saver(plot, layout, ConfidenceCurves, record_of)


def _filled(bins: ConfidenceBins) -> list[int]:
    """Return the bins with images."""
    return [j for j, count in enumerate(bins.counts) if count]
