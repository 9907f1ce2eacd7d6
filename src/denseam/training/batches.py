"""Class-balanced minibatches: as many images of each class in every one (NIPS16: 100).

An epoch is as many batches as it takes to see as many images as the set has, rounded (60 of 1000
for MNIST). Classes differ in size, so in one epoch

* a class with more images than the epoch has room for shows a random part of them, and another
  random part in the next epoch;
* a class with fewer is shown whole as often as it fits, and a random part of it once more.

The order is a function of seed and epoch alone, which is what makes a run resumable to the bit.
"""

import torch
from torch import Tensor

__all__ = ["batches_per_epoch", "epoch_indices"]


def batches_per_epoch(n_images: int, n_classes: int, per_class: int) -> int:
    """How many batches an epoch has; at least one."""
    return max(1, round(n_images / (n_classes * per_class)))


def epoch_indices(
    labels: Tensor, n_classes: int, per_class: int, *, seed: int, epoch: int
) -> Tensor:
    """The images of every batch of an epoch: (batches, n_classes * per_class) int64.

    ``labels`` is (M,), with at least one image of every class. Within a batch the images come
    class by class: the order does not matter to a sum.
    """
    generator = torch.Generator().manual_seed(_mix(seed, epoch))
    batches = batches_per_epoch(len(labels), n_classes, per_class)
    rows = [
        _draw(torch.nonzero(labels == c).flatten(), batches * per_class, generator)
        for c in range(n_classes)
    ]
    # (C, batches * per_class) -> (batches, C * per_class)
    return torch.stack(rows).view(n_classes, batches, per_class).transpose(0, 1).flatten(1)


def _draw(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` of the members: each of them equally often, give or take one."""
    rounds = -(-count // len(members))
    order = [members[torch.randperm(len(members), generator=generator)] for _ in range(rounds)]
    return torch.cat(order)[:count]


def _mix(seed: int, epoch: int) -> int:
    """Distinct for every epoch of a run, and for every run with a seed below 4294.

    The generator keeps 32 bits; above, an epoch of one seed may be another epoch of another seed.
    """
    return (seed * 1_000_003 + epoch) % 2**32
