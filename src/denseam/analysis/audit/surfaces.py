"""Surfaces: the heads of a model as an attacker sees them, with a loss and autograd's gradient.

The heads of ``descent`` have exact directions. These gradients are computed in the model's own
dtype, as anyone would compute them: the audit looks for what they lose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from denseam import energy, heads
from denseam.classifier import Classifier, HeadName
from denseam.data.pixels import to_unit
from denseam.descent.goals import loss_power_of
from denseam.descent.heads import head_of
from denseam.heads import logits_of
from denseam.image_classifier import ImageClassifier, logit_scale


@dataclass(frozen=True)
class Surface:
    """A head of a model and the loss that is raised on it."""

    name: str
    scores: Callable[[Tensor], Tensor]  # (B, ...) -> (B, C)
    loss: Literal["objective", "cross_entropy"]
    loss_power: float  # m, of the objective

    def losses(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar: a sum of one term for each image."""
        scores = self.scores(images)
        if self.loss == "objective":
            target = energy.targets(labels, scores.shape[1], scores.dtype)
            return energy.objective(scores, target, self.loss_power)
        return nn.functional.cross_entropy(scores, labels, reduction="sum")


@dataclass(frozen=True)
class GradientFacts:
    """Defects of the gradients of images, as fractions of ``count``."""

    count: int
    zero: float  # every component exactly 0
    nonfinite: float  # some component NaN or infinite
    subnormal: float  # the largest component too small for the dtype's full precision

    @property
    def useless(self) -> float:
        """Return the fraction without a direction, or with one of few digits."""
        return self.zero + self.nonfinite + self.subnormal


@dataclass(frozen=True)
class Climb:
    """The images after steps along the sign of a gradient."""

    images: Tensor  # (B, ...)
    path: GradientFacts  # of all gradients along the path


def surfaces_of(model: nn.Module, visible: Tensor) -> tuple[Surface, ...]:
    """Return the heads of a network of the package as toolkits see them; or a module's logits.

    The head that hides least is last: logits scaled so that the softmax of these images (B, N) is
    neither flat nor saturated, as cross-entropy needs. A flat softmax, like that of raw
    log-energies, pulls towards all other classes at once; a saturated one has no slope.
    """
    m = loss_power_of(model, None)
    if not isinstance(model, Classifier):
        return (Surface("logits", _logits_of_module(model), "cross_entropy", m),)
    plain = "log-energy" if model.has_energy else "scores"
    surfaces = [
        Surface("tanh, the paper's objective", _logits(model, "tanh"), "objective", m),
        Surface("tanh, cross-entropy", _logits(model, "tanh"), "cross_entropy", m),
    ]
    if model.has_energy:  # for other networks this equals their scores
        surfaces.append(Surface("energy gap", _logits(model, "energy_gap"), "cross_entropy", m))
    scale = logit_scale(head_of(model, visible.shape[1:], log_energy=True)(visible).values)
    for name, factor in ((plain, 1.0), (f"{plain}, scaled", scale)):
        logits = _logits(model, "log_energy", factor)
        surfaces.append(Surface(name, logits, "cross_entropy", m))
    return tuple(surfaces)


def _logits_of_module(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda visible: logits_of(module(visible.clone()), len(visible))


def _logits(model: Classifier, head: HeadName, scale: float = 1.0) -> Callable[[Tensor], Tensor]:
    """Return the logits of ``ImageClassifier`` as a function of images in [-1, 1]."""
    classifier = ImageClassifier(model, head, scale=scale)
    return lambda visible: classifier(to_unit(visible))


def gradient_of(surface: Surface, images: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient of the loss, in the images' dtype and shape."""
    at = images.detach().requires_grad_()
    return heads.gradient_of(surface.losses(at, labels), at)


def climb(
    surface: Surface,
    start: Tensor,
    labels: Tensor,
    eps: float,
    steps: int,
    step: float,
    is_right: Callable[[Tensor, Tensor], Tensor],
) -> Climb:
    """Take ``steps`` along the sign of the gradient, within ``eps`` (Linf) and [-1, 1].

    One step of length eps is FGSM. An image stops where it is first labelled wrongly, by
    ``is_right`` (images, labels) -> (B,) bool; a gradient that is NaN moves nothing.
    """
    here, counts = start.clone(), torch.zeros(4, dtype=torch.int64)
    rows = is_right(start, labels).nonzero().flatten()
    for _ in range(steps):
        if not len(rows):
            break
        images, classes, clean = here[rows], labels[rows], start[rows]
        gradient = gradient_of(surface, images, classes)
        counts += _counts(gradient)
        moved = images + step * gradient.nan_to_num(0, 0, 0).sign()
        here[rows] = moved.clamp(clean - eps, clean + eps).clamp(-1, 1)
        rows = rows[is_right(here[rows], classes)]
    return Climb(here, _facts(counts))


def facts_of_gradient(gradient: Tensor) -> GradientFacts:
    """Return the defects of the gradients (B, ...) of a batch."""
    return _facts(_counts(gradient))


def _counts(gradient: Tensor) -> Tensor:
    """Count all gradients, and those that are zero, not finite or subnormal, (4,)."""
    largest = gradient.flatten(1).abs().amax(dim=1)  # NaN stays NaN
    finite = largest.isfinite()
    zero = largest == 0
    subnormal = finite & ~zero & (largest < torch.finfo(gradient.dtype).tiny)
    return torch.tensor([len(largest), int(zero.sum()), int((~finite).sum()), int(subnormal.sum())])


def _facts(counts: Tensor) -> GradientFacts:
    count, *bad = counts.tolist()
    return GradientFacts(count, *(each / max(1, count) for each in bad))
