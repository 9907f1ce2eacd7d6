"""Certified accuracy against eps, beside the accuracy that attacks leave."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from denseam.certificates import Certificates
from denseam.figures import budget, canvas
from denseam.figures.budget import BudgetCurves

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def record_of(
    certificates: Certificates, *, attacked: Mapping[str, Tensor] | None = None
) -> BudgetCurves:
    """Return the record of certificates.

    Args:
        certificates: of a batch.
        attacked: distances (B,) at which attacks succeed, [0, 1] units, by name. The truth lies
            between the certified curve and these.
    """
    curves = {"certified": certificates.distances, **(attacked or {})}
    return BudgetCurves(tuple(curves), tuple(curves.values()), certificates.norm)


def plot(record: Any, ax: "Axes") -> None:
    """Draw the curves of ``BudgetCurves``, or of ``Certificates``."""
    budget.plot(canvas.as_record(record, BudgetCurves, record_of), ax)


layout = canvas.fixed(size=(5.2, 2.6))
save = canvas.saver(plot, layout, BudgetCurves, record_of)
