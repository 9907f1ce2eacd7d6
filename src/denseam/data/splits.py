"""Which examples are trained on, and which are held out."""

import math

import numpy as np
import torch
from torch import Tensor

from denseam.checks import number, seed_of, whole
from denseam.errors import InputError

_DEVIATIONS = 6.0  # from chance, that are no chance
_SURE = 12.0  # examples of a class expected: to have none has a chance of exp(-12)


def split_rows(labels: Tensor, n_classes: int, test: float, seed: int) -> tuple[Tensor, Tensor]:
    """Return the rows to train on and to test on, each in their old order.

    Every class gives its share, rounded so that the sum is right. A class of two examples or more
    is in both sets if the sizes allow it; a class of one is trained on.

    Args:
        labels: (M,) int64.
        n_classes: C.
        test: a fraction between 0 and 1, or a number of examples.
        seed: of the draw.

    Raises:
        InputError: for a size that leaves a side empty.
    """
    total = len(labels)
    if isinstance(test, float | np.floating) and test < 1:
        count = round(total * number("test", test, least=0, most=1))
    else:
        count = whole("test", test, 1)
    if not 1 <= count < total:
        raise InputError(
            f"test = {test}: that is {count} of {total} examples; wanted one or more on each side"
        )
    drawn = torch.zeros(total, dtype=torch.bool)
    generator = torch.Generator().manual_seed(seed_of(seed))
    shares = _shares(torch.bincount(labels, minlength=n_classes).tolist(), count)
    for c, share in enumerate(shares):
        rows = (labels == c).nonzero()[:, 0]
        drawn[rows[torch.randperm(len(rows), generator=generator)[:share]]] = True
    return (~drawn).nonzero()[:, 0], drawn.nonzero()[:, 0]


def tail_is_fair(labels: Tensor, n_classes: int, count: int) -> bool:
    """Return whether the last ``count`` examples stand for all of them.

    They do not where the order keeps classes together (far fewer changes of class from one example
    to the next than in random order), or where classes are missing or too rare at the end (a
    chi-squared).
    Six deviations tell that from chance: random orders keep their tail.
    """
    total = len(labels)
    p = torch.bincount(labels, minlength=n_classes).double() / total
    if total < 2 or int((p > 0).sum()) < 2:
        return True
    change = 1 - float(p.square().sum())  # the chance that two examples differ
    changes = int((labels[1:] != labels[:-1]).sum())
    deviation = math.sqrt((total - 1) * change * (1 - change))
    if changes < (total - 1) * change - _DEVIATIONS * deviation:
        return False
    expected = (count * p)[p > 0]
    tail = torch.bincount(labels[-count:], minlength=n_classes)[p > 0]
    if bool(((tail == 0) & (expected > _SURE)).any()):
        return False
    chi = float(((tail - expected).square() / expected).sum())
    freedom = len(expected) - 1
    return chi < freedom + _DEVIATIONS * math.sqrt(2 * freedom)


def _shares(counts: list[int], wanted: int) -> list[int]:
    """Return how many examples each class gives, by largest remainders."""
    total = sum(counts)
    exact = [wanted * count / total for count in counts]
    # At least one of each class that can spare one, and never its last.
    shares = [
        min(max(int(share), 1), count - 1) if count > 1 else 0
        for share, count in zip(exact, counts, strict=True)
    ]
    while sum(shares) != wanted:
        step = 1 if sum(shares) < wanted else -1
        room = [
            c for c, count in enumerate(counts)
            if (shares[c] < count if step > 0 else shares[c] > 0)
        ]  # fmt: skip
        # Classes keep one on either side as long as others have more to give.
        gentle = [
            c for c in room if (shares[c] < counts[c] - 1 if step > 0 else shares[c] > 1)
        ] or room
        shares[max(gentle, key=lambda c: step * (exact[c] - shares[c]))] += step
    return shares
