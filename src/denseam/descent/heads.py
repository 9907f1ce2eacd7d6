"""Class scores of a batch and directions back to its pixels, for any classifier.

A *head* turns images into scores and keeps what it takes to pull a weighting of the scores back to
the images. Only directions are used in pixel space, so each row of a pull may be scaled by any
positive factor: that is what keeps it from underflowing where the gradient itself would. At noise
images off / T is about 0.02, and 0.02^29 is zero in float32; a field divided by the image's largest
one is at most 1, and the largest term of every row survives.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from denseam.classifier import Classifier, HeadName
from denseam.errors import InputError
from denseam.kernels import Sums, choose, energies
from denseam.model import DenseAM

__all__ = [
    "Head",
    "Scores",
    "energy_gap_head",
    "head_of",
    "log_energy_head",
    "module_head",
    "own_and_best_other",
]


@dataclass(frozen=True)
class Scores:
    """Scores of a batch, and the way back."""

    values: Tensor  # (B, C) float64; the label is the argmax
    active: Tensor  # (B,) bool: False where no memory is active, and no direction exists
    pull: Callable[[Tensor], Tensor]
    """(B, C) weights -> (B, N): the gradient of sum(weights * values), each row up to a factor."""


Head = Callable[[Tensor], Scores]

_NAMES: dict[bool, HeadName] = {True: "log_energy", False: "energy_gap"}


def head_of(model: nn.Module, shape: torch.Size, *, log_energy: bool) -> Head:
    """The head of a network that was asked for, or of any module that returns logits (B, C).

    ``shape`` is that of one image as the module takes it; heads take them flat.
    """
    if isinstance(model, DenseAM):
        return log_energy_head(model) if log_energy else energy_gap_head(model)
    if isinstance(model, Classifier):
        return module_head(partial(model.scores, head=_NAMES[log_energy]), shape)
    return module_head(model, shape)


def own_and_best_other(values: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B, C) of images, classes (B,) -> their class's score and the largest other, (B,)."""
    own = values.gather(1, classes[:, None]).squeeze(1)
    return own, values.scatter(1, classes[:, None], -torch.inf).amax(dim=1)


def energy_gap_head(model: DenseAM) -> Head:
    """Scores are the energy gap, the argument of tanh in Eq. 2.1."""

    def values(sums: Sums) -> Tensor:
        return energies.exact_energy_gap(sums, model.power, model.temperature)

    def coefficients(weights: Tensor, sums: Sums) -> Tensor:
        # (s / T)^(n - 1) is common to an image's classes: left out.
        on = weights.T
        return torch.cat([on, -on.sum(dim=0, keepdim=True)]).to(sums.values.dtype)

    return _kernel_head(model, values, coefficients, every_class=False)


def log_energy_head(model: DenseAM) -> Head:
    """Scores are the log-energy: the same decisions, no saturation."""

    def values(sums: Sums) -> Tensor:
        return energies.exact_log_energy(sums, model.power)

    def coefficients(weights: Tensor, sums: Sums) -> Tensor:
        return _largest_one(energies.log_coefficients(weights, sums, model.power).T).T

    return _kernel_head(model, values, coefficients, every_class=True)


def _kernel_head(
    model: DenseAM,
    values: Callable[[Sums], Tensor],
    coefficients: Callable[[Tensor, Sums], Tensor],
    *,
    every_class: bool,
) -> Head:
    """A head on the kernels: scores from the sums, and from weights what the kernels need."""
    kernel = choose(model.memories.device, model.memories.dtype).kernel
    memories, n_visible = model.memories.detach(), model.n_visible
    visible_memories = memories[:, :n_visible].contiguous()
    class_memories = memories[:, n_visible:]

    def scores(visible: Tensor) -> Scores:
        overlaps = kernel.overlaps(visible, visible_memories)
        sums = kernel.sums(overlaps, class_memories, model.power, every_class=every_class)

        def pull(weights: Tensor) -> Tensor:
            gradients = energies.Gradients(
                kernel, overlaps, class_memories, coefficients(_largest_one(weights), sums),
                sums.scale, model.power, class_gradient=False,
            )  # fmt: skip
            return gradients.to_images(visible_memories)

        return Scores(values(sums), sums.scale.amax(dim=0) > 0, pull)

    return scores


def module_head(module: Callable[[Tensor], Tensor], shape: torch.Size) -> Head:
    """Scores are the outputs (B, C) of any module, its gradient by autograd."""

    def scores(visible: Tensor) -> Scores:
        # A caller's mixed precision would change labels; what the module itself asks for stays.
        with torch.enable_grad(), torch.autocast(visible.device.type, enabled=False):
            images = visible.detach().requires_grad_()
            values = module(images.reshape(-1, *shape))
        _check_logits(values, len(visible))

        def pull(weights: Tensor) -> Tensor:
            gradient = None
            if values.requires_grad:
                with torch.autocast(visible.device.type, enabled=False):
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

        everywhere = torch.ones(len(visible), dtype=torch.bool, device=visible.device)
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


def _largest_one(weights: Tensor) -> Tensor:
    """Each row (B, C) divided by its largest magnitude; zero rows stay zero."""
    largest = weights.abs().amax(dim=1, keepdim=True)
    return torch.where(largest > 0, weights / largest, torch.zeros_like(weights))
