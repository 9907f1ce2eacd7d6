"""Accuracy that attacks through each head of a model leave, and that all attacks leave."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from denseam.analysis.audit import Audit
from denseam.figures import canvas
from denseam.figures.budget import accuracy_left, frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class AuditCurves:
    """Accuracy against the size of an attack."""

    names: tuple[str, ...]  # R heads, at most 8
    eps: tuple[float, ...]  # (E,) Linf sizes in [0, 1] units, rising from 0: the clean images
    accuracies: Tensor  # (R, E) accuracy left at each, a fraction
    nearest: Tensor  # (B,) Linf distances of the nearest wrong images, [0, 1] units; inf: none

    def __post_init__(self) -> None:
        canvas.check_shape("accuracies", self.accuracies, len(self.names), len(self.eps))


def record_of(audit: Audit) -> AuditCurves:
    """Return the record of an audit."""
    sizes = [size for size, _ in audit.surfaces[0].budget]
    left = [[audit.clean, *(a for _, a in surface.budget)] for surface in audit.surfaces]
    return AuditCurves(
        tuple(surface.name for surface in audit.surfaces),
        (0.0, *(size / 2 for size in sizes)),
        torch.tensor(left, dtype=torch.float64),
        audit.distances["linf"],
    )


def plot(record: Any, ax: "Axes") -> None:
    """Draw accuracies in %; the area below the minimum-norm attack is what any attack leaves."""
    record = canvas.as_record(record, AuditCurves, record_of)
    budgets = torch.linspace(0, record.eps[-1], 400, dtype=torch.float64)
    ax.fill_between(
        budgets.tolist(), accuracy_left(record.nearest, budgets), color="#d5d9df", linewidth=0,
        label="nearest wrong images",
    )  # fmt: skip
    for look, row in canvas.curves(record.names, record.accuracies.tolist()):
        ax.plot(record.eps, [100 * value for value in row], **look)
    frame(ax, r"$\epsilon$ ($L_\infty$), [0, 1] units", len(record.nearest))


layout = canvas.fixed(size=(6.3, 2.7))
save = canvas.saver(plot, layout, AuditCurves, record_of)
