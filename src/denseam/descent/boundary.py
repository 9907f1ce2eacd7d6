"""Decision boundaries (section 4): from a clean image across to another class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from denseam.checks import choice, plain, seed_of, whole
from denseam.data.validate import check_labels
from denseam.descent.batch import Batch, Progress
from denseam.descent.controller import heun
from denseam.descent.goals import Goal, Margin, PaperObjective, loss_power_of
from denseam.descent.heads import Head, head_of
from denseam.descent.loop import OnStep, Pace, descend, euler
from denseam.descent.result import Descended, DescentResult, Distances, Stop, code
from denseam.descent.roots import on_boundary
from denseam.descent.trace import Trace, trace
from denseam.errors import InputError
from denseam.heads import Norm

Objective = Literal["paper", "margin"]
Mode = Literal["faithful", "controlled"]
RankedTarget = Literal["second", "least", "random"]
Target = RankedTarget | int | Tensor

_WANTED = f"wanted {', '.join(map(repr, get_args(RankedTarget)))}, a class, or one for each image"


@dataclass(frozen=True, repr=False)
class BoundaryResult(DescentResult):
    """A ``DescentResult`` whose ``images`` are the first ones behind the boundary.

    It has these attributes besides; images (B, N) have the shape in which they were given.

    Attributes:
        before: (B, N), the last images in front of the boundary.
        boundary: (B, N) float64, on it, between the two; ``images`` where none was crossed.
        boundary_distances: of ``boundary`` from the start.
        margin: (B,) float64, the difference of the two scores on the boundary, relative to the
            larger one.
        final: (B, N), converged, if ``converge`` was set; None otherwise.
        traces: of the images in ``samples``, in the order of the batch.
    """

    before: Tensor
    boundary: Tensor
    boundary_distances: Distances
    margin: Tensor
    final: Tensor | None
    traces: tuple[Trace, ...]

    def _summary(self) -> str:
        crossed = self.boundary_distances.l2[self.success]
        where = f"; median L2 of the boundary {float(crossed.median()):.3g}" if len(crossed) else ""
        return super()._summary() + where

    def _columns(self) -> dict[str, list[Any]]:
        there = self.boundary_distances
        return {
            **super()._columns(), "boundary_l2": there.l2.tolist(),
            "boundary_linf": there.linf.tolist(), "margin": self.margin.tolist(),
        }  # fmt: skip


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
    exact: nn.Module | None = None,
    chunk: int = 1000,
    on_step: OnStep | None = None,
    on_progress: Progress | None = None,
) -> BoundaryResult:
    """Deform images until another class overtakes (section 4), and find the boundary itself.

    The paper's procedure is the default: descend C_alpha of the model's second choice alpha by
    steps of fixed length eps,

        v <- clip(v - eps u, -1, 1),   u = grad_v C_alpha / |grad_v C_alpha|       (Eq. 3.2)
        C_alpha = sum_c (Y_c - t_c)^(2m),   t_c = +1 at c = alpha, -1 elsewhere    (Eq. 3.1)

    Its adversarial image is the first one behind the crossing. An image succeeds when the same
    model in float64 labels that one as the target.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        visible: (B, N) in [-1, 1]; other modules may take another shape (B, ...).
        target: "second", "least" likely or "random" class, one class, or one for each image (B,);
            for each class in turn, repeat the images.
        step: eps, the length of a step, visible units.
        norm: of a step: "l2", or "linf", where u is the sign of the gradient.
        objective: "paper", C_alpha on Y (Eq. 3.1), or "margin", the log-energy of the top class
            minus that of the target (logits of other modules), which never saturates.
        mode: "faithful" takes steps of one length. "controlled" takes longer ones while the curve
            is straight, with far fewer gradients, and puts the image one step behind the boundary;
            then the steps of the result count gradients. L2 only.
        max_steps: most steps of an image.
        loss_power: m of the paper's objective; by default 4 below n = 10 and 30 from there on.
        clip: keep pixels in [-1, 1].
        converge: go on behind the boundary until images converge, for ``final``.
        samples: images to trace: both objectives along the way, from start to convergence.
        seed: of random targets.
        exact: the same model in float64, which decides; a copy of it by default.
        chunk: images at once: the memory needed does not grow with their number.
        on_step: called before every step with the images that have not stopped.
        on_progress: called with the number of images done and of all.

    Returns:
        A ``BoundaryResult`` of all images, failed ones included, in visible units.

    Raises:
        InputError: for targets equal to the top choice, images outside [-1, 1], an empty batch,
            another dtype or device than the model's, or numbers out of range.

    >>> import denseam
    >>> model = denseam.load_pretrained("mnist-n30")
    >>> visible = denseam.data.load("mnist").test.visible()[:2]
    >>> crossed = denseam.cross_boundary(model, visible)
    >>> crossed.success.tolist(), bool((crossed.margin < 1e-6).all())
    ([True, True], True)
    """
    pace, m = Pace(step, max_steps, norm, clip), loss_power_of(model, loss_power)
    choice("objective", objective, get_args(Objective))
    if choice("mode", mode, get_args(Mode)) == "controlled" and norm != "l2":
        raise InputError(f"norm = {norm!r}: the controlled mode follows the curve of the L2 norm")
    on_margin = objective == "margin"
    batch = Batch(
        model, visible, log_energy=on_margin, clip=clip, chunk=chunk, on_progress=on_progress
    )
    samples = sorted(whole("samples", i, 0, len(batch) - 1) for i in samples)
    gaps = head_of(model, batch.shape, log_energy=False) if on_margin else batch.head
    decides = batch.exact_head(exact, log_energy=False)
    all_top, all_targets = batch.scores.argmax(dim=1), targets_of(target, batch.scores, seed=seed)

    def run(rows: slice) -> BoundaryResult:
        start, top, targets = batch.flat[rows], all_top[rows], all_targets[rows]
        goal: Goal = Margin(top, targets) if on_margin else PaperObjective(targets, m)
        end = descend(
            batch.head, start, goal, pace, on_step=batch.watched(rows, on_step),
            advance=euler if mode == "faithful" else heun,
            crossed=lambda scores, active: scores.argmax(dim=1) == targets[active],
        )  # fmt: skip
        success = (end.codes == code(Stop.CROSSED)) & _is_behind(decides, end.images, targets)
        boundary, margin = on_boundary(decides, end.before, end.images, targets, success)
        if mode == "controlled":
            end = _one_step_behind(end, boundary, success, pace)
            success &= _is_behind(decides, end.images, targets)
        final = descend(batch.head, end.images, goal, pace).images if converge else None
        chosen = [i - rows.start for i in samples if rows.start <= i < rows.stop]
        traces = trace(batch.head, gaps, start, goal, (top, targets), chosen, pace, m)
        return BoundaryResult(
            **vars(batch.result(start, end, top, targets, success)),
            before=batch.unflat(end.before),
            boundary=batch.unflat(boundary),
            boundary_distances=Distances.between(start, boundary),
            margin=margin,
            final=None if final is None else batch.unflat(final),
            traces=tuple(each.moved(rows.start, batch.shape) for each in traces),
        )

    return batch.in_chunks(run)


def targets_of(target: Target, scores: Tensor, *, seed: int) -> Tensor:
    """Return the class to lead each image to, (B,) int64, never its top one.

    Args:
        target: "second", "least" likely or "random" class, one class, or one for each image (B,).
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
        if target == "second":  # of ties the top class may come second
            return torch.where(order[:, 0] == top, order[:, 1], order[:, 0])
        if target == "least":
            return order[:, -1]
        if target == "random":
            generator = torch.Generator().manual_seed(seed_of(seed))
            return (top + torch.randint(1, C, (B,), generator=generator).to(top.device)) % C
        raise InputError(f"target = {target!r}: {_WANTED}")
    try:
        targets = torch.as_tensor(target, device=top.device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"target = {target!r}: {_WANTED}") from error
    if targets.ndim and targets.shape != (B,):
        raise InputError(f"targets of shape {tuple(targets.shape)}: wanted ({B},), one each")
    targets = targets.expand(B)
    check_labels(targets, C, B)
    same = (targets == top).nonzero().flatten()
    if len(same):
        raise InputError(
            f"{len(same)} of {B} targets are the model's own top choice (the first: image "
            f"{int(same[0])}, class {int(targets[same[0]])}): there is no boundary to cross"
        )
    return targets


def _is_behind(exact: Head, images: Tensor, targets: Tensor) -> Tensor:
    """Return where the target wins in float64, (B,); a tie without an active memory is none."""
    scores = exact(images.double())
    return (scores.values.argmax(dim=1) == targets) & scores.active


def _one_step_behind(end: Descended, boundary: Tensor, success: Tensor, pace: Pace) -> Descended:
    """Move the images to one step behind the boundary, on the chord that crossed it."""
    way = (end.images - end.before).double()
    length = torch.linalg.vector_norm(way, dim=1, keepdim=True)
    behind = boundary + pace.step * way / length.clamp(min=torch.finfo(way.dtype).tiny)
    behind = pace.clipped(behind).to(end.images.dtype)
    return Descended(
        torch.where(success[:, None], behind, end.images), end.before, end.steps, end.codes
    )
