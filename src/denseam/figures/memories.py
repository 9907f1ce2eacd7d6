"""Fig. 2: what memories look like, a grid of them for each power."""

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from denseam.checks import whole
from denseam.classifier import Classifier
from denseam.errors import InputError
from denseam.figures import canvas
from denseam.figures.mosaic import folded, pasted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INCHES = 0.285  # of a memory and the gap behind it


@dataclass(frozen=True, eq=False)
class MemoryGrids:
    """Memories of R models, the same number of each."""

    names: tuple[str, ...]  # R models, like "n = 2"
    images: Tensor  # (R, M, H, W) or (R, M, 3, H, W) in [-1, 1]: visible parts of M memories

    def __post_init__(self) -> None:
        colours = (3,) if self.images.ndim == 5 else ()
        canvas.check_pictures("images", self.images, len(self.names), None, *colours)

    @property
    def columns(self) -> int:
        """Memories in a row of a grid: it is about as wide as high."""
        return math.ceil(math.sqrt(self.images.shape[1]))

    @property
    def rows(self) -> int:
        """Rows of a grid."""
        return math.ceil(self.images.shape[1] / self.columns)


def record_of(
    model: Classifier, *, count: int = 25, shape: tuple[int, ...] | None = None
) -> MemoryGrids:
    """Return the first memories of a model.

    Args:
        model: any network of the package.
        count: how many memories.
        shape: (H, W) or (3, H, W) of an image; by default as the model was trained, or a square.
            Numbers that are no pixels are laid out line by line.
    """
    rows = model.visible_memories.detach()[: whole("count", count)].float().cpu()
    return MemoryGrids((f"n = {model.power:g}",), folded(rows, shape or model.picture_shape)[None])


def plot(record: Any, ax: "Axes", *, across: int | None = None) -> None:
    """Draw a grid for each model under its name: blue -1, white 0, red +1, as the bar says.

    Memories of colour pictures are drawn in colour, without a bar.

    Args:
        record: ``MemoryGrids``, or a model.
        ax: Axes to draw on; its ticks, spines and limits become those of the grids.
        across: grids side by side; by default all of them.

    Raises:
        InputError: for less than one grid side by side.
    """
    record = canvas.as_record(record, MemoryGrids, record_of)
    wide, columns = _across(record, across), record.columns
    M, (H, W) = record.images.shape[1], record.images.shape[-2:]
    gap = max(1, math.ceil(0.08 * W))
    pitch = record.rows * (H + gap) + math.ceil(0.6 * H), columns * (W + gap) + 3 * gap
    corners = []
    for r, name in enumerate(record.names):
        top, left = (r // wide) * pitch[0], (r % wide) * pitch[1]
        corners += [(top + (m // columns) * (H + gap), left + (m % columns) * (W + gap))
                    for m in range(M)]  # fmt: skip
        middle = left + (columns * (W + gap) - gap - 1) / 2
        ax.annotate(canvas.literal(name), (middle, top - 0.5), (0, 2.5), textcoords="offset points",
                    ha="center", va="bottom")  # fmt: skip
    picture = pasted(record.images.flatten(0, 1), corners)
    drawn = canvas.show(ax, picture, "RdBu_r")
    ax.set_axis_off()
    if picture.ndim == 3:
        return
    # Within the Axes' own coordinates: as high as the grids, whatever shape the figure has.
    width = picture.shape[1]
    bar_ax = ax.inset_axes((1 + 0.35 * W / width, 0, 0.3 * W / width, 1))
    bar = ax.figure.colorbar(drawn, cax=bar_ax, ticks=(-1, 0, 1))
    bar.ax.set_yticklabels(("\N{MINUS SIGN}1", "0", "+1"))
    bar.outline.set_linewidth(0.6)


def layout(record: MemoryGrids, across: int | None = None) -> dict[str, Any]:
    """Return the size of the figure, inches."""
    wide = _across(record, across)
    high = math.ceil(len(record.names) / wide)
    size = (
        0.5 + _INCHES * wide * (record.columns + 0.3),
        0.27 + 1.02 * _INCHES * (high * (record.rows + 0.62) - 0.62),
    )
    return {"size": size}


def save(record: Any, path: str | os.PathLike[str], *, across: int | None = None) -> None:
    """Write the figure to a .png, .svg or .pdf file; errors as in ``plot`` and ``canvas.save``.

    Four grids of 25 are as wide as a page; ``across=2`` makes them as wide as a column.
    """
    record = canvas.as_record(record, MemoryGrids, record_of)
    canvas.save(path, lambda ax: plot(record, ax, across=across), **layout(record, across))


def _across(record: MemoryGrids, across: int | None) -> int:
    """Return the number of grids side by side, never more than there are."""
    if across is not None and across < 1:
        raise InputError(f"across = {across}: wanted 1 grid or more side by side")
    return min(across or len(record.names), len(record.names))
