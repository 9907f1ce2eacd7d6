"""The result of a retrieval: states, energies, why each stopped, the nearest memory."""

import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from denseam.checks import whole
from denseam.errors import InputError
from denseam.figures import retrieval as figure
from denseam.figures.retrieval import RetrievedStates
from denseam.retrieval.dynamics import WhyStopped

__all__ = ["Retrieval"]

_SHOWN = 3  # steps between the start and the end: 1, 2, 4, as the first ones move most


@dataclass(frozen=True, eq=False)
class Retrieval:
    """B states retrieved from an associative memory of K patterns.

    Attributes:
        states: (B, D), where the dynamics ended; class neurons, if any, come last.
        start: (B, D), where they began.
        known: (B, D) bool, the clamped components.
        energies: (B, S + 1) float64, at the start and after each step; the last one repeats.
        stopped: B reasons: "fixed point", "cycle", "limit" or "inactive" (no memory acts there).
        steps: (B,) int64, taken until then; a sweep over all neurons is one step.
        nearest: (B,) int64, the position of the nearest stored pattern.
        overlap: (B,), cosine of the state and that pattern; m of the literature for +-1 patterns.
        labels: (B,) int64, the class of the retrieved visible part; None without class neurons.
        path: S + 1 tensors (B, D), if they were asked for with ``keep=True``, else empty.
        patterns: (B, D), the nearest patterns.
        shape: (H, W) of a picture, if known.
        n_classes: C, class neurons at the end of a state; 0 without.
    """

    states: Tensor
    start: Tensor
    known: Tensor
    energies: Tensor
    stopped: tuple[WhyStopped, ...]
    steps: Tensor
    nearest: Tensor
    overlap: Tensor
    labels: Tensor | None
    path: tuple[Tensor, ...]
    patterns: Tensor
    shape: tuple[int, int] | None
    n_classes: int

    def __len__(self) -> int:
        return len(self.states)

    def __repr__(self) -> str:
        reasons = ", ".join(f"{reason} {n}" for reason, n in Counter(self.stopped).items())
        overlap = float(self.overlap.double().mean()) if len(self) else float("nan")
        return f"Retrieval({len(self)} states; {reasons}; mean overlap {overlap:.4f})"

    @property
    def visible(self) -> Tensor:
        """The states without class neurons, (B, N)."""
        return self.states[:, : self.states.shape[1] - self.n_classes]

    @property
    def class_activity(self) -> Tensor:
        """The class neurons, (B, C)."""
        return self.states[:, self.states.shape[1] - self.n_classes :]

    def agreement(self, patterns: Tensor) -> Tensor:
        """Return the share of components with the sign of a pattern, (B, D) or (D,) -> (B,).

        For pictures in [-1, 1] these are the pixels of the right class, black or white.

        Raises:
            InputError: for patterns of another shape.
        """
        target = torch.as_tensor(patterns).to(self.states)
        target = target.reshape(-1, target.shape[-1]) if target.ndim < 3 else target.flatten(1)
        states = self.states[:, : target.shape[1]]
        if target.shape[1] not in (self.states.shape[1], self.visible.shape[1]):
            raise InputError(
                f"patterns have {target.shape[1]} components, the states {self.states.shape[1]}"
            )
        return ((states > 0) == (target > 0)).double().mean(dim=1)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; states are left out, and energies beyond floats are null."""
        return {
            "stopped": [str(reason) for reason in self.stopped],
            "steps": self.steps.tolist(),
            "nearest": self.nearest.tolist(),
            "overlap": [float(x) for x in self.overlap],
            "labels": None if self.labels is None else self.labels.tolist(),
            "energies": [[x if abs(x) < float("inf") else None for x in row]
                         for row in self.energies.tolist()],
        }  # fmt: skip

    def plot(self, path: str | os.PathLike[str] | None = None, *, most: int = 8) -> Any:
        """Draw the start, some steps, the end and the nearest pattern, and the energies.

        Args:
            path: a .png, .svg or .pdf file to write; without one, a figure of Matplotlib is
                returned, which a notebook shows.
            most: how many states to draw, the first ones.

        Raises:
            InputError: for another suffix, or no state.
            MissingPackageError: when matplotlib is not installed.
        """
        return figure.draw(self.record(most), path)

    def record(self, most: int = 8) -> RetrievedStates:
        """Return what ``plot`` draws, of the first states.

        Raises:
            InputError: for no state.
        """
        count = min(whole("most", most), len(self))
        if not count:
            raise InputError("a retrieval of no states: nothing to draw")
        H, W = self.shape or (1, self.visible.shape[1])
        between = self.path[1:-1]
        shown = sorted({min(len(between), 2**i) - 1 for i in range(_SHOWN)} if between else [])
        columns = [
            ("start", self.start),
            *((f"step {i + 1}", between[i]) for i in shown),
            ("retrieved", self.states),
            ("nearest", self.patterns),
        ]
        pictures = [x[:count, : H * W].reshape(count, H, W).float().clamp(-1, 1)
                    for _, x in columns]  # fmt: skip
        lines = zip(self.energies[:count], self.steps[:count].tolist(), strict=True)
        return RetrievedStates(
            torch.stack(pictures, dim=1),
            tuple(f"memory {int(m)}" for m in self.nearest[:count]),
            tuple(name for name, _ in columns),
            tuple(tuple(line[: step + 1].tolist()) for line, step in lines),
        )
