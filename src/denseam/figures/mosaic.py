"""Many small images as one picture with gaps, on one Axes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from denseam.figures.canvas import literal, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Mosaic:
    """Places of the images in data coordinates: pixels of the mosaic, y downwards."""

    lefts: tuple[int, ...]  # (C,): the first pixel of each column
    tops: tuple[int, ...]  # (R,): the first pixel of each row
    height: int  # H, of one image
    width: int  # W

    def centre(self, row: int, column: int) -> tuple[float, float]:
        """Return (x, y) of the middle of an image; pixel k reaches from k - 0.5 to k + 0.5."""
        x, y = self.lefts[column], self.tops[row]
        return x + (self.width - 1) / 2, y + (self.height - 1) / 2


def pasted(
    images: Tensor,  # (M, H, W) or (M, 3, H, W)
    corners: Sequence[tuple[int, int]],  # (top, left) of each
) -> Tensor:
    """Return one picture that holds all images, and NaN between them."""
    *colours, H, W = images.shape[1:]
    tops, lefts = zip(*corners, strict=True)
    picture = torch.full((*colours, max(tops) + H, max(lefts) + W), torch.nan)
    for image, top, left in zip(images.detach(), tops, lefts, strict=True):
        picture[..., top : top + H, left : left + W] = image
    return picture


def folded(rows: Tensor, shape: tuple[int, ...] | None = None, *, empty: float = 0.0) -> Tensor:
    """Return rows of numbers (M, N) as pictures of a shape, or (M, H, W) about as high as wide.

    Numbers that are no pixels, such as an embedding, have no shape. They are laid out line by line,
    and what is left of the last line is ``empty``. So are images of one line.
    """
    M, N = rows.shape
    if shape is not None and math.prod(shape) == N and min(shape) > 1:
        return rows.reshape(M, *shape)
    width = math.ceil(math.sqrt(N))
    height = math.ceil(N / width)
    picture = rows.new_full((M, height * width), empty)
    picture[:, :N] = rows
    return picture.reshape(M, height, width)


def draw_mosaic(
    ax: "Axes",
    images: Tensor,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    row_gap: float = 0.1,
    group: int | None = None,
) -> Mosaic:
    """Draw images in gray, -1 black and +1 white; names stand to the left and on top.

    Args:
        ax: Axes to draw on; its ticks, spines and limits become those of the mosaic.
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
    mosaic = Mosaic(lefts, tops, H, W)
    show(ax, pasted(images.flatten(0, 1), [(y, x) for y in tops for x in lefts]), "gray")
    ax.set_xticks([mosaic.centre(0, c)[0] for c in range(C)], map(literal, columns))
    ax.set_yticks([mosaic.centre(r, 0)[1] for r in range(R)], map(literal, rows))
    ax.tick_params(length=0, top=False, bottom=False, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
    return mosaic
