"""Images that no classifier should label: noise of several kinds, blanks, digits taken apart."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from denseam.checks import seed_of
from denseam.data import ImageSet

_BLANKS = 101  # gray levels, black and white among them


def _noise(generator: torch.Generator, clean: Tensor, deviation: float) -> Tensor:
    return deviation * torch.randn(clean.shape, generator=generator)


def _uniform(generator: torch.Generator, clean: Tensor) -> Tensor:
    return 2 * torch.rand(clean.shape, generator=generator) - 1


def _specks(generator: torch.Generator, clean: Tensor, share: float) -> Tensor:
    """Draw white pixels on black."""
    return torch.where(torch.rand(clean.shape, generator=generator) < share, 1.0, -1.0)


def _smooth(generator: torch.Generator, clean: Tensor) -> Tensor:
    blurred = avg_pool2d(torch.randn(clean.shape, generator=generator), 5, 1, 2)
    return blurred / blurred.std()


def _blank(_: torch.Generator, clean: Tensor) -> Tensor:
    return (
        torch.linspace(-1, 1, _BLANKS)
        .view(-1, *[1] * (clean.ndim - 1))
        .expand(-1, *clean.shape[1:])
    )


def _permuted(generator: torch.Generator, clean: Tensor) -> Tensor:
    """Permute the pixels of each image in its own order."""
    orders = torch.rand(clean.flatten(1).shape, generator=generator).argsort(dim=1)
    return clean.flatten(1).gather(1, orders).reshape(clean.shape)


def _shuffled(generator: torch.Generator, clean: Tensor) -> Tensor:
    """Permute the pixels of all images in one order."""
    order = torch.randperm(clean[0].numel(), generator=generator)
    return clean.flatten(1)[:, order].reshape(clean.shape)


JUNK_SETS: dict[str, Callable[[torch.Generator, Tensor], Tensor]] = {
    "normal noise, deviation 0.1": lambda generator, clean: _noise(generator, clean, 0.1),
    "normal noise, deviation 1": lambda generator, clean: _noise(generator, clean, 1.0),
    "uniform noise": _uniform,
    "smooth noise": _smooth,
    "specks, half of the pixels": lambda generator, clean: _specks(generator, clean, 0.5),
    "specks, 2 %": lambda generator, clean: _specks(generator, clean, 0.02),
    "blank, 101 gray levels": _blank,
    "pixels permuted, each image": _permuted,
    "pixels permuted, all alike": _shuffled,
    "inverted": lambda _, clean: -clean,
}
"""From a generator and clean images, (M, H, W) or (M, 3, H, W) in [-1, 1], to junk like them."""


def junk_sets(clean: ImageSet, seed: int = 0) -> dict[str, Tensor]:
    """Return every one of JUNK_SETS, (M, N) float32 in [-1, 1], made of M clean images."""
    generator = torch.Generator().manual_seed(seed_of(seed))
    images = clean.visible().reshape(len(clean), *clean.input_shape)
    return {
        name: make(generator, images).clamp(-1, 1).flatten(1).contiguous()
        for name, make in JUNK_SETS.items()
    }
