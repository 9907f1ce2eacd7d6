"""Class scores of a batch, and directions back to its inputs, for any classifier.

A *head* turns inputs into scores, and pulls weights of the scores back to the inputs. Only
directions are used in input space, so each row of a pull may be scaled by any positive
factor: that keeps it from underflowing where the gradient itself would. At noise images off / T is
about 0.02, and 0.02^29 is zero in float32; a field divided by the image's largest one is at most 1,
and the largest term of every row survives.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from denseam.errors import InputError
from denseam.precision import full_precision

__all__ = [
    "HEADS",
    "Head",
    "HeadName",
    "Norm",
    "Scores",
    "largest_one",
    "lead",
    "module_head",
    "own_and_best_other",
    "unit",
]

HeadName = Literal["log_energy", "energy_gap", "tanh"]
HEADS: tuple[HeadName, ...] = get_args(HeadName)
Norm = Literal["l2", "linf"]  # of changes to inputs

_DROPOUTS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


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
        if not len(inputs):  # many modules reshape by the number of images, and take none of 0
            one = scores(inputs.new_zeros(1, shape.numel()))
            return Scores(one.values[:0], one.active[:0], lambda _: torch.zeros_like(inputs))
        # A caller's mixed precision would change labels; what the module itself asks for stays.
        with torch.enable_grad(), full_precision(inputs):
            images = inputs.detach().requires_grad_()
            # A copy: the module may change it in place.
            values = logits_of(module(images.reshape(-1, *shape).clone()), len(inputs))

        def pull(weights: Tensor) -> Tensor:
            with full_precision(inputs):
                return gradient_of(values, images, weights.to(values.dtype))

        everywhere = torch.ones(len(inputs), dtype=torch.bool, device=inputs.device)
        return Scores(values.detach().double(), everywhere, pull)

    return scores


def logits_of(returned: object, count: int) -> Tensor:
    """Return what a module said of ``count`` images as logits (B, C).

    Args:
        returned: logits, or an output with the member ``logits``, as Hugging Face has them.
        count: B.

    Raises:
        InputError: for anything else.
    """
    values = with_logits(returned)
    form = f"{type(values)}"
    if isinstance(values, Tensor):
        fits = values.ndim == 2 and len(values) == count and values.shape[1] > 0
        plain = values.layout is torch.strided and values.is_floating_point()
        if fits and plain:
            return values
        form = f"{values.dtype}" if fits else f"shape {tuple(values.shape)}"
    raise InputError(f"the module returned {form} for {count} images: wanted logits (B, C)")


def with_logits(returned: Any) -> Any:
    """Return the member ``logits`` of a module's output, or the output itself."""
    if isinstance(returned, Mapping):
        return returned.get("logits", returned)
    return returned if isinstance(returned, Tensor) else getattr(returned, "logits", returned)


def gradient_of(values: Tensor, images: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the gradient of a module's logits, weighted, or of its loss, by its images.

    Raises:
        InputError: when there is none.
    """
    gradient = None
    if values.requires_grad:
        (gradient,) = torch.autograd.grad(
            values, images, weights, retain_graph=True, allow_unused=True
        )
    if gradient is None:
        raise InputError(
            "the module's logits have no gradient with respect to its images: does it "
            "detach them, or leave PyTorch on the way? square_attack needs no gradient"
        )
    return gradient


def unit(gradient: Tensor, norm: Norm = "l2") -> tuple[Tensor, Tensor]:
    """Return the steepest directions (B, N), of length 1, and the gradients' L2 norms (B,).

    In L2 that is the unit vector, in Linf the sign. Zero and non-finite rows give zeros. Rows are
    divided by their largest component first, so that no square under- or overflows.
    """
    largest = torch.linalg.vector_norm(gradient, ord=torch.inf, dim=1, keepdim=True)
    usable = (largest > 0) & largest.isfinite()
    scaled = gradient / torch.where(usable, largest, 1.0)
    if not bool(usable.all()):
        scaled = torch.where(usable, scaled, 0.0)
    size = torch.linalg.vector_norm(scaled, dim=1, keepdim=True, dtype=torch.float64)
    if norm == "linf":
        scaled.sign_()
    else:
        scaled.div_(torch.where(usable, size, 1.0).to(gradient.dtype))
    return scaled, (size * largest).squeeze(1)


def check_deterministic(model: nn.Module) -> None:
    """Raise InputError for dropout that is training, or batch normalisation by batches."""
    for module in model.modules():
        name = f"the model's {type(module).__name__}"
        if module.training and isinstance(module, (*_DROPOUTS, *_BATCH_NORMS)):
            raise InputError(f"{name} is training: call .eval() first")
        if isinstance(module, _BATCH_NORMS) and module.running_mean is None:
            raise InputError(
                f"{name} has no running statistics, so that its answer to an image depends on the "
                "others in the batch: wanted track_running_stats=True"
            )


def check_repeatable(scores: Tensor, again: Tensor, dtype: torch.dtype) -> None:
    """Raise InputError where a module has scored an image otherwise than before, (B, C) each.

    An attack asks once for each step, and takes a lucky draw for the end of its way.
    """
    if scores.shape == again.shape and torch.equal(scores, again):
        return
    finite = scores.isfinite()
    size = float(scores[finite].abs().amax()) if bool(finite.any()) else 0.0
    # Batches of another size round differently; on a card, by 1e-3 where products are in TF32.
    slack = max(1e-2, torch.finfo(dtype).eps ** 0.5) * size
    if scores.shape != again.shape or not torch.allclose(
        scores, again, rtol=0, atol=slack, equal_nan=True
    ):
        raise InputError(
            "the model scores one image differently when asked again: attacks need a deterministic "
            "one, and numbers measured so say little; let it draw the same noise for every image, "
            "or average over much of it"
        )


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
