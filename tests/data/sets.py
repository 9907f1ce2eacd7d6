"""Image sets to write, and comparison of what comes back."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseam import data
from denseam.data import ImageSet

FORMATS = (".safetensors", ".npz")


def bits(tensor: Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    """All that there is to compare, NaN included."""
    raw = tensor.detach().contiguous().flatten().view(torch.uint8)
    return tensor.dtype, tuple(tensor.shape), raw.numpy().tobytes()


def parts(images: ImageSet) -> dict[str, Any]:
    return {
        "images": bits(images.images),
        "labels": bits(images.labels),
        "facts": [(name, bits(value)) for name, value in images.facts.items()],
        "rest": (images.name, images.n_classes, images.class_names, images.metadata),
    }


def made(count: int = 5, shape: tuple[int, int] = (3, 7), **options: Any) -> ImageSet:
    """A set such as a search leaves behind, with margins that do not exist."""
    random = torch.Generator().manual_seed(count)
    l2 = torch.rand(count, generator=random, dtype=torch.float64)
    l2[0] = torch.nan
    labels = torch.arange(count) % 2
    whole: dict[str, Any] = {
        "images": torch.randint(0, 256, (count, *shape), generator=random, dtype=torch.uint8),
        "labels": labels,
        "n_classes": 2,
        "class_names": ("no", "yes"),
        "name": "boundary of mnist-n30",
        "metadata": {"goal": "boundary", "eps": 0.25, "tries": [1, None], "ä": {"ok": True}},
        "facts": {
            "target": 1 - labels,
            "success": labels == 0,
            "stopped": labels.to(torch.int8) - 1,
            "l2": l2,
            "boundary": torch.rand((count, *shape), generator=random, dtype=torch.float64),
        },
    }
    return ImageSet(**{**whole, **options})


def read(path: Path) -> ImageSet:
    found = data.load(path)
    assert isinstance(found, ImageSet)
    return found


def there_and_back(images: ImageSet, path: Path) -> ImageSet:
    images.save(path)
    return read(path)
