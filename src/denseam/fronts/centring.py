"""Digits on paper made like MNIST's: ink alone, 20/28 of the side, its mass in the middle.

    cells   the page in coarse squares; a plane through its border is the paper
    ink     what differs from the paper by a quarter of the darkest, and by five times the noise
    window  the ink in squares of its own: its box, its mass, its level
    result  one resampling of the page itself, by a matrix for each axis

Where things are is decided without gradients; grey levels keep theirs.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

Invert = bool | Literal["auto"]

_FILL = 20 / 28  # of a picture's side, that MNIST's digits take
_CELLS = 64  # of the longer side of a page or a window
_FAINT = 0.2  # of the darkest ink, that is still ink
_NOISE = 5.0  # deviations of noise, that are no ink
_LEVEL = 0.5  # the quantile of ink that becomes white
_NEIGHBOURS = 2.5  # of 9 cells; ink with fewer is a speck
_PEN = 1.8 / 28  # of the side: thinner strokes are made brighter, as a wider pen would do
_MOST_GAIN = 2.0
_LEAST = 0.01  # visible units, of ink in cells of a page
_PIXELS = 2**23  # of pages at once


class _View(NamedTuple):
    """Cells (h, w) of B pages: cell i of an axis has its centre at start + (i + 1/2) / scale."""

    top: Tensor  # (B,) pixels
    left: Tensor  # (B,) pixels
    scale: Tensor  # (B,) cells per pixel
    shape: tuple[int, int]

    def places(self) -> tuple[Tensor, Tensor]:
        """Return the centres of the cells in pixels, (B, h) and (B, w)."""
        starts = zip((self.top, self.left), self.shape, strict=True)
        y, x = (
            start[:, None] + (torch.arange(n).to(start) + 0.5) / self.scale[:, None]
            for start, n in starts
        )
        return y, x

    def of(self, pages: Tensor, paper: Tensor) -> Tensor:
        """Return pages (B, H, W) less their paper (B, 3), as cells (B, h, w); 0 beyond a page."""
        y, x = self.places()
        rows = _weights(y, self.scale, pages.shape[1])
        columns = _weights(x, self.scale, pages.shape[2])
        inside = rows.any(dim=2)[:, :, None] & columns.any(dim=2)[:, None]
        level, along, down = paper.T[:, :, None, None]
        plane = level + along * x[:, None] + down * y[:, :, None]
        return torch.where(inside, rows @ pages @ columns.transpose(1, 2) - plane, 0.0)


def centred(pages: Tensor, shape: tuple[int, int], invert: Invert = "auto") -> Tensor:
    """Return digits as MNIST has them; a page without ink is black.

    Args:
        pages: (B, H, W) in [-1, 1].
        shape: (h, w) of the result.
        invert: True for dark ink on light paper, False for light ink on dark paper, "auto" to see
            of each page which it is.

    Returns:
        (B, h, w) in [-1, 1].

    >>> page = torch.ones(1, 90, 60)
    >>> page[:, 20:50, 10:14] = -0.5  # a one in a corner
    >>> float(centred(page, (28, 28))[0, 13, 14])
    1.0
    """
    B, H, W = pages.shape
    if not B:
        return pages.new_empty(0, *shape)
    chunks = torch.split(pages, max(1, _PIXELS // (H * W)))
    return torch.cat([_centred(chunk, shape, invert) for chunk in chunks])


def _centred(pages: Tensor, shape: tuple[int, int], invert: Invert) -> Tensor:
    with torch.no_grad():
        sign = signs(pages, invert)[:, None, None]
        page = _page_view(pages)
        paper = _paper(pages, page)
        cells = sign * page.of(pages, paper)
        blank = cells.flatten(1).amax(dim=1) <= (_NOISE * _noise(cells)).clamp(min=_LEAST)
        window = _window(_box(page, _ink(cells)))
        cells = sign * window.of(pages, paper)
        ink = _ink(cells)
        level = torch.where(ink, cells, torch.nan).flatten(1).nanquantile(_LEVEL, dim=1)
        result = _result(_box(window, ink), window, cells * ink, shape)
    digits = sign * result.of(pages, paper) / level.nan_to_num(1)[:, None, None]
    with torch.no_grad():
        gain = (_PEN * shape[0] / _pen_width(digits)).clamp(1, _MOST_GAIN).square()
        gain = torch.where(blank, 0.0, gain)[:, None, None]
    return 2 * (gain * digits).clamp(0, 1) - 1


def signs(pages: Tensor, invert: Invert) -> Tensor:
    """Return -1 for each page (B, H, W) that is to be inverted and 1 for the others, (B,).

    The paper is what most of the border shows.
    """
    if invert != "auto":
        return pages.new_full((len(pages),), -1.0 if invert else 1.0)
    pages = pages.detach()
    edges = (pages[:, 0], pages[:, -1], pages[:, :, 0], pages[:, :, -1])
    return 1 - 2 * (torch.cat(edges, dim=1).median(dim=1).values > 0).to(pages)


def _weights(places: Tensor, scale: Tensor, length: int) -> Tensor:
    """Return what each cell takes of each pixel, (B, n, length): the mean of what it covers."""
    pixels = torch.arange(length).to(places)
    half = (1 / scale).clamp(min=1)[:, None, None] / 2
    low, high = places[:, :, None] - half, places[:, :, None] + half
    weights = (torch.minimum(high, pixels + 1) - torch.maximum(low, pixels)).clamp(min=0)
    weights = weights / weights.sum(dim=2, keepdim=True).clamp(min=1e-6)
    return weights * ((places >= 0) & (places <= length))[:, :, None]


def _page_view(pages: Tensor) -> _View:
    B, *sides = pages.shape
    scale = min(1.0, _CELLS / max(sides))
    h, w = (math.ceil(scale * side) for side in sides)
    zero = pages.new_zeros(B)
    return _View(zero, zero, zero + scale, (h, w))


def _paper(pages: Tensor, page: _View) -> Tensor:
    """Return the plane through the borders of pages, (B, 3): level, and its slopes over x and y.

    Least squares, four times; what is far from the plane, ink at the border, does not count.
    """
    B, side = len(pages), max(pages.shape[1:])
    y, x = (places[0] / side for places in page.places())
    cells = page.of(pages, pages.new_zeros(B, 3))
    edge = torch.ones(page.shape, dtype=torch.bool, device=pages.device)
    edge[1:-1, 1:-1] = False
    grid = torch.stack(
        [torch.ones_like(cells[0]), x.expand(page.shape), y[:, None].expand(page.shape)]
    )
    points, levels = grid[:, edge].T.double(), cells[:, edge].double()  # (P, 3), (B, P)
    plane = levels.new_zeros(B, 3)
    plane[:, 0] = levels.median(dim=1).values
    ridge = 1e-3 * len(points) * torch.diag(points.new_tensor([0.0, 1.0, 1.0]))
    for _ in range(4):
        off = (levels - plane @ points.T).abs()
        counts = (off <= 3 * off.median(dim=1, keepdim=True).values + 0.02).to(levels)
        normal = torch.einsum("bp,pi,pj->bij", counts, points, points) + ridge
        plane = torch.linalg.solve(normal, (counts * levels) @ points)
    return (plane / plane.new_tensor([1, side, side])).to(pages)


def _ink(cells: Tensor) -> Tensor:
    """Return which cells (B, h, w), less their paper, are ink; bool."""
    most = cells.flatten(1).amax(dim=1)
    least = torch.maximum(_FAINT * most, torch.minimum(_NOISE * _noise(cells), most / 2))
    ink = cells > least[:, None, None]
    firm = ink & (9 * avg_pool2d(ink.to(cells), 3, 1, 1) > _NEIGHBOURS)
    return torch.where(firm.flatten(1).any(dim=1)[:, None, None], firm, ink)


def _noise(cells: Tensor) -> Tensor:
    """Return the deviation of most cells (B, h, w) from their paper, (B,)."""
    return 1.4826 * cells.flatten(1).abs().median(dim=1).values


def _box(view: _View, ink: Tensor) -> Tensor:
    """Return the box of the ink (B, h, w), (B, 4): top, left, bottom, right in pixels."""
    starts, ends = [], []
    for start, present in ((view.top, ink.any(dim=2)), (view.left, ink.any(dim=1))):
        first = present.int().argmax(dim=1)
        end = present.shape[1] - present.flip(1).int().argmax(dim=1)
        starts.append(start + first / view.scale)
        ends.append(start + end / view.scale)
    return torch.stack([*starts, *ends], dim=1)


def _window(box: Tensor) -> _View:
    """Return the view of a box (B, 4) and of a tenth more around it."""
    top, left, bottom, right = box.T
    margin = 0.1 * torch.maximum(bottom - top, right - left)
    side = torch.maximum(bottom - top, right - left) + 2 * margin
    return _View(top - margin, left - margin, _CELLS / side, (_CELLS, _CELLS))


def _result(box: Tensor, window: _View, ink: Tensor, shape: tuple[int, int]) -> _View:
    """Return the view that has the box at its size, and the mass of the ink in its middle."""
    top, left, bottom, right = box.T
    h, w = shape
    scale = _FILL * torch.minimum(h / (bottom - top), w / (right - left))
    y, x = window.places()
    mass = ink.sum(dim=(1, 2)).clamp(min=1e-6)
    down, along = (ink.sum(dim=2) * y).sum(dim=1) / mass, (ink.sum(dim=1) * x).sum(dim=1) / mass
    # Whole pixels from the box to the edge of the result: its edges stay sharp, as MNIST's are.
    above = torch.ceil(h / 2 - (down - top) * scale)
    before = torch.ceil(w / 2 - (along - left) * scale)
    return _View(top - above / scale, left - before / scale, scale, shape)


def _pen_width(digits: Tensor) -> Tensor:
    """Return how wide strokes are, (B, h, w) -> (B,) pixels: twice their area by their outline."""
    down = digits.diff(dim=1)[:, :, :-1]
    along = digits.diff(dim=2)[:, :-1]
    outline = (down.square() + along.square()).sqrt().sum(dim=(1, 2))
    return 2 * digits.sum(dim=(1, 2)).clamp(min=1e-6) / outline.clamp(min=1e-6)
