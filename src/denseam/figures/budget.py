"""Accuracy left as an attacker may move images farther: one curve for each model."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from denseam.figures import canvas

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POINTS = 200
_LABELS = {"l2": r"$L_2$", "linf": r"$L_\infty$"}


@dataclass(frozen=True, eq=False)
class BudgetCurves:
    """Distances by which every image has to be moved until its label is wrong.

    A distance is 0 where the label is wrong to begin with, infinite where no attack changed it.
    """

    names: tuple[str, ...]  # R attacks or models, at most 8
    distances: tuple[Tensor, ...]  # R tensors (B,), in [0, 1] units
    norm: str  # "l2" or "linf"


def accuracy_left(distances: Tensor, budgets: Tensor) -> list[float]:
    """Return the % of images whose distance (B,) is larger than each budget (P,)."""
    farther = distances.double().cpu()[:, None] > budgets
    return (100 * farther.double().mean(dim=0)).tolist()


def plot(record: BudgetCurves, ax: "Axes") -> None:
    """Draw the accuracy in % against the budget, down to where the last curve meets 0."""
    finite = torch.cat([d[d.isfinite()] for d in record.distances]).double()
    farthest = float(finite.max()) if len(finite) else 1.0
    budgets = torch.linspace(0, 1.02 * (farthest or 1.0), _POINTS, dtype=torch.float64)
    for look, distances in canvas.curves(record.names, record.distances):
        left = accuracy_left(distances, budgets)
        ax.plot(budgets.tolist(), left, markevery=math.ceil(_POINTS / 10), **look)
    words = f"{_LABELS[record.norm]} that an image may be moved, [0, 1] units"
    frame(ax, words, len(record.distances[0]))


def frame(ax: "Axes", words: str, count: int) -> None:
    """Label Axes of the accuracy left on so many images, in %."""
    ax.set(ylim=(-3, 103), xlabel=words, ylabel=f"accuracy left, %\n({count} images)")
    canvas.legend(ax)


layout = canvas.fixed(size=(5.2, 2.6))
save = canvas.saver(plot, layout)
