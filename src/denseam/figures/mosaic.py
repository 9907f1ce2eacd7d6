"""Many small images as one picture with gaps, on one Axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from denseam.figures.canvas import literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Mosaic", "draw_mosaic"]


@dataclass(frozen=True)
class Mosaic:
    """Where the images lie, in data coordinates: pixels of the mosaic, y downwards."""

    lefts: tuple[int, ...]  # (C,): the first pixel of each column
    tops: tuple[int, ...]  # (R,): the first pixel of each row
    height: int  # H, of one image
    width: int  # W

    def centre(self, row: int, column: int) -> tuple[float, float]:
        """(x, y) of the middle of an image; pixel k reaches from k - 0.5 to k + 0.5."""
        x, y = self.lefts[column], self.tops[row]
        return x + (self.width - 1) / 2, y + (self.height - 1) / 2


def draw_mosaic(
    ax: "Axes",
    images: Tensor,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    row_gap: float = 0.1,
    group: int | None = None,
) -> Mosaic:
    """Draw images in gray on one Axes, -1 black and +1 white; names stand to the left and on top.

    Args:
        ax: where to; its ticks, spines and limits become those of the mosaic.
        images: (R, C, H, W) in visible units; a place of NaN stays empty.
        rows: R names.
        columns: C names.
        row_gap: between rows, in heights of an image.
        group: a wider gap after every so many columns.
    """
    R, C, H, W = images.shape
    narrow = max(1, math.ceil(0.08 * W))
    wide = max(narrow + 1, math.ceil(0.4 * W))
    tops = tuple(r * (H + max(1, math.ceil(row_gap * H))) for r in range(R))
    lefts = tuple(c * (W + narrow) + (c // group if group else 0) * (wide - narrow)
                  for c in range(C))  # fmt: skip
    made = Mosaic(lefts, tops, H, W)
    whole = torch.full((tops[-1] + H, lefts[-1] + W), torch.nan)
    for r, top in enumerate(tops):
        for c, left in enumerate(lefts):
            whole[top : top + H, left : left + W] = images[r, c].detach()
    ax.imshow(whole.numpy(), cmap="gray", vmin=-1, vmax=1, interpolation="nearest")
    ax.set_xticks([made.centre(0, c)[0] for c in range(C)], map(literal, columns))
    ax.set_yticks([made.centre(r, 0)[1] for r in range(R)], map(literal, rows))
    ax.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
    return made
