"""What attacks through each head of a model leave of its accuracy, and what all attacks leave."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from denseam.errors import InputError
from denseam.figures import canvas
from denseam.figures.checks import check_fractions, check_names, check_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["AuditCurves", "plot", "save"]


@dataclass(frozen=True, eq=False)
class AuditCurves:
    """Accuracy against the size of an attack.

    Attributes:
        names: R heads, at most 8.
        eps: (E,) Linf sizes in [0, 1] units, rising from 0: the clean images.
        accuracies: (R, E) what is left of the accuracy at each.
        nearest: (B,) Linf distances of the nearest wrong images, [0, 1] units; infinite where none
            was found.

    Raises:
        InputError: when any of it does not fit together.
    """

    names: tuple[str, ...]
    eps: tuple[float, ...]
    accuracies: Tensor
    nearest: Tensor

    def __post_init__(self) -> None:
        check_names(self.names, "names")
        check_numbers(self.eps, "eps")
        if len(self.names) > len(canvas.CURVES):
            raise InputError(f"{len(self.names)} curves cannot be told apart: at most 8")
        if self.eps[0] != 0 or any(a >= b for a, b in pairwise(self.eps)):
            raise InputError(f"eps must rise from 0, got {self.eps}")
        check_fractions(self.accuracies, (len(self.names), len(self.eps)), "accuracies")
        if self.nearest.ndim != 1 or not bool((self.nearest >= 0).all()):
            raise InputError("nearest: wanted distances (B,) >= 0")


def plot(record: AuditCurves, ax: "Axes") -> None:
    """Draw accuracies in %; the area below the minimum-norm attack is what any attack leaves."""
    budgets = torch.linspace(0, record.eps[-1], 400, dtype=torch.float64)
    left = 100 * (record.nearest.double().cpu()[:, None] > budgets).double().mean(dim=0)
    ax.fill_between(
        budgets.tolist(), left.tolist(), color="#d5d9df", linewidth=0, label="nearest wrong images"
    )
    for name, row, style in zip(
        record.names, record.accuracies.tolist(), canvas.CURVES, strict=False
    ):
        ax.plot(record.eps, _percent(row), label=canvas.literal(name), **style)
    ax.set_ylim(-3, 103)
    ax.set_xlabel(r"$\epsilon$ ($L_\infty$), [0, 1] units")
    ax.set_ylabel(f"accuracy left, %\n({len(record.nearest)} images)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def save(record: AuditCurves, path: str | os.PathLike[str]) -> None:
    """Write the figure to a .png, .svg or .pdf file; errors as in ``canvas.save``."""
    canvas.save(path, lambda ax: plot(record, ax), size=(6.3, 2.7))


def _percent(row: Sequence[float]) -> list[float]:
    return [100 * value for value in row]
