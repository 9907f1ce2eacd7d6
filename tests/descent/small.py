"""Small models whose boundaries are known."""

import torch
from torch import Tensor

from denseam import DenseAM


def prototypes(power: float = 5.0, *, n_classes: int = 3, seed: int = 0) -> DenseAM:
    """One memory per class that votes for it: (C, N + C) with N = 12, in float64."""
    generator = torch.Generator().manual_seed(seed)
    model = DenseAM(12, n_classes, n_classes, power, 12.0, dtype=torch.float64)
    looks = (torch.rand(n_classes, 12, generator=generator) < 0.5).double() * 2 - 1
    votes = 2 * torch.eye(n_classes, dtype=torch.float64) - 1
    model.memories.data = 0.9 * torch.cat([looks, votes], dim=1)
    return model


def random_model(power: float, dtype: torch.dtype = torch.float64) -> DenseAM:
    """Random memories: 4 classes, N = 9, K = 20."""
    model = DenseAM(9, 4, 20, power, 8.0, seed=1, dtype=dtype)
    generator = torch.Generator().manual_seed(2)
    model.memories.data = (torch.rand(20, 13, generator=generator) * 2 - 1).to(dtype)
    return model


def images(count: int, n_visible: int, dtype: torch.dtype = torch.float64, seed: int = 3) -> Tensor:
    """(count, N) in [-0.5, 0.5]."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(count, n_visible, generator=generator) - 0.5).to(dtype)
