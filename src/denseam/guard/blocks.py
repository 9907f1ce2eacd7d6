"""Blocks: a model says the same of an image whatever batch the image comes in.

Products of matrices of another shape may add in another order, and logarithms round in one way in
whole vectors and in another at their end. So a model is asked about blocks of a few sizes only, the
last one padded with black images, and only about sizes whose answers have, on this machine, the
same bits as those of blocks of ``REFERENCE`` images, wherever in a block an image stands.
"""

import math
from collections.abc import Callable, Hashable, Iterable

import torch
from torch import Tensor

Ask = Callable[[Tensor], tuple[Tensor, ...]]
"""From images (B, ...) to columns of B rows on the CPU; images share nothing but rounding."""

SIZES = (16, 64, 256)
"""Images in a block: whole vectors."""

REFERENCE = 64
"""The size that others have to agree with, and the one left where none does."""

_SEED = 20171209
_MOVED = 7  # places; odd, so that images change theirs among the lanes of vectors


class Blocks:
    """A model that is asked block by block.

    Which sizes agree is found out when it is first asked, from ``max(SIZES)`` random images:
    whatever is rounded differently differs in a large part of them.

    A model that takes batches of one size only gets such; where it says something else in another
    place of a batch, one image a batch, in the first place.

    Args:
        ask: the model.
        black: the value of a black pixel.
        size: of a batch that it takes; None for any.
    """

    def __init__(self, ask: Ask, *, black: float = -1.0, size: int | None = None) -> None:
        self._ask, self._black, self._size = ask, black, size
        self._sizes: dict[Hashable, tuple[int, ...]] = {}
        self._places_agree: bool | None = None  # of one size: not found out yet

    def __call__(self, images: Tensor, device: torch.device | None = None) -> tuple[Tensor, ...]:
        """Ask about images (B, ...).

        Args:
            images: of any number.
            device: where the model lives: another one adds in another order.
        """
        if self._size is None:
            plan = _plan(len(images), self.sizes(images, device))
            return in_turn(self._ask, images, plan, self._black)
        if self._places_agree is None:
            self._places_agree = self._agrees_in_places(images, self._size)
        batches = [images] if self._places_agree else torch.split(images, 1)
        plans = [[self._size] * math.ceil(len(batch) / self._size) for batch in batches]
        answers = [
            in_turn(self._ask, batch, plan, self._black)
            for batch, plan in zip(batches, plans, strict=True)
        ]
        return tuple(torch.cat(column) for column in zip(*answers, strict=True))

    def sizes(self, like: Tensor, device: torch.device | None = None) -> tuple[int, ...]:
        """Return the sizes that agree, rising, for images like these and today's threads."""
        key = (like.shape[1:], like.dtype, like.device, device, torch.get_num_threads())
        if key not in self._sizes:
            images = random_images(max(SIZES), like, self._black)
            expected, moved = self._of_size(images, REFERENCE), images.roll(_MOVED, 0)
            elsewhere = tuple(column.roll(_MOVED, 0) for column in expected)
            self._sizes[key] = tuple(
                size for size in SIZES
                if size == REFERENCE or (
                    _same(self._of_size(images, size), expected)
                    and _same(self._of_size(moved, size), elsewhere)
                )
            )  # fmt: skip
        return self._sizes[key]

    def _agrees_in_places(self, like: Tensor, size: int) -> bool:
        """Ask about random images, each in two places that are neighbours."""
        images = random_images(size * math.ceil(max(SIZES) / size), like, self._black)
        answers, moved = self._of_size(images, size), self._of_size(images.roll(1, 0), size)
        return _same(moved, tuple(column.roll(1, 0) for column in answers))

    def _of_size(self, images: Tensor, size: int) -> tuple[Tensor, ...]:
        return in_turn(self._ask, images, [size] * (len(images) // size), self._black)


def in_turn(ask: Ask, images: Tensor, plan: list[int], black: float) -> tuple[Tensor, ...]:
    """Ask about blocks of the sizes of a plan; the last one is padded."""
    count, padding = len(images), sum(plan) - len(images)
    if padding:
        images = torch.cat([images, images.new_full((padding, *images.shape[1:]), black)])
    return tuple(column[:count] for column in _joined(ask, torch.split(images, plan)))


def in_chunks(ask: Ask, images: Tensor, size: int) -> tuple[Tensor, ...]:
    """Ask about at most ``size`` images at once: memory does not grow with their number."""
    return ask(images) if len(images) <= size else _joined(ask, torch.split(images, size))


def _joined(ask: Ask, parts: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return tuple(map(torch.cat, zip(*map(ask, parts), strict=True)))


def random_images(count: int, like: Tensor, black: float) -> Tensor:
    """Return noise, and bright pixels on black, in equal parts: (count, ...), like those given."""
    generator = torch.Generator().manual_seed(_SEED)
    n_pixels = like.shape[1:].numel()
    pixels, share, bright = torch.rand(3, count, n_pixels, generator=generator)
    pixels[::2] *= bright[::2] < share[::2, :1]
    scaled = black + (1 - black) * pixels if like.is_floating_point() else (255 * pixels).round()
    images: Tensor = scaled.to(like).reshape(count, *like.shape[1:])
    return images


def _plan(count: int, sizes: tuple[int, ...]) -> list[int]:
    """Return sizes of blocks that hold ``count`` images: large ones, but full to three quarters."""
    plan: list[int] = []
    while count > 0 or not plan:
        fitting = [size for size in sizes if 4 * count > 3 * size]
        plan.append(fitting[-1] if fitting else sizes[0])
        count -= plan[-1]
    return plan


def _same(columns: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    """Return whether all numbers have the same bits, NaN among them."""
    return all(
        a.dtype == b.dtype and torch.equal(a.isnan(), b.isnan())
        and torch.equal(a[~a.isnan()], b[~b.isnan()])
        for a, b in zip(columns, expected, strict=True)
    )  # fmt: skip
