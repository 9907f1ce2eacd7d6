"""What a descent in pixel space ends with: one record for all images, failed ones included."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

__all__ = ["Descended", "DescentResult", "Distances", "Stop", "join"]


class Stop(StrEnum):
    """Why an image stopped."""

    CONVERGED = "converged"  # it no longer gets anywhere, see ``loop.descend``
    CROSSED = "crossed"  # the target class has overtaken
    MAX_STEPS = "max_steps"  # the limit of steps was reached first
    NO_GRADIENT = "no_gradient"  # the gradient is exactly zero
    NO_ACTIVE_MEMORY = "no_active_memory"  # no memory is active for any class: a true plateau
    NONFINITE = "nonfinite"  # scores or gradient are NaN or infinite


RUNNING = torch.iinfo(torch.int8).max  # among codes: not stopped


@dataclass(frozen=True)
class Descended:
    """Where a descent ended."""

    images: Tensor  # (B, N)
    before: Tensor  # (B, N): one step earlier
    steps: Tensor  # (B,) int64
    codes: Tensor  # (B,) int8: positions in ``Stop``

    @classmethod
    def at_start(cls, start: Tensor) -> "Descended":
        """Nobody has stopped yet."""
        steps = torch.zeros(len(start), dtype=torch.int64, device=start.device)
        codes = torch.full_like(steps, RUNNING, dtype=torch.int8)
        return cls(start.clone(), start.clone(), steps, codes)

    def put(
        self, rows: Tensor, images: Tensor, before: Tensor, steps: Tensor | int, codes: Tensor | int
    ) -> None:
        """Write down the images (A,) that have stopped."""
        self.images[rows], self.before[rows] = images, before
        self.steps[rows], self.codes[rows] = steps, codes


@dataclass(frozen=True)
class Distances:
    """How far each image has moved, (B,) each, in visible units (2 from black to white)."""

    l2: Tensor
    linf: Tensor
    l0: Tensor  # pixels that changed at all

    @classmethod
    def between(cls, start: Tensor, end: Tensor) -> "Distances":
        """From (B, N) and (B, N), in float64."""
        moved = (end.double() - start.double()).flatten(1)
        return cls(moved.norm(dim=1), moved.abs().amax(dim=1), (moved != 0).sum(dim=1))


@dataclass(frozen=True)
class DescentResult:
    """Images made by a descent. Failed ones are kept, with the reason.

    Attributes:
        images: (B, N) or of the shape given, visible units.
        labels: (B,) int64, the model's choice, or the label given, at the start.
        targets: (B,) int64, the class descended to, or away from.
        success: (B,) bool.
        distances: from the start.
        steps: (B,) int64.
        stopped: (B,), why each one stopped.
        clipped: whether images were kept in [-1, 1].
    """

    images: Tensor
    labels: Tensor
    targets: Tensor
    success: Tensor
    distances: Distances
    steps: Tensor
    stopped: tuple[Stop, ...]
    clipped: bool

    @classmethod
    def of(
        cls,
        start: Tensor,
        end: Descended,
        labels: Tensor,
        targets: Tensor,
        success: Tensor,
        *,
        shape: torch.Size,
        clipped: bool,
    ) -> "DescentResult":
        """The result of one descent from ``start`` (B, N), of images of ``shape``."""
        distances = Distances.between(start, end.images)
        images, stopped = end.images.reshape(-1, *shape), codes_to_stops(end.codes)
        return cls(images, labels, targets, success, distances, end.steps, stopped, clipped)

    @property
    def distance(self) -> Tensor:
        """L2 distance from the start, (B,), in visible units."""
        return self.distances.l2

    def __len__(self) -> int:
        return len(self.images)

    def stop_counts(self) -> dict[str, int]:
        """How many images stopped for each reason."""
        return {reason: self.stopped.count(reason) for reason in Stop if reason in self.stopped}


def codes_to_stops(codes: Tensor) -> tuple[Stop, ...]:
    """(B,) int8 positions in ``Stop`` -> reasons."""
    reasons = list(Stop)
    return tuple(reasons[code] for code in codes.tolist())


def code(reason: Stop) -> int:
    """The position of a reason, for tensors."""
    return list(Stop).index(reason)


def join(parts: Sequence[Any]) -> Any:
    """One record from those of consecutive parts of a batch; of several for each, several."""
    first = parts[0]
    if isinstance(first, Tensor):
        return torch.cat(list(parts))
    if isinstance(first, list):
        return [join(column) for column in zip(*parts, strict=True)]
    if isinstance(first, tuple):
        return tuple(each for part in parts for each in part)
    if is_dataclass(first) and not isinstance(first, type):
        joined = {f.name: join([getattr(p, f.name) for p in parts]) for f in fields(first)}
        return type(first)(**joined)
    return first
