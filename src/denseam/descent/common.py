"""What the descents share: defaults, checks of arguments, work in parts."""

from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn

from denseam.checks import number
from denseam.classifier import Classifier
from denseam.data.validate import check_labels, check_visible
from denseam.descent.loop import OnStep, Step
from denseam.descent.result import join
from denseam.errors import InputError

__all__ = [
    "Progress",
    "bounds_of",
    "check_deterministic",
    "check_images",
    "check_targets",
    "in_parts",
    "loss_power_of",
    "visible_length",
    "watch",
]

Progress = Callable[[int, int], None]
"""Told of images done and images in all."""

Result = TypeVar("Result")

_DROPOUTS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def bounds_of(*, clip: bool) -> tuple[float, float] | None:
    """The box of visible units, or none."""
    return (-1.0, 1.0) if clip else None


def visible_length(name: str, value: Any) -> float:
    """Return a length > 0 in visible units; InputError for anything else."""
    return number(name, value, above=0, unit="visible units")


def loss_power_of(model: nn.Module, given: float | None) -> float:
    """m of the paper's objective: what was given, or the paper's for the model.

    That is 4 for features (n = 2, 3) and 30 for prototypes (n = 20, 30).

    Raises:
        InputError: for an m that is not a finite number from 1 on, as in training.
    """
    if given is None:
        return 30.0 if isinstance(model, Classifier) and model.power >= 10 else 4.0
    return number("loss_power", given, least=1)


def check_images(model: nn.Module, visible: Tensor) -> None:
    """InputError unless there are images, in range, of the model's dtype and on its device.

    And unless the model is deterministic: dropout and batch normalisation as in training are not.
    """
    if isinstance(model, Classifier) or not isinstance(visible, Tensor) or visible.ndim < 2:
        n_visible = model.n_visible if isinstance(model, Classifier) else 1
        check_visible(visible, n_visible, allow_empty=False)
    else:
        check_visible(visible.flatten(1), visible[0].numel(), allow_empty=False)
    own = next(model.parameters(), None)
    if own is not None and (visible.dtype != own.dtype or visible.device != own.device):
        raise InputError(
            f"images are {visible.dtype} on {visible.device}, the model {own.dtype} on "
            f"{own.device}: convert one with .to()"
        )
    check_deterministic(model)


def check_deterministic(model: nn.Module) -> None:
    """InputError where dropout or batch normalisation work as in training."""
    for module in model.modules():
        name = f"the model's {type(module).__name__}"
        if module.training and isinstance(module, (*_DROPOUTS, *_BATCH_NORMS)):
            raise InputError(f"{name} is training: call .eval() first")
        if isinstance(module, _BATCH_NORMS) and module.running_mean is None:
            raise InputError(
                f"{name} has no running statistics, so that its answer to an image depends on the "
                "others in the batch: wanted track_running_stats=True"
            )


def check_targets(targets: Tensor, count: int, n_classes: int, top: Tensor) -> None:
    """InputError unless there is one class for each image, and never its top choice."""
    check_labels(targets, n_classes, count)
    same = (targets == top).nonzero().flatten()
    if len(same):
        raise InputError(
            f"{len(same)} of {count} targets are the model's own top choice (the first: image "
            f"{int(same[0])}, class {int(targets[same[0]])}): there is no boundary to cross"
        )


def in_parts(
    run: Callable[[slice], Result],
    count: int,
    chunk: int,
    on_progress: Progress | None = None,
) -> Result:
    """``run`` over consecutive slices of ``chunk`` images, joined; memory stays that of one."""
    parts = []
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        parts.append(run(slice(start, stop)))
        if on_progress is not None:
            on_progress(stop, count)
    joined: Result = join(parts)
    return joined


def watch(
    part: slice, count: int, on_step: OnStep | None, on_progress: Progress | None
) -> OnStep | None:
    """A callback of a part's steps: rows count from the whole batch, stopped images are done."""
    if on_step is None and on_progress is None:
        return None

    def look(step: Step) -> None:
        if on_step is not None:
            on_step(Step(step.number, step.rows + part.start, step.images, step.scores))
        if on_progress is not None:
            on_progress(part.stop - len(step.rows), count)

    return look
