"""What is left of the accuracy as an attacker may move images farther: one curve for each model."""

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from denseam.errors import InputError
from denseam.figures import canvas
from denseam.figures.checks import check_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BudgetCurves", "plot", "save"]

_POINTS = 200
_LABELS = {"l2": r"$L_2$", "linf": r"$L_\infty$"}


@dataclass(frozen=True, eq=False)
class BudgetCurves:
    """How far every image has to be moved until its label is wrong.

    Attributes:
        names: R attacks or models; at most 8, more curves cannot be told apart.
        distances: R tensors (B,), in [0, 1] units: 0 where the label is wrong to begin with,
            infinite where no attack came to another label.
        norm: "l2" or "linf".

    Raises:
        InputError: when any of it does not fit together.
    """

    names: tuple[str, ...]
    distances: tuple[Tensor, ...]
    norm: str

    def __post_init__(self) -> None:
        check_names(self.names, "names")
        if self.norm not in _LABELS:
            raise InputError(f"norm = {self.norm!r}: wanted 'l2' or 'linf'")
        if len(self.names) > len(canvas.CURVES):
            raise InputError(
                f"{len(self.names)} curves cannot be told apart: at most {len(canvas.CURVES)}"
            )
        if len(self.distances) != len(self.names):
            raise InputError(f"{len(self.distances)} sets of distances for {len(self.names)} names")
        for name, distances in zip(self.names, self.distances, strict=True):
            if distances.ndim != 1 or not len(distances) or not bool((distances >= 0).all()):
                raise InputError(f"{name}: wanted distances (B,) >= 0, and one at least")


def plot(record: BudgetCurves, ax: "Axes") -> None:
    """Draw the accuracy in % against the budget, down to where the last curve meets 0."""
    finite = torch.cat([d[d.isfinite()] for d in record.distances]).double()
    farthest = float(finite.max()) if len(finite) else 1.0
    budgets = torch.linspace(0, 1.02 * (farthest or 1.0), _POINTS, dtype=torch.float64)
    for name, distances, style in zip(record.names, record.distances, canvas.CURVES, strict=False):
        left = 100 * (distances.double().cpu()[:, None] > budgets).double().mean(dim=0)
        every = math.ceil(_POINTS / 10)
        ax.plot(
            budgets.tolist(), left.tolist(), label=canvas.literal(name), markevery=every, **style
        )
    ax.set_ylim(-3, 103)
    ax.set_xlabel(f"{_LABELS[record.norm]} that an image may be moved, [0, 1] units")
    ax.set_ylabel(f"accuracy left, %\n({len(record.distances[0])} images)")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def save(record: BudgetCurves, path: str | os.PathLike[str]) -> None:
    """Write the figure to a .png, .svg or .pdf file; errors as in ``canvas.save``."""
    canvas.save(path, lambda ax: plot(record, ax), size=(5.2, 2.6))
