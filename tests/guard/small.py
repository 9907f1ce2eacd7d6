"""A small problem: noisy patterns of 5 x 4 pixels, three classes, and memories that know them."""

from functools import cache

import torch
from torch import Tensor

from denseam import DenseAM
from denseam.data import ImageSet
from denseam.guard import Guard

SHAPE = (5, 4)
N, C = 20, 3


@cache
def patterns() -> Tensor:
    """(C, N) of -1 and +1."""
    generator = torch.Generator().manual_seed(7)
    return torch.where(torch.rand(C, N, generator=generator) < 0.5, -1.0, 1.0)


def clean(count: int = 400, seed: int = 0, dtype: torch.dtype = torch.float32) -> ImageSet:
    """Patterns with noise of 0.2, clipped."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(C, (count,), generator=generator)
    noise = 0.2 * torch.randn(count, N, generator=generator)
    images = (patterns()[labels] + noise).clamp(-1, 1)
    return ImageSet(images.reshape(-1, *SHAPE).to(dtype), labels, C, name="patterns")


def memories(power: float = 6.0, seed: int = 0, dtype: torch.dtype = torch.float32) -> DenseAM:
    """Eight memories: each pattern twice with its class, and two that are noise."""
    model = DenseAM(N, C, 8, power, 12.0, seed=seed, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    votes = 2 * torch.eye(C) - 1
    with torch.no_grad():
        for k in range(6):
            noise = 0.3 * torch.randn(N, generator=generator)
            model.memories[k, :N] = (patterns()[k % C] + noise).clamp(-1, 1)
            model.memories[k, N:] = votes[k % C]
    return model


def guard(score: str = "profile", **more: object) -> Guard:
    """Calibrated to 5 %."""
    made = Guard(memories(6.0), memories(2.0, seed=1), score=score, image_shape=SHAPE, **more)
    return made.calibrate(clean(), 0.05)
