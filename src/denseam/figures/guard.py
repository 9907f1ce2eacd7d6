"""What a guard sees: scores of clean images and of junk, and error against coverage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from denseam.errors import InputError
from denseam.figures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 60
_LONGEST = 30  # characters of a name
_SHOWN = 1000  # points of a coverage curve


@dataclass(frozen=True)
class GuardCurves:
    """Scores of R sets of images, the first one clean, and Q curves of risk against coverage.

    Raises:
        InputError: when a set has no finite score, or two sets the same name.
    """

    names: tuple[str, ...]  # R sets, at most 8
    scores: tuple[Tensor, ...]  # R tensors (M,), higher for more junk; infinite ones are left out
    threshold: float  # the largest score that is accepted
    curves: tuple[str, ...] = ()  # Q names
    coverage: tuple[Tensor, ...] = ()  # Q tensors (M,), shares of the images accepted, rising to 1
    risk: tuple[Tensor, ...] = ()  # Q tensors (M,), errors among them

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise InputError(f"names = {self.names}: wanted different ones")
        for name, scores in zip(self.names, self.scores, strict=False):
            if not bool(scores.isfinite().any()):
                raise InputError(f"{name}: no finite score")


def plot_scores(record: GuardCurves, ax: "Axes") -> None:
    """Draw histograms of the scores in % of each set, and the threshold."""
    finite = [scores[scores.isfinite()].double() for scores in record.scores]
    curves = canvas.curves(_short(record.names), finite)
    # A few immense scores would press all others into one bin.
    low = min(float(scores.min()) for scores in finite)
    high = max(float(torch.quantile(scores, 0.95)) for scores in finite)
    middle = float(finite[0].median())
    high = min(max(high, record.threshold), middle + 8 * (record.threshold - middle))
    edges = torch.linspace(low, high, _BINS + 1, dtype=torch.float64)
    for look, scores in curves:
        counts = torch.histogram(scores.clamp(max=high), edges).hist
        shares = (100 * counts / len(scores)).tolist()
        ax.stairs(shares, edges.tolist(), **_without_marks(look))
    ax.axvline(record.threshold, color="black", linewidth=0.8)
    ax.annotate(
        "junk", (record.threshold, 1), (3, -2), xycoords=("data", "axes fraction"),
        textcoords="offset points", va="top",
    )  # fmt: skip
    ax.set_yscale("log")
    ax.set(xlim=(low, high), xlabel="score (the last bin holds all above it)",
           ylabel="% of images in a bin")  # fmt: skip
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1))


def plot_coverage(record: GuardCurves, ax: "Axes") -> None:
    """Draw the error among the accepted images, in %, against the share of images accepted."""
    pairs = list(zip(record.coverage, record.risk, strict=True))
    for look, (coverage, risk) in canvas.curves(_short(record.curves), pairs) if pairs else ():
        step = max(1, len(coverage) // _SHOWN)
        # The first images make an error of 0 or 100 %: nothing that a curve should show.
        kept = coverage >= 0.5
        x, y = (100 * each[kept].flip(0)[::step] for each in (coverage, risk))
        ax.plot(x.tolist(), y.tolist(), **_without_marks(look))
    ax.set_xlim(50, 100)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("% of images accepted")
    ax.set_ylabel("% of them labelled wrongly")
    if len(record.curves) > 1:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1))


def record_of(shown: Any) -> GuardCurves:
    """Return the record of a guard, verdicts or an evaluation: what their ``_curves`` says."""
    return GuardCurves(**shown._curves())  # noqa: SLF001 (a promise of ``_figure``)


def plot(record: Any, axes: Any) -> None:
    """Draw scores on ``axes[0]`` and, where there are curves of it, coverage on ``axes[1]``.

    Args:
        record: ``GuardCurves``, a calibrated guard, its verdicts, or its evaluation.
        axes: two Axes; one, not in a list, where there is no curve.
    """
    record = canvas.as_record(record, GuardCurves, record_of)
    panels = axes if isinstance(axes, Sequence) else (axes,)
    plot_scores(record, panels[0])
    if len(panels) > 1:
        plot_coverage(record, panels[1])


def layout(record: GuardCurves) -> dict[str, Any]:
    """Return size, inches, and panels of the figure."""
    if not record.curves:
        return {"size": (4.2, 3.4)}
    return {"size": (6.3, 3.4), "columns": 2, "widths": (1.2, 1)}


save = canvas.saver(plot, layout, GuardCurves, record_of)


def _short(names: Sequence[str]) -> list[str]:
    """Return names for a legend, of long ones the end: that of a file tells more."""
    return [name if len(name) <= _LONGEST else f"...{name[3 - _LONGEST :]}" for name in names]


def _without_marks(look: dict[str, Any]) -> dict[str, Any]:
    return {name: look[name] for name in ("color", "linestyle", "label")}
