"""Decision boundaries (section 4): from a clean image across to another class."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from denseam.checks import choice, whole
from denseam.descent.bisection import bisect
from denseam.descent.common import (
    Progress,
    bounds_of,
    check_images,
    in_parts,
    loss_power_of,
    visible_length,
    watch,
)
from denseam.descent.controller import descend_controlled
from denseam.descent.goals import Goal, Margin, PaperObjective
from denseam.descent.heads import Head, head_of
from denseam.descent.loop import Norm, OnStep, descend
from denseam.descent.result import Descended, DescentResult, Distances, Stop, code, codes_to_stops
from denseam.descent.targets import Target, resolve
from denseam.descent.trace import Trace, trace
from denseam.errors import InputError

__all__ = ["BoundaryResult", "Mode", "Objective", "cross_boundary"]

Objective = Literal["paper", "margin"]
Mode = Literal["faithful", "controlled"]


@dataclass(frozen=True)
class BoundaryResult(DescentResult):
    """A ``DescentResult`` whose ``images`` are the first ones behind the boundary.

    It has these besides the attributes of that; (B, N) are images in the shape given.

    Attributes:
        before: (B, N), the last ones in front of it.
        boundary: (B, N) float64, on it, between the two; where none was crossed, ``images``.
        boundary_distances: of ``boundary`` from the start.
        margin: (B,) float64, what is left on it, relative to the larger of the two scores.
        final: (B, N), converged, where that was asked for; None otherwise.
        traces: of the samples asked for, in the order of the images.
    """

    before: Tensor
    boundary: Tensor
    boundary_distances: Distances
    margin: Tensor
    final: Tensor | None
    traces: tuple[Trace, ...]


def cross_boundary(
    model: nn.Module,
    visible: Tensor,
    target: Target = "second",
    *,
    step: float = 0.1,
    norm: Norm = "l2",
    objective: Objective = "paper",
    mode: Mode = "faithful",
    max_steps: int = 1000,
    loss_power: float | None = None,
    clip: bool = True,
    converge: bool = False,
    samples: Sequence[int] = (),
    seed: int = 0,
    chunk: int = 1000,
    on_step: OnStep | None = None,
    on_progress: Progress | None = None,
) -> BoundaryResult:
    """Deform images until another class overtakes (section 4), and find the boundary itself.

    The paper's procedure is the default: descend C_alpha of the model's second choice alpha by
    steps of fixed length eps,

        v <- clip(v - eps u, -1, 1),   u = grad_v C_alpha / |grad_v C_alpha|       (Eq. 3.2)
        C_alpha = sum_c (Y_c - t_c)^(2m),   t_c = +1 at c = alpha, -1 elsewhere    (Eq. 3.1)

    Its adversarial image is the first one behind the crossing. An image succeeds when that one is
    labelled as the target by the same model in float64.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        visible: (B, N) in [-1, 1]; for other modules what they take, in [-1, 1].
        target: "second", "least" likely or "random" class, one class, or one for each image (B,);
            for each class in turn, repeat the images.
        step: eps, the length of a step, visible units.
        norm: that length's norm: "l2", or "linf", where u is the sign of the gradient.
        objective: "paper", C_alpha on Y (Eq. 3.1), or "margin", the log-energy of the top class
            minus that of the target (logits for other modules), which never saturates.
        mode: "faithful" takes steps of that length only. "controlled" follows the same curve by
            steps as long as it is straight, with far fewer gradients, and then puts the image
            one ``step`` behind the boundary; ``steps`` of the result count gradients. L2 only.
        max_steps: most steps of an image.
        loss_power: m of the paper's objective; by default 4 below n = 10 and 30 from there on.
        clip: keep pixels in [-1, 1].
        converge: go on behind the boundary until images converge, for ``final``.
        samples: of these images the two objectives along the way, from start to convergence.
        seed: of random targets.
        chunk: images at once: the memory needed does not grow with their number.
        on_step: told of every step, with the images still on their way.
        on_progress: told of images done and images in all.

    Returns:
        A ``BoundaryResult`` of all images, failed ones included, in visible units.

    Raises:
        InputError: for targets equal to the top choice, images outside [-1, 1], an empty batch,
            another dtype or device than the model's, or numbers out of range.
    """
    step, max_steps, chunk = (
        visible_length("step", step),
        whole("max_steps", max_steps),
        whole("chunk", chunk),
    )
    m = loss_power_of(model, loss_power)
    check_images(model, visible)
    objective = choice("objective", objective, get_args(Objective))
    norm, mode = choice("norm", norm, get_args(Norm)), choice("mode", mode, get_args(Mode))
    if mode == "controlled" and norm != "l2":
        raise InputError(f"norm = {norm!r}: the controlled mode follows the curve of the L2 norm")
    samples = [whole("samples", i, 0, len(visible) - 1) for i in samples]
    shape, flat = visible.shape[1:], visible.flatten(1)
    head = head_of(model, shape, log_energy=objective == "margin")
    exact = head_of(copy.deepcopy(model).double(), shape, log_energy=False)
    bounds = bounds_of(clip=clip)
    scores = in_parts(lambda part: head(flat[part]).values, len(flat), chunk)
    all_top, all_targets = scores.argmax(dim=1), resolve(target, scores, seed=seed)

    def run(part: slice) -> BoundaryResult:
        start, top, targets = flat[part], all_top[part], all_targets[part]
        goal: Goal = Margin(top, targets) if objective == "margin" else PaperObjective(targets, m)
        follow = partial(descend, norm=norm) if mode == "faithful" else descend_controlled
        end = follow(
            head, start, goal, step=step, max_steps=max_steps, bounds=bounds,
            crossed=lambda scores, rows: scores.argmax(dim=1) == targets[rows],
            on_step=watch(part, len(flat), on_step, on_progress),
        )  # fmt: skip
        boundary, margin, success = _locate(exact, end, targets)
        if mode == "controlled":
            end = _one_step_behind(end, boundary, success, step, bounds)
            success &= _is_behind(exact, end.images, targets)
        final = None
        if converge:
            final = descend(
                head, end.images, goal, step=step, max_steps=max_steps, bounds=bounds, norm=norm
            ).images.reshape(-1, *shape)
        inside = sorted(i - part.start for i in samples if part.start <= i < part.stop)
        traces = trace(
            head, head_of(model, shape, log_energy=False), start, goal, top, targets, inside,
            loss_power=m, step=step, max_steps=max_steps, bounds=bounds, norm=norm,
        ) if inside else ()  # fmt: skip
        return BoundaryResult(
            end.images.reshape(-1, *shape), top, targets, success,
            Distances.between(start, end.images), end.steps, codes_to_stops(end.codes), clip,
            end.before.reshape(-1, *shape), boundary.reshape(-1, *shape),
            Distances.between(start, boundary), margin, final,
            tuple(each.moved(part.start, shape) for each in traces),
        )  # fmt: skip

    return in_parts(run, len(flat), chunk, on_progress)


def _locate(exact: Head, end: Descended, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The boundary (B, N), the margin left on it (B,), and which images got behind it (B,)."""
    success = (end.codes == code(Stop.CROSSED)) & _is_behind(exact, end.images, targets)
    return *bisect(exact, end.before, end.images, targets, success), success


def _is_behind(exact: Head, images: Tensor, targets: Tensor) -> Tensor:
    """(B,) bool: whether the target wins in float64, and not a tie without an active memory."""
    scores = exact(images.double())
    return (scores.values.argmax(dim=1) == targets) & scores.active


def _one_step_behind(
    end: Descended,
    boundary: Tensor,
    success: Tensor,
    step: float,
    bounds: tuple[float, float] | None,
) -> Descended:
    """The images moved to one step behind the boundary, on the chord that crossed it."""
    way = (end.images - end.before).double()
    length = torch.linalg.vector_norm(way, dim=1, keepdim=True)
    behind = boundary + step * way / length.clamp(min=torch.finfo(way.dtype).tiny)
    if bounds is not None:
        behind = behind.clamp(*bounds)
    images = torch.where(success[:, None], behind.to(end.images.dtype), end.images)
    return Descended(images, end.before, end.steps, end.codes)
