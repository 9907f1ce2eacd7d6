"""Blocks: the same is said of an image whatever it comes with.

Products of matrices of another shape may add in another order, which moves a log-energy by 5e-6,
and logarithms are rounded in one way in whole vectors and in another at their end: whether an image
is junk would depend on the company it comes in. So everything is computed for blocks of a few sizes
only, the last ones filled up with black images, and of these sizes only such as give, on this
machine, the same bits as blocks of ``REFERENCE`` images do, wherever in them an image stands.
"""

from collections.abc import Callable, Hashable

import torch
from torch import Tensor

__all__ = ["REFERENCE", "SIZES", "Blocks"]

SIZES = (16, 64, 128, 256)
"""Images in a block: whole vectors. Fewer would not cost less, because vectors would be part empty
and memories have to be read all the same."""

REFERENCE = 64
"""The size that others have to agree with: also what is left where none does."""

_SEED = 20171209
_MOVED = 7  # places; odd, so that images change theirs among the lanes of vectors


class Blocks:
    """Asks about images, block by block.

    Which sizes agree is found out when first asked, from ``max(SIZES)`` random images: whatever is
    rounded otherwise differs in a large part of them.

    Args:
        ask: images (B, N) to tensors with B rows, on the CPU; the rows' own affair, but for
            rounding.
    """

    def __init__(self, ask: Callable[[Tensor], tuple[Tensor, ...]]) -> None:
        self._ask = ask
        self._sizes: dict[Hashable, tuple[int, ...]] = {}

    def __call__(self, visible: Tensor, device: torch.device | None = None) -> tuple[Tensor, ...]:
        """What there is to be said of (B, N) in [-1, 1], each image by itself.

        Args:
            visible: the images, on the CPU.
            device: where the network lives: another one adds in another order.
        """
        sizes = self.sizes(visible.shape[1], visible.dtype, device)
        return _in_turn(self._ask, visible, _plan(len(visible), sizes))

    def sizes(
        self, n_visible: int, dtype: torch.dtype, device: torch.device | None = None
    ) -> tuple[int, ...]:
        """Of SIZES those that agree with REFERENCE, rising."""
        key = (n_visible, dtype, device, torch.get_num_threads())
        if key not in self._sizes:
            images = _random_images(max(SIZES), n_visible).to(dtype)
            expected = self._of_size(images, REFERENCE)
            elsewhere = tuple(column.roll(_MOVED, 0) for column in expected)
            moved = images.roll(_MOVED, 0)
            self._sizes[key] = tuple(
                size for size in SIZES
                if size == REFERENCE or (
                    _same(self._of_size(images, size), expected)
                    and _same(self._of_size(moved, size), elsewhere)
                )
            )  # fmt: skip
        return self._sizes[key]

    def _of_size(self, images: Tensor, size: int) -> tuple[Tensor, ...]:
        return _in_turn(self._ask, images, [size] * (len(images) // size))


def _plan(count: int, sizes: tuple[int, ...]) -> list[int]:
    """Sizes of blocks that hold ``count`` images: large ones, but full to three quarters."""
    plan: list[int] = []
    while count > 0 or not plan:
        fitting = [size for size in sizes if 4 * count > 3 * size]
        plan.append(fitting[-1] if fitting else sizes[0])
        count -= plan[-1]
    return plan


def _in_turn(
    ask: Callable[[Tensor], tuple[Tensor, ...]], visible: Tensor, plan: list[int]
) -> tuple[Tensor, ...]:
    count, n_visible = visible.shape
    black = visible.new_full((sum(plan) - count, n_visible), -1.0)
    filled = torch.cat([visible, black]) if len(black) else visible
    columns = zip(*(ask(part) for part in torch.split(filled, plan)), strict=True)
    return tuple(torch.cat(column)[:count] for column in columns)


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
