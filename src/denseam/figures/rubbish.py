"""Fig. 3: the images to which the objectives of the classes lead from noise."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from denseam.figures import canvas
from denseam.figures.mosaic import draw_mosaic

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class RubbishGrid:
    """One image for each model and class.

    Images that did not reach their class are drawn all the same, and crossed out.
    """

    rows: tuple[str, ...]  # R names of models, like "n = 2"
    columns: tuple[str, ...]  # C names of classes
    images: Tensor  # (R, C, H, W) floating, visible units [-1, 1]
    missing: Tensor  # (R, C) bool: not ``descent.facts.reached``

    def __post_init__(self) -> None:
        shape = len(self.rows), len(self.columns)
        canvas.check_pictures("images", self.images, *shape)
        canvas.check_shape("missing", self.missing, *shape)


def plot(record: RubbishGrid, ax: "Axes") -> None:
    """Draw the images as one mosaic, models by classes; missing ones are crossed out."""
    mosaic = draw_mosaic(ax, record.images, record.rows, record.columns)
    missing = record.missing.nonzero().tolist()
    caption = "gray scale: black -1, white +1"
    if missing:
        # The two strokes of every cross in one line: NaN lifts the pen.
        xs, ys = [], []
        for row, column in missing:
            x, y = mosaic.centre(row, column)
            dx, dy = mosaic.width / 2, mosaic.height / 2
            xs += [x - dx, x + dx, float("nan"), x - dx, x + dx, float("nan")]
            ys += [y - dy, y + dy, float("nan"), y + dy, y - dy, float("nan")]
        # White around black shows on any image.
        ax.plot(xs, ys, color="white", linewidth=2.4, solid_capstyle="butt")
        ax.plot(xs, ys, color="black", linewidth=0.9, solid_capstyle="butt")
        caption += (
            f"\ncrossed out: the class was not reached ({len(missing)} of {record.missing.numel()})"
        )
    ax.set_xlabel(caption)


def save(record: RubbishGrid, path: str | os.PathLike[str]) -> None:
    """Write the figure to a .png, .svg or .pdf file; errors as in ``canvas.save``."""
    R, C = record.missing.shape
    size = max(4.0, 0.7 + 0.56 * C), 0.6 + 0.56 * R  # the caption is almost 4 inches wide
    canvas.save(path, lambda ax: plot(record, ax), size=size)
