"""The results of descents in pixel space: one record for all images, failed ones included."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from denseam.data.pixels import as_written
from denseam.descent.heads import head_of
from denseam.showing import Drawn, Shown, Tabular


class Stop(StrEnum):
    """The reason for which an image stopped."""

    CONVERGED = "converged"  # it no longer gets anywhere, see ``loop.descend``
    CROSSED = "crossed"  # the target class has overtaken
    MAX_STEPS = "max_steps"  # the limit of steps was reached first
    NO_GRADIENT = "no_gradient"  # the gradient is exactly zero
    NO_ACTIVE_MEMORY = "no_active_memory"  # no memory is active for any class: a true plateau
    NONFINITE = "nonfinite"  # scores or gradient are NaN or infinite


RUNNING = torch.iinfo(torch.int8).max  # among codes: not stopped


@dataclass(frozen=True)
class Descended:
    """The end of a descent, in tensors."""

    images: Tensor  # (B, N)
    before: Tensor  # (B, N): one step earlier
    steps: Tensor  # (B,) int64
    codes: Tensor  # (B,) int8: positions in ``Stop``

    @classmethod
    def at_start(cls, start: Tensor) -> "Descended":
        """Return images (B, N) none of which has moved or stopped."""
        steps = torch.zeros(len(start), dtype=torch.int64, device=start.device)
        codes = torch.full_like(steps, RUNNING, dtype=torch.int8)
        return cls(start.clone(), start.clone(), steps, codes)

    def put(
        self, rows: Tensor, images: Tensor, before: Tensor, steps: Tensor | int, codes: Tensor | int
    ) -> None:
        """Record images (A, N) of ``rows`` (A,) that have stopped."""
        self.images[rows], self.before[rows] = images, before
        self.steps[rows], self.codes[rows] = steps, codes


@dataclass(frozen=True, repr=False)
class Distances(Shown):
    """Distances of images from their start, (B,) each, in visible units (2 from black to white)."""

    l2: Tensor
    linf: Tensor
    l0: Tensor  # pixels that changed at all

    @classmethod
    def between(cls, start: Tensor, end: Tensor) -> "Distances":
        """Return the distances between images (B, N), computed in float64."""
        moved = (end.double() - start.double()).flatten(1)
        return cls(moved.norm(dim=1), moved.abs().amax(dim=1), (moved != 0).sum(dim=1))


@dataclass(frozen=True, repr=False)
class DescentResult(Shown, Drawn, Tabular):
    """The images that a descent ended with. Failed ones are kept, with the reason.

    Attributes:
        images: (B, N) or of the shape given, visible units.
        labels: (B,) int64, the right classes, or the model's choices at the start.
        targets: (B,) int64, the classes to lead images to, or away from.
        success: (B,) bool.
        distances: from the start.
        steps: (B,) int64.
        stopped: (B,) reasons.
        clipped: whether images were kept in [-1, 1].
    """

    _figure: ClassVar[str] = "grid"

    images: Tensor
    labels: Tensor
    targets: Tensor
    success: Tensor
    distances: Distances
    steps: Tensor
    stopped: tuple[Stop, ...]
    clipped: bool

    @property
    def distance(self) -> Tensor:
        """L2 distances from the start, (B,), in visible units."""
        return self.distances.l2

    def __len__(self) -> int:
        return len(self.images)

    def _summary(self) -> str:
        good = self.success
        moved = ""
        if bool(good.any()):
            l2, linf = self.distances.l2[good].median(), self.distances.linf[good].median()
            moved = f", median L2 {float(l2):.3g} and Linf {float(linf):.3g} (visible units)"
        stops = ", ".join(f"{reason} {count}" for reason, count in self.stop_counts().items())
        return f"{int(good.sum())} of {len(self)} images succeeded{moved}; stopped: {stops}"

    def _columns(self) -> dict[str, list[Any]]:
        distances = {f.name: getattr(self.distances, f.name) for f in fields(self.distances)}
        columns = {
            "label": self.labels, "target": self.targets, "success": self.success, **distances,
            "steps": self.steps,
        }  # fmt: skip
        lists = {name: column.tolist() for name, column in columns.items()}
        return {**lists, "stopped": [str(reason) for reason in self.stopped]}

    def _sheet(self, count: int) -> tuple[Tensor, tuple[str, ...], Tensor]:
        rows = self.labels[:count].tolist(), self.targets[:count].tolist()
        captions = tuple(f"{a} → {b}" if a != b else f"{a}" for a, b in zip(*rows, strict=True))
        return self.images[:count], captions, ~self.success[:count].cpu()

    def written(self, model: nn.Module) -> Tensor:
        """Return which images succeed also as 8-bit pictures, (B,) bool.

        Rounding to 256 levels carries about half of the nearest wrong images back across the
        boundary; those that ``minimum_norm`` finds for images of 256 levels stay.

        Args:
            model: the one that was attacked.

        >>> import denseam
        >>> model = denseam.load_pretrained("mnist-n2")
        >>> visible = denseam.data.load("mnist").test.visible()[:8]
        >>> nearest = denseam.minimum_norm(model, visible)
        >>> int(nearest.written(model).sum())
        8
        """
        head = head_of(model, self.images.shape[1:], log_energy=True)
        before = head(self.images.flatten(1)).values.argmax(dim=1)
        after = head(as_written(self.images.flatten(1))).values.argmax(dim=1)
        return self.success & ((after == before) | (after != self.labels))

    def stop_counts(self) -> dict[str, int]:
        """Count the images that stopped for each reason."""
        return {reason: self.stopped.count(reason) for reason in Stop if reason in self.stopped}


def codes_to_stops(codes: Tensor) -> tuple[Stop, ...]:
    """Return the reasons at positions (B,) int8 in ``Stop``."""
    reasons = list(Stop)
    return tuple(reasons[code] for code in codes.tolist())


def code(reason: Stop) -> int:
    """Return the position of a reason in ``Stop``."""
    return list(Stop).index(reason)


def join(results: Sequence[Any]) -> Any:
    """Join the results of consecutive chunks: tensors, records and tuples; lists item by item."""
    first = results[0]
    if isinstance(first, Tensor):
        return torch.cat(list(results))
    if isinstance(first, list):
        return [join(column) for column in zip(*results, strict=True)]
    if isinstance(first, tuple):
        return tuple(item for result in results for item in result)
    if is_dataclass(first) and not isinstance(first, type):
        columns = {f.name: [getattr(each, f.name) for each in results] for f in fields(first)}
        return type(first)(**{name: join(column) for name, column in columns.items()})
    return first
