"""The kernels of a card behind tensors of the CPU, so that one set of tests serves all."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from denseam.kernels import Sums
from denseam.kernels.interface import Outcome
from denseam.kernels.triton.kernel import TritonKernel


def there(value: Any) -> Any:
    """A copy on the card."""
    match value:
        case Tensor():
            return value.detach().cuda()
        case Sums():
            return Sums(value.values.cuda(), value.scale.cuda())
        case _:
            return value


def back(value: Any) -> Any:
    """What came of it, on the CPU."""
    match value:
        case Tensor():
            return value.cpu()
        case Sums():
            return Sums(value.values.cpu(), value.scale.cpu())
        case Outcome():
            return Outcome(value.activity.cpu(), value.predicted.cpu(), value.objective.cpu())
        case tuple():
            return tuple(back(each) for each in value)
        case _:
            return value


def moved(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method on copies; what it writes into its arguments is written into the originals."""

    @wraps(method)
    def call(self: TritonKernel, *arguments: Any, **options: Any) -> Any:
        out = options.get("out")
        copies = [there(value) for value in arguments]
        named = {name: there(value) for name, value in options.items()}
        if out is not None and any(out is value for value in arguments):
            named["out"] = copies[[out is value for value in arguments].index(True)]
        results = back(method(self, *copies, **named))
        if method.__name__ == "update":
            for original, copy in zip(arguments[:2], copies, strict=False):
                original.copy_(copy)
        if out is not None:
            out.copy_(results[0])
            return out, results[1]
        torch.cuda.synchronize()
        return results

    return call


class OnCard(TritonKernel):
    """``TritonKernel`` for tensors of the CPU."""


for _name in ("overlaps", "sums", "objective", "weights", "to_memories", "to_images", "update"):
    setattr(OnCard, _name, moved(getattr(TritonKernel, _name)))
