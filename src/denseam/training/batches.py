"""Class-balanced minibatches: equally many images of each class (NIPS16: 100).

An epoch shows about as many images as the set has, in whole batches (60 of 1000 for MNIST). Classes
differ in size, so in one epoch

* of a class with more images than the epoch has room for, a random selection is shown, a new one
  in every epoch;
* a class with fewer images is shown whole as often as it fits, then a random selection of it.

The order depends on seed and epoch alone, so that a resumed run repeats it to the bit.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from denseam.classifier import Classifier
from denseam.errors import InputError

__all__ = ["SAMPLING", "BatchRule", "batches_per_epoch", "changed_batch", "epoch_indices", "seeded"]

SAMPLING = ("balanced", "natural")

BatchRule = Callable[..., Any]
"""(model, inputs (B, n_inputs), labels (B,)) -> inputs, or (inputs, labels); see ``train``.

A rule may also have two methods: ``learned(predicted, labels)`` gets the labels that were predicted
for what it returned, both (B',); ``summary(axis)`` returns the ``attack`` of an epoch's record.
"""

_PLACE = ("seed", "epoch", "batch")  # keywords that a rule may ask for


def batches_per_epoch(n_images: int, n_classes: int, per_class: int) -> int:
    """Return the number of batches of an epoch, at least one."""
    return max(1, round(n_images / (n_classes * per_class)))


def epoch_indices(
    labels: Tensor,
    n_classes: int,
    per_class: int,
    *,
    seed: int,
    epoch: int,
    sampling: str = "balanced",
) -> Tensor:
    """Return the images of every batch of an epoch: (batches, n_classes * per_class) int64.

    ``labels`` is (M,), with at least one image of every class. Within a batch images are
    sorted by class: the order does not matter to a sum. With "natural" sampling, batches of the
    same size are drawn from all images alike.
    """
    generator = torch.Generator().manual_seed(_mix(seed, epoch))
    batches = batches_per_epoch(len(labels), n_classes, per_class)
    if sampling == "natural":
        size = n_classes * per_class
        return _draw(torch.arange(len(labels)), batches * size, generator).view(batches, size)
    rows = [
        _draw(torch.nonzero(labels == c).flatten(), batches * per_class, generator)
        for c in range(n_classes)
    ]
    # (C, batches * per_class) -> (batches, C * per_class)
    return torch.stack(rows).view(n_classes, batches, per_class).transpose(0, 1).flatten(1)


def _draw(members: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw ``count`` of the members, each equally often to within one."""
    rounds = -(-count // len(members))
    order = [members[torch.randperm(len(members), generator=generator)] for _ in range(rounds)]
    return torch.cat(order)[:count]


def _mix(seed: int, epoch: int) -> int:
    """Return a seed that is distinct for every epoch, and every run with a seed below 4294.

    The generator keeps 32 bits; above, an epoch of one seed may be another epoch of another seed.
    """
    return (seed * 1_000_003 + epoch) % 2**32


def changed_batch(
    rule: BatchRule,
    model: Classifier,
    inputs: Tensor,  # (B, n_inputs)
    labels: Tensor,  # (B,)
    *,
    seed: int,
    epoch: int,
    number: int,
    rank: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return a batch changed by a rule, and its labels.

    During the call PyTorch's generators are seeded by seed, epoch, number of the batch and data
    rank, so that a resumed run draws the same; their states are restored afterwards. The rule gets
    those of "seed", "epoch" and "batch" that it has keywords for.

    Raises:
        InputError: for a result of another dtype, shape or device.
    """
    place = dict(zip(_PLACE, (seed, epoch, number), strict=True))
    keywords = {name: place[name] for name in _keywords(rule)}
    with seeded(inputs.device, seed, epoch, number, rank):
        changed = rule(model, inputs, labels, **keywords)
    learned, targets = changed if isinstance(changed, tuple) else (changed, labels)
    _check_batch(learned, targets, inputs, labels)
    return learned.detach(), targets


@contextmanager
def seeded(device: torch.device, *numbers: int) -> Iterator[None]:
    """Seed PyTorch's generators by several numbers; their states are restored afterwards."""
    seed = 0
    for number in numbers:
        seed = _mix(seed, number)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _keywords(rule: BatchRule) -> list[str]:
    try:
        parameters = inspect.signature(rule).parameters.values()
    except (TypeError, ValueError):  # a callable without a signature
        return []
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return list(_PLACE)
    return [each.name for each in parameters if each.name in _PLACE]


def _check_batch(learned: Any, targets: Any, inputs: Tensor, labels: Tensor) -> None:
    for name, after, before in (("inputs", learned, inputs), ("labels", targets, labels)):
        fits = isinstance(after, Tensor) and after.dtype is before.dtype
        if not (fits and after.shape[1:] == before.shape[1:] and after.device == before.device):
            shape = tuple(after.shape) if isinstance(after, Tensor) else ""
            kind = after.dtype if isinstance(after, Tensor) else type(after).__name__
            raise InputError(
                f"batch returned {name} {kind} {shape}: wanted {before.dtype} "
                f"{('B', *before.shape[1:])} on {before.device}"
            )
    if not len(learned) or len(learned) != len(targets):
        raise InputError(f"batch returned {len(learned)} inputs with {len(targets)} labels")
    if not bool(learned.isfinite().all()):
        raise InputError("batch returned inputs that are NaN or infinite")
