"""Scans of handwritten digits, made from MNIST: on paper, with noise, margins and other pens."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

__all__ = ["STYLES", "Style", "scans"]


@dataclass(frozen=True)
class Style:
    """How a page looks; levels are in [0, 1], 0 is black.

    paper, ink: their levels; either may be drawn from a range for each page.
    noise: deviation of each pixel.
    specks: share of pixels that are black or white by chance.
    shade: how much darker one side of the page is.
    pen: pixels by which a stroke of the large digit is wider (or thinner, where negative).
    height: of the digit's 28 x 28 box on the page, a range.
    off: whether the digit stands anywhere on the page; otherwise near the middle.
    """

    paper: tuple[float, float] = (1.0, 1.0)
    ink: tuple[float, float] = (0.0, 0.0)
    noise: float = 0.0
    specks: float = 0.0
    shade: float = 0.0
    pen: int = 0
    height: tuple[int, int] = (120, 190)
    off: bool = True


STYLES = {
    "clean": Style(),
    "scan": Style(paper=(0.85, 1.0), ink=(0.0, 0.25), noise=0.04),
    "grey": Style(paper=(0.55, 0.75), ink=(0.05, 0.25), noise=0.05),
    "noisy": Style(paper=(0.8, 0.95), ink=(0.0, 0.2), noise=0.12),
    "specks": Style(paper=(0.9, 1.0), ink=(0.0, 0.2), noise=0.03, specks=0.003),
    "shaded": Style(paper=(0.85, 1.0), ink=(0.0, 0.2), noise=0.04, shade=0.3),
    "thin": Style(paper=(0.85, 1.0), ink=(0.0, 0.25), noise=0.04, pen=-3),
    "thick": Style(paper=(0.85, 1.0), ink=(0.0, 0.25), noise=0.04, pen=3),
    "small": Style(paper=(0.85, 1.0), ink=(0.0, 0.25), noise=0.04, height=(50, 80)),
    "chalk": Style(paper=(0.0, 0.25), ink=(0.75, 1.0), noise=0.05),
    "pencil": Style(paper=(0.85, 1.0), ink=(0.45, 0.6), noise=0.03),
}  # fmt: skip


def scans(digits, style, size=(200, 300), seed=0):
    """Return pages (M, H, W) uint8 of digits (M, 28, 28) uint8."""
    rng = np.random.default_rng(seed)
    pages = [_page(digit.numpy(), style, size, rng) for digit in digits]
    return torch.from_numpy(np.stack(pages))


def _page(digit, style, size, rng):
    height = int(rng.integers(style.height[0], style.height[1] + 1))
    stroke = interpolate(
        torch.from_numpy(digit)[None, None].float() / 255, size=(height, height), mode="bicubic"
    )[0, 0].clamp(0, 1)
    stroke = _widened(stroke, style.pen).numpy()
    page = np.zeros(size)
    room = [size[0] - height, size[1] - height]
    at = [int(rng.integers(0, r + 1)) if style.off else r // 2 for r in room]
    page[at[0] : at[0] + height, at[1] : at[1] + height] = stroke
    paper, ink = rng.uniform(*style.paper), rng.uniform(*style.ink)
    light = paper - style.shade * np.linspace(0, 1, size[1]) * rng.uniform(0.5, 1)
    page = light + (ink - light) * page + style.noise * rng.standard_normal(size)
    specks = rng.random(size) < style.specks
    page[specks] = rng.integers(0, 2, int(specks.sum()))
    return (255 * np.clip(page, 0, 1)).round().astype(np.uint8)


def _widened(stroke, pixels):
    """Return a stroke (H, W) that is so many pixels wider on each side, or thinner."""
    if not pixels:
        return stroke
    side = 2 * abs(pixels) + 1
    sign = 1 if pixels > 0 else -1
    pooled = torch.nn.functional.max_pool2d(sign * stroke[None, None], side, 1, side // 2)
    return sign * pooled[0, 0]
