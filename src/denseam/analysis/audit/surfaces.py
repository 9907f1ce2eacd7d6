"""What an attacker sees of a model: a head, a loss on it, and the gradient that autograd gives.

Unlike the heads of ``descent``, whose directions are exact, these gradients are computed in the
model's own dtype as anyone would compute them: what they lose on the way is what is looked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from denseam import energy
from denseam.classifier import Classifier, HeadName
from denseam.data.pixels import to_unit
from denseam.descent.goals import loss_power_of
from denseam.descent.heads import head_of
from denseam.image_classifier import ImageClassifier, logit_scale
from denseam.model import DenseAM

__all__ = ["Climb", "GradientFacts", "Surface", "climb", "gradient_of", "surfaces_of"]


@dataclass(frozen=True)
class Surface:
    """A head of a model and the loss that is raised on it."""

    name: str
    scores: Callable[[Tensor], Tensor]  # (B, ...) -> (B, C)
    loss: Literal["objective", "cross_entropy"]
    loss_power: float  # m, of the objective

    def losses(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch, a scalar: its gradient has no image in common with another's."""
        scores = self.scores(images)
        if self.loss == "objective":
            target = energy.targets(labels, scores.shape[1], scores.dtype)
            return energy.objective(scores, target, self.loss_power)
        return nn.functional.cross_entropy(scores, labels, reduction="sum")


@dataclass(frozen=True)
class GradientFacts:
    """What gradients of images look like, as fractions of ``count``."""

    count: int
    zero: float  # every component exactly 0
    nonfinite: float  # some component NaN or infinite
    subnormal: float  # the largest component too small for the dtype's full precision

    @property
    def useless(self) -> float:
        """The fraction that gives no direction, or one of few digits."""
        return self.zero + self.nonfinite + self.subnormal


@dataclass(frozen=True)
class Climb:
    """Where steps along the sign of a gradient ended."""

    images: Tensor  # (B, ...)
    path: GradientFacts  # of all gradients on the way


def surfaces_of(model: nn.Module, visible: Tensor) -> tuple[Surface, ...]:
    """The heads of a network of the package, as toolkits get them; of another module its logits.

    The one that hides least is last: logits that are scaled so that the softmax of these images
    (B, N) is neither flat nor saturated. Cross-entropy needs that. A flat softmax, as that of raw
    log-energies, pulls towards all other classes at once; a saturated one has no slope.
    """
    m = loss_power_of(model, None)
    if not isinstance(model, Classifier):
        return (Surface("logits", model, "cross_entropy", m),)
    plain = "log-energy" if isinstance(model, DenseAM) else "scores"
    found = [
        Surface("tanh, the paper's objective", _logits(model, "tanh"), "objective", m),
        Surface("tanh, cross-entropy", _logits(model, "tanh"), "cross_entropy", m),
    ]
    if isinstance(model, DenseAM):  # of the other networks that is the same as their scores
        found.append(Surface("energy gap", _logits(model, "energy_gap"), "cross_entropy", m))
    scale = logit_scale(head_of(model, visible.shape[1:], log_energy=True)(visible).values)
    for name, factor in ((plain, 1.0), (f"{plain}, scaled", scale)):
        logits = _logits(model, "log_energy", factor)
        found.append(Surface(name, logits, "cross_entropy", m))
    return tuple(found)


def _logits(model: Classifier, head: HeadName, scale: float = 1.0) -> Callable[[Tensor], Tensor]:
    """What ``ImageClassifier`` gives, of images in [-1, 1]."""
    classifier = ImageClassifier(model, head, scale=scale)
    return lambda visible: classifier(to_unit(visible))


def gradient_of(surface: Surface, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the loss, in the images' dtype and of their shape."""
    at = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(surface.losses(at, labels), at)
    return gradient


def climb(
    surface: Surface,
    start: Tensor,
    labels: Tensor,
    eps: float,
    steps: int,
    step: float,
    is_right: Callable[[Tensor, Tensor], Tensor],
) -> Climb:
    """``steps`` along the sign of the gradient, within ``eps`` (Linf) and [-1, 1].

    One step of length eps is FGSM. An image stays where it is first labelled wrongly, which
    ``is_right`` (images, labels) -> (B,) bool says; a gradient that is NaN moves nothing.
    """
    here, counts = start.clone(), torch.zeros(4, dtype=torch.int64)
    rows = is_right(start, labels).nonzero().flatten()
    for _ in range(steps):
        if not len(rows):
            break
        images, own, clean = here[rows], labels[rows], start[rows]
        gradient = gradient_of(surface, images, own)
        counts += _counts(gradient)
        moved = images + step * gradient.nan_to_num(0, 0, 0).sign()
        here[rows] = moved.clamp(clean - eps, clean + eps).clamp(-1, 1)
        rows = rows[is_right(here[rows], own)]
    return Climb(here, _facts(counts))


def facts_of_gradient(gradient: Tensor) -> GradientFacts:
    """What the gradients (B, ...) of a batch look like."""
    return _facts(_counts(gradient))


def _counts(gradient: Tensor) -> Tensor:
    """How many there are, how many zero, not finite, subnormal."""
    largest = gradient.flatten(1).abs().amax(dim=1)  # NaN stays NaN
    finite = largest.isfinite()
    zero = largest == 0
    subnormal = finite & ~zero & (largest < torch.finfo(gradient.dtype).tiny)
    return torch.tensor([len(largest), int(zero.sum()), int((~finite).sum()), int(subnormal.sum())])


def _facts(counts: Tensor) -> GradientFacts:
    count, *bad = counts.tolist()
    return GradientFacts(count, *(each / max(1, count) for each in bad))
