"""Blocks: the same is said of an image whatever it comes with.

Products of matrices of another shape may add in another order, which moves a log-energy by 5e-6,
and logarithms are rounded in one way in whole vectors and in another at their end: whether an image
is junk would depend on the company it comes in. So everything is computed for blocks of a few sizes
only, the last ones filled up with black images, and of these sizes only such as give, on this
machine, the same bits as blocks of ``REFERENCE`` images do, wherever in them an image stands. Who
works on each image by itself is not given what would only fill a block, where that gives the same
bits too.
"""

import math
from collections.abc import Callable, Hashable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["REFERENCE", "SIZES", "Agreed", "Blocks", "in_batches", "places_agree"]

SIZES = (16, 64, 128, 256)
"""Images in a block: whole vectors. Fewer would not cost less: vectors would be part empty."""

REFERENCE = 64
"""The size that others have to agree with: also what is left where none does."""

_SEED = 20171209
_MOVED = 7  # places; odd, so that images change theirs among the lanes of vectors
_WINDOWS = 16  # blocks of each size that are asked in part


class Agreed(NamedTuple):
    """What gives the same bits on this machine.

    Attributes:
        sizes: of ``SIZES`` those that agree with ``REFERENCE``, rising.
        some: whether any number of images agrees with whole blocks.
    """

    sizes: tuple[int, ...]
    some: bool


class Blocks:
    """Asks about images, block by block.

    What agrees is found out when first asked, from ``max(SIZES)`` random images: whatever is
    rounded otherwise differs in a large part of them.

    Args:
        ask: images (B, N) to tensors with B rows, on the CPU; the rows' own affair, but for
            rounding.
        some: whether blocks that are not full may be tried.
    """

    def __init__(self, ask: Callable[[Tensor], tuple[Tensor, ...]], *, some: bool = False) -> None:
        self._ask, self._some = ask, some
        self._agreed: dict[Hashable, Agreed] = {}

    def __call__(self, visible: Tensor, device: torch.device | None = None) -> tuple[Tensor, ...]:
        """What there is to be said of (B, N) in [-1, 1], each image by itself.

        Args:
            visible: the images, on the CPU.
            device: where the network lives: another one adds in another order.
        """
        agreed = self.agreed(visible.shape[1], visible.dtype, device)
        return self._in_turn(visible, _plan(len(visible), agreed))

    def agreed(
        self, n_visible: int, dtype: torch.dtype, device: torch.device | None = None
    ) -> Agreed:
        """What agrees for images of this kind, with as many threads as there are now."""
        key = (n_visible, dtype, device, torch.get_num_threads())
        if key not in self._agreed:
            images = _random_images(max(SIZES), n_visible).to(dtype)
            sizes = self._sizes(images)
            some = self._some and all(self._agrees_in_part(images, size) for size in sizes)
            self._agreed[key] = Agreed(sizes, some)
        return self._agreed[key]

    def _sizes(self, images: Tensor) -> tuple[int, ...]:
        expected = self._of_size(images, REFERENCE)
        elsewhere = tuple(column.roll(_MOVED, 0) for column in expected)
        moved = images.roll(_MOVED, 0)
        return tuple(
            size for size in SIZES
            if size == REFERENCE or (
                _same(self._of_size(images, size), expected)
                and _same(self._of_size(moved, size), elsewhere)
            )
        )  # fmt: skip

    def _agrees_in_part(self, images: Tensor, size: int) -> bool:
        """Of one image, and of a little more than half a block."""
        for start in range(0, len(images), len(images) // _WINDOWS):
            block = images.roll(-start, 0)[:size]
            whole = self._ask(block)
            for count in (1, size // 2 + 1):
                if not _same(self._ask(block[:count]), _first(whole, count)):
                    return False
        return True

    def _of_size(self, images: Tensor, size: int) -> tuple[Tensor, ...]:
        return self._in_turn(images, [size] * (len(images) // size))

    def _in_turn(self, visible: Tensor, plan: list[int]) -> tuple[Tensor, ...]:
        count, n_visible = visible.shape
        if room := sum(plan) - count:
            visible = torch.cat([visible, visible.new_full((room, n_visible), -1.0)])
        if len(plan) == 1:
            found = self._ask(visible)
        else:
            answers = [self._ask(block) for block in torch.split(visible, plan)]
            found = tuple(torch.cat(column) for column in zip(*answers, strict=True))
        return _first(found, count) if room else found


def in_batches(
    ask: Callable[[Tensor], Tensor], visible: Tensor, size: int, *, together: bool = True
) -> Tensor:
    """What there is to be said of (B, N), for who takes no other batch than one of ``size``.

    Args:
        ask: images (size, N) to a tensor of as many rows.
        visible: the images; black ones fill up the last batch.
        size: of a batch.
        together: whether a batch holds ``size`` of them, or one, on its first place.
    """
    parts = []
    for part in torch.split(visible, size if together else 1):
        room = part.new_full((size - len(part), part.shape[1]), -1.0)
        parts.append(ask(torch.cat([part, room]))[: len(part)])
    return torch.cat(parts)


def places_agree(ask: Callable[[Tensor], Tensor], n_visible: int, size: int) -> bool:
    """Whether a batch of ``size`` gives the same bits wherever in it an image stands.

    Found out from random images, each on two places that are neighbours.
    """
    images = _random_images(size * math.ceil(max(SIZES) / size), n_visible)
    found = in_batches(ask, images, size)
    return _same((in_batches(ask, images.roll(1, 0), size),), (found.roll(1, 0),))


def _plan(count: int, agreed: Agreed) -> list[int]:
    """Sizes of blocks that hold ``count`` images: large ones, but full to three quarters.

    Where any number agrees they hold no more than that; but one image where there is none.
    """
    plan: list[int] = []
    while count > 0 or not plan:
        if agreed.some:
            plan.append(min(max(count, 1), agreed.sizes[-1]))
        else:
            fitting = [size for size in agreed.sizes if 4 * count > 3 * size]
            plan.append(fitting[-1] if fitting else agreed.sizes[0])
        count -= plan[-1]
    return plan


def _first(columns: tuple[Tensor, ...], count: int) -> tuple[Tensor, ...]:
    return tuple(column[:count] for column in columns)


def _random_images(count: int, n_visible: int) -> Tensor:
    """(B, N): noise, and bright pixels on black, in equal parts."""
    generator = torch.Generator().manual_seed(_SEED)
    pixels, share, bright = torch.rand(3, count, n_visible, generator=generator)
    pixels[::2] *= bright[::2] < share[::2, :1]
    visible: Tensor = 2 * pixels - 1
    return visible


def _same(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> bool:
    """Whether all numbers have the same bits, those that are NaN among them."""
    return all(
        a.dtype == b.dtype and torch.equal(a.isnan(), b.isnan())
        and torch.equal(a[~a.isnan()], b[~b.isnan()])
        for a, b in zip(found, expected, strict=True)
    )  # fmt: skip
