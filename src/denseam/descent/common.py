"""What the descents share: defaults, checks of arguments, work in parts."""

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn

from denseam.data.validate import check_labels, check_visible
from denseam.descent.result import join
from denseam.errors import InputError
from denseam.model import DenseAM

__all__ = [
    "bounds_of",
    "check_images",
    "check_numbers",
    "check_targets",
    "default_loss_power",
    "in_parts",
]

Progress = Callable[[int, int], None]
Result = TypeVar("Result")


def bounds_of(*, clip: bool) -> tuple[float, float] | None:
    """The box of visible units, or none."""
    return (-1.0, 1.0) if clip else None


def default_loss_power(model: nn.Module) -> float:
    """The paper's m: 4 for features (n = 2, 3), 30 for prototypes (n = 20, 30)."""
    return 30.0 if isinstance(model, DenseAM) and model.power >= 10 else 4.0


def check_numbers(*, step: float, max_steps: int, chunk: int) -> None:
    """InputError unless all are positive."""
    if not step > 0:
        raise InputError(f"step = {step!r}: wanted a length > 0, in visible units")
    for name, value in (("max_steps", max_steps), ("chunk", chunk)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{name} = {value!r}: wanted a whole number >= 1")


def check_images(model: nn.Module, visible: Tensor) -> None:
    """InputError unless there are images, in range, of the model's dtype and on its device."""
    n_visible = model.n_visible if isinstance(model, DenseAM) else visible.shape[-1]
    if not isinstance(model, DenseAM):
        visible = visible.flatten(1)
        n_visible = visible.shape[1]
    check_visible(visible, n_visible, allow_empty=False)
    own = next(model.parameters(), None)
    if own is not None and (visible.dtype != own.dtype or visible.device != own.device):
        raise InputError(
            f"images are {visible.dtype} on {visible.device}, the model {own.dtype} on "
            f"{own.device}: convert one with .to()"
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
    run: Callable[[slice], Result], count: int, chunk: int, on_progress: Progress | None
) -> Result:
    """``run`` over consecutive slices of ``chunk`` images, joined; memory stays that of one."""
    parts = []
    for start in range(0, count, chunk):
        parts.append(run(slice(start, start + chunk)))
        if on_progress is not None:
            on_progress(min(start + chunk, count), count)
    joined: Result = join(parts)
    return joined
