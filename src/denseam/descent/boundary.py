"""Decision boundaries (section 4): from a clean image across to another class."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from denseam.descent.common import (
    bounds_of,
    check_images,
    check_numbers,
    check_targets,
    default_loss_power,
    in_parts,
)
from denseam.descent.goals import Goal, Margin, PaperObjective
from denseam.descent.heads import Head, head_of
from denseam.descent.loop import Norm, descend
from denseam.descent.result import DescentResult, Distances, Stop, code, codes_to_stops
from denseam.errors import InputError

__all__ = ["BoundaryResult", "Target", "cross_boundary"]

Target = Literal["second", "least", "random"] | int | Tensor
Objective = Literal["paper", "margin"]

# On the boundary the two scores differ by less than this part of the image's largest score.
RELATIVE_MARGIN = 1e-7
_BISECTIONS = 60


@dataclass(frozen=True)
class BoundaryResult(DescentResult):
    """A ``DescentResult`` whose ``images`` are the first ones behind the boundary."""

    before: Tensor  # (B, N): the last ones in front of it
    boundary: Tensor  # (B, N) float64: on it, between the two; where none was crossed, ``images``
    boundary_distances: Distances  # of ``boundary`` from the start
    margin: Tensor  # (B,) float64: what is left on it, relative to the largest score


def cross_boundary(
    model: nn.Module,
    visible: Tensor,
    target: Target = "second",
    *,
    step: float = 0.1,
    norm: Norm = "l2",
    objective: Objective = "paper",
    max_steps: int = 1000,
    loss_power: float | None = None,
    clip: bool = True,
    seed: int = 0,
    chunk: int = 1000,
    on_progress: Callable[[int, int], None] | None = None,
) -> BoundaryResult:
    """Deform images until another class overtakes (section 4), and find the boundary itself.

    The paper's procedure is the default: descend C_alpha of the model's second choice by steps of
    fixed length; its adversarial image is the first one behind the crossing. An image succeeds
    when that one is labelled as the target by the same model in float64.

    Args:
        model: a DenseAM, or any module that returns logits (B, C).
        visible: (B, N) in [-1, 1]; for other modules what they take, in [-1, 1].
        target: "second", "least" likely or "random" class, one class, or one for each image (B,).
        step: length of a step, visible units.
        norm: that length's norm.
        objective: "paper", C_alpha on Y (Eq. 3.1), or "margin", the log-energy of the top class
            minus that of the target (logits for other modules), which never saturates.
        max_steps: most steps of an image.
        loss_power: m of the paper's objective; by default 4 below n = 10 and 30 from there on.
        clip: keep pixels in [-1, 1].
        seed: of random targets.
        chunk: images at once: the memory needed does not grow with their number.
        on_progress: told of images done and images in all.

    Raises:
        InputError: for targets equal to the top choice, images outside [-1, 1], an empty batch,
            another dtype or device than the model's, or numbers out of range.
    """
    check_numbers(step=step, max_steps=max_steps, chunk=chunk)
    check_images(model, visible)
    if objective not in ("paper", "margin"):
        raise InputError(f"objective = {objective!r}: wanted 'paper' or 'margin'")
    if norm not in ("l2", "linf"):
        raise InputError(f"norm = {norm!r}: wanted 'l2' or 'linf'")
    head = head_of(model, log_energy=objective == "margin")
    m = default_loss_power(model) if loss_power is None else loss_power
    generator = torch.Generator().manual_seed(seed)

    def run(part: slice) -> BoundaryResult:
        start = visible[part]
        scores = head(start).values
        top = scores.argmax(dim=1)
        chosen = target[part] if isinstance(target, Tensor) else target
        targets = _targets(chosen, scores, top, generator)
        goal: Goal = Margin(top, targets) if objective == "margin" else PaperObjective(targets, m)
        end = descend(
            head, start, goal, step=step, max_steps=max_steps, bounds=bounds_of(clip=clip),
            norm=norm, crossed=lambda scores, rows: scores.argmax(dim=1) == targets[rows],
        )  # fmt: skip
        exact = _exact_head(model)
        crossed = end.codes == code(Stop.CROSSED)
        behind = exact(end.images.double()).values.argmax(dim=1) == targets
        boundary, margin = _bisect(exact, end.before, end.images, targets, crossed & behind)
        return BoundaryResult(
            end.images, top, targets, crossed & behind, Distances.between(start, end.images),
            end.steps, codes_to_stops(end.codes), clip,
            end.before, boundary, Distances.between(start, boundary), margin,
        )  # fmt: skip

    return in_parts(run, len(visible), chunk, on_progress)


def _targets(target: Target, scores: Tensor, top: Tensor, generator: torch.Generator) -> Tensor:
    """One class for each image, (B,), never its top one."""
    B, C = scores.shape
    if isinstance(target, str):
        order = scores.argsort(dim=1, descending=True, stable=True)
        if C < 2:
            raise InputError("a model of one class has no boundary")
        if target == "second":
            return order[:, 1]
        if target == "least":
            return order[:, -1]
        if target == "random":
            shift = torch.randint(1, C, (B,), generator=generator).to(top.device)
            return (top + shift) % C
        raise InputError(f"target = {target!r}: wanted 'second', 'least', 'random' or classes")
    targets = torch.as_tensor(target, device=top.device).expand(B)
    check_targets(targets, B, C, top)
    return targets


def _exact_head(model: nn.Module) -> Head:
    """The decisions of the same model in float64."""
    exact = copy.deepcopy(model).double()
    return head_of(exact, log_energy=False)


def _bisect(
    head: Head, before: Tensor, behind: Tensor, targets: Tensor, crossed: Tensor
) -> tuple[Tensor, Tensor]:
    """Where the target overtakes on the way from ``before`` to ``behind``: (B, N) and (B,).

    Bisection on the margin between the target and the best other class, in float64, with a secant
    step every other time.
    """
    boundary = behind.double().clone()
    margin = torch.full((len(behind),), torch.nan, dtype=torch.float64, device=behind.device)
    rows = crossed.nonzero().flatten()
    near, way = before[rows].double(), behind[rows].double() - before[rows].double()
    low, high = torch.zeros(2, len(rows), dtype=torch.float64, device=behind.device)
    high = high + 1
    low_margin = _margin(head, near, targets[rows])
    high_margin = _margin(head, near + way, targets[rows])
    for number in range(_BISECTIONS):
        if not len(rows):
            break
        secant = low + (high - low) * low_margin / (low_margin - high_margin)
        inside = (secant > low) & (secant < high) & (number % 2 == 0)
        middle = torch.where(inside, secant, (low + high) / 2)
        image = near + middle[:, None] * way
        found = _margin(head, image, targets[rows])
        boundary[rows], margin[rows] = image, found.abs()
        is_low = found < 0
        low, low_margin = torch.where(is_low, middle, low), torch.where(is_low, found, low_margin)
        high = torch.where(is_low, high, middle)
        high_margin = torch.where(is_low, high_margin, found)
        left = found.abs() > RELATIVE_MARGIN
        rows, near, way = rows[left], near[left], way[left]
        low, high, low_margin, high_margin = (x[left] for x in (low, high, low_margin, high_margin))
    return boundary, margin


def _margin(head: Head, images: Tensor, targets: Tensor) -> Tensor:
    """Target's score minus the best other's, relative to the largest score, (B,)."""
    scores = head(images).values
    own = scores.gather(1, targets[:, None]).squeeze(1)
    other = scores.scatter(1, targets[:, None], -torch.inf).amax(dim=1)
    largest = scores.abs().amax(dim=1)
    return torch.where(largest > 0, (own - other) / largest, 0.0)
