"""Fig. 4: the way across a decision boundary, as two objectives and as images."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from denseam.errors import InputError
from denseam.figures import canvas
from denseam.figures.mosaic import draw_mosaic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = ("clean", "boundary", "final")
_BEYOND = 4  # crossings


@dataclass(frozen=True, eq=False)
class BoundaryTrace:
    """One image on its way to another class."""

    name: str  # of the model, like "n = 30"
    log_top: tuple[float, ...]  # (S,) log C of the first class, after 0, 1, ..., S - 1 steps
    log_target: tuple[float, ...]  # (S,) log C of the class of the descent, at the same images
    crossing: float | None  # number of steps, with a fraction, to where the two are equal
    step: float  # eps, the L2 length of a step, visible units
    images: Tensor  # (3, H, W) floating, visible units [-1, 1]: clean, on the boundary, at the end
    labels: tuple[str, str, str]  # of these three, like ("5", "5 / 3", "3")

    def __post_init__(self) -> None:
        canvas.check_pictures("images", self.images, 3)


def plot_objectives(trace: BoundaryTrace, ax: "Axes") -> None:
    """Draw both objectives against the length of the path, and where they cross.

    Convergence takes many times as long as crossing, so the path is drawn up to ``_BEYOND`` times
    the crossing only; the images of ``plot_triplets`` show where it ends.
    """
    steps = len(trace.log_top)
    if trace.crossing:
        steps = min(steps, math.ceil(_BEYOND * trace.crossing) + 1)
    path = [number * trace.step for number in range(steps)]
    top, target = ({**look, "marker": ""} for look in canvas.CURVES[:2])
    ax.plot(path, trace.log_top[:steps], **{**top, "label": r"$\log\,C_\mathrm{top}$"})
    ax.plot(path, trace.log_target[:steps], **{**target, "label": r"$\log\,C_\mathrm{target}$"})
    if trace.crossing is not None:
        where = trace.crossing * trace.step
        ax.axvline(where, color="0.4", linewidth=0.7, zorder=0)
        # Above the Axes, where no curve can run through it.
        ax.text(where, 1.02, f"boundary at {where:.2f}", transform=ax.get_xaxis_transform(),
                ha="center", va="bottom", color="0.25", fontsize="small")  # fmt: skip
    ax.set_xlabel("path length, visible units (2 = black to white)")
    ax.set_ylabel(f"log objective, {canvas.literal(trace.name)}")
    # Higher still, and as wide as the Axes at most: the images below keep their width.
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=1.7)


def plot_triplets(traces: Sequence[BoundaryTrace], ax: "Axes") -> None:
    """Draw clean, boundary and final image of every trace, each above its label.

    Each name is a row; several traces of one name stand side by side in it.

    Raises:
        InputError: when there is no trace, or the images differ in size.
    """
    rows = _by_name(traces)
    sizes = {tuple(trace.images.shape[1:]) for trace in traces}
    if len(sizes) > 1:
        raise InputError(f"images of one size go into one figure, got {sorted(sizes)}")
    most, (H, W) = max(map(len, rows.values())), sizes.pop()
    images = torch.full((len(rows), 3 * most, H, W), torch.nan)
    for r, row in enumerate(rows.values()):
        for t, trace in enumerate(row):
            images[r, 3 * t : 3 * t + 3] = trace.images.detach()
    mosaic = draw_mosaic(ax, images, tuple(rows), _COLUMNS * most, row_gap=0.42, group=3)
    for r, row in enumerate(rows.values()):
        for c, label in enumerate(label for trace in row for label in trace.labels):
            x, y = mosaic.centre(r, c)
            ax.annotate(canvas.literal(label), (x, y + H / 2), (0, -1.5), ha="center", va="top",
                        textcoords="offset points", fontsize="small")  # fmt: skip


def plot(traces: Sequence[BoundaryTrace], axes: Sequence["Axes"]) -> None:
    """Draw the objectives of the first trace on ``axes[0]``, triplets of all on ``axes[1]``.

    Raises:
        InputError: when there is no trace, or the images differ in size.
    """
    plot_triplets(traces, axes[1])
    plot_objectives(traces[0], axes[0])


def save(traces: Sequence[BoundaryTrace], path: str | os.PathLike[str]) -> None:
    """Write the figure to a .png, .svg or .pdf file; errors as in ``plot`` and ``canvas.save``."""
    rows = _by_name(traces)
    most = max(map(len, rows.values()))
    width, height = 0.7 + 1.9 * most, 0.35 + 0.75 * len(rows)
    frame: dict[str, Any] = (
        {"size": (3.3 + width, max(2.4, height)), "columns": 2, "widths": (3.3, width)}
        if most == 1
        else {"size": (width, 2.2 + height), "rows": 2, "heights": (2.2, height)}
    )
    canvas.save(path, lambda *axes: plot(traces, axes), **frame)


def _by_name(traces: Sequence[BoundaryTrace]) -> dict[str, list[BoundaryTrace]]:
    """Return the traces of each name, in the order in which they came."""
    if not traces:
        raise InputError("no trace to draw, wanted one or more")
    rows: dict[str, list[BoundaryTrace]] = {}
    for trace in traces:
        rows.setdefault(trace.name, []).append(trace)
    return rows
