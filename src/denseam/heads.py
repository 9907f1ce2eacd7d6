"""Class scores of a batch, and directions back to its inputs, for any classifier.

A *head* turns inputs into scores, and pulls weights of the scores back to the inputs. Only
directions are used in input space, so each row of a pull may be scaled by any positive
factor: that keeps it from underflowing where the gradient itself would. At noise images off / T is
about 0.02, and 0.02^29 is zero in float32; a field divided by the image's largest one is at most 1,
and the largest term of every row survives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from denseam.errors import InputError
from denseam.precision import full_precision

__all__ = [
    "HEADS",
    "Head",
    "HeadName",
    "Scores",
    "largest_one",
    "lead",
    "module_head",
    "own_and_best_other",
]

HeadName = Literal["log_energy", "energy_gap", "tanh"]
HEADS: tuple[HeadName, ...] = get_args(HeadName)


@dataclass(frozen=True)
class Scores:
    """Scores of a batch, and their gradient with respect to its inputs."""

    values: Tensor  # (B, C) float64; the label is the argmax
    active: Tensor  # (B,) bool: False where no memory is active, and no direction exists
    pull: Callable[[Tensor], Tensor]
    """(B, C) weights -> (B, N): the gradient of sum(weights * values), each row up to a factor."""


Head = Callable[[Tensor], Scores]


def module_head(module: Callable[[Tensor], Tensor], shape: torch.Size) -> Head:
    """Return the head of any module with outputs (B, C), its gradient by autograd.

    ``shape`` is that of one input as the module takes it; heads take inputs flat.
    """

    def scores(inputs: Tensor) -> Scores:
        # A caller's mixed precision would change labels; what the module itself asks for stays.
        with torch.enable_grad(), full_precision(inputs):
            images = inputs.detach().requires_grad_()
            values = module(images.reshape(-1, *shape))
        _check_logits(values, len(inputs))

        def pull(weights: Tensor) -> Tensor:
            gradient = None
            if values.requires_grad:
                with full_precision(inputs):
                    (gradient,) = torch.autograd.grad(
                        values, images, weights.to(values.dtype), retain_graph=True,
                        allow_unused=True,
                    )  # fmt: skip
            if gradient is None:
                raise InputError(
                    "the module's logits have no gradient with respect to its images: does it "
                    "detach them, or leave PyTorch on the way? square_attack needs no gradient"
                )
            return gradient

        everywhere = torch.ones(len(inputs), dtype=torch.bool, device=inputs.device)
        return Scores(values.detach().double(), everywhere, pull)

    return scores


def _check_logits(values: object, count: int) -> None:
    if isinstance(values, Tensor) and values.ndim == 2 and len(values) == count:
        if values.is_floating_point():
            return
        form = f"{values.dtype}"
    else:
        form = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else f"{type(values)}"
    raise InputError(f"the module returned {form} for {count} images: wanted logits (B, C)")


def own_and_best_other(values: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores (B, C) of classes (B,), and the largest other scores, (B,) each."""
    scores = values.gather(1, classes[:, None]).squeeze(1)
    return scores, values.scatter(1, classes[:, None], -torch.inf).amax(dim=1)


def lead(scores: Tensor) -> Tensor:
    """Return each score (B, C) minus the best of the others; infinite without another class."""
    if scores.shape[1] == 1:
        return scores + torch.inf
    best = scores.topk(2, dim=1)
    is_best = scores == best.values[:, :1]
    return scores - torch.where(is_best, best.values[:, 1:], best.values[:, :1])


def largest_one(weights: Tensor) -> Tensor:
    """Return each row (B, C) divided by its largest magnitude; zero rows stay zero."""
    largest = weights.abs().amax(dim=1, keepdim=True)
    return torch.where(largest > 0, weights / largest, torch.zeros_like(weights))
