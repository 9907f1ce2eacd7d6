"""Which class an image is to be led to."""

from typing import Literal

import torch
from torch import Tensor

from denseam.checks import plain
from denseam.descent.common import check_targets
from denseam.errors import InputError

__all__ = ["Target", "resolve"]

Target = Literal["second", "least", "random"] | int | Tensor

_WANTED = "wanted 'second', 'least', 'random', a class, or one for each image"


def resolve(target: Target, scores: Tensor, *, seed: int) -> Tensor:
    """One class for each image, (B,) int64, never its top one.

    Args:
        target: the "second" or the "least" likely class, a "random" one of all but the top, one
            class, or one for each image (B,).
        scores: (B, C) of the images at the start.
        seed: of random targets.

    Raises:
        InputError: for anything else, and for classes equal to the top choice.
    """
    B, C = scores.shape
    if C < 2:
        raise InputError(f"a model of {C} class has no boundary")
    top, target = scores.argmax(dim=1), plain(target)
    if isinstance(target, str):
        order = scores.argsort(dim=1, descending=True, stable=True)
        if target == "second":
            return _next(order, top)
        if target == "least":
            return order[:, -1]
        if target == "random":
            generator = torch.Generator().manual_seed(seed)
            return (top + torch.randint(1, C, (B,), generator=generator).to(top.device)) % C
        raise InputError(f"target = {target!r}: {_WANTED}")
    try:
        targets = torch.as_tensor(target, device=top.device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"target = {target!r}: {_WANTED}") from error
    if targets.ndim and targets.shape != (B,):
        raise InputError(f"targets of shape {tuple(targets.shape)}: wanted ({B},), one each")
    targets = targets.expand(B)
    check_targets(targets, B, C, top)
    return targets


def _next(order: Tensor, top: Tensor) -> Tensor:
    """The first class of each row (B, C) that is not the top one: ties may put that second."""
    return torch.where(order[:, 0] == top, order[:, 1], order[:, 0])
