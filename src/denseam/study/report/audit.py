"""The page of a masking audit."""

from itertools import groupby

import torch

from denseam.analysis.audit import Audit
from denseam.analysis.audit.run import STEPS
from denseam.figures.audit import AuditCurves
from denseam.study.report.pages import embed, template
from denseam.version import __version__

__all__ = ["audit_curves", "render_audit"]


def audit_curves(audit: Audit) -> AuditCurves:
    """Return the record of an audit's figure."""
    sizes = [size for size, _ in audit.surfaces[0].budget]
    left = [[audit.clean, *(a for _, a in surface.budget)] for surface in audit.surfaces]
    return AuditCurves(
        tuple(surface.name for surface in audit.surfaces),
        (0.0, *(size / 2 for size in sizes)),
        torch.tensor(left, dtype=torch.float64),
        audit.distances["linf"],
    )


def render_audit(audit: Audit, picture: bytes, *, name: str, command: str, dtype: str) -> str:
    """Return an audit as one self-contained HTML page.

    Args:
        audit: its result.
        picture: PNG bytes of its figure.
        name: of the model.
        command: the command line.
        dtype: of the model, "float32".
    """
    medians = {norm: float(each.median()) for norm, each in audit.distances.items()}
    page = template("audit.html.jinja").render(
        audit=audit,
        plainest=audit.surfaces[-1],
        groups=[(s, list(each)) for s, each in groupby(audit.checks, key=lambda c: c.surface)],
        medians={norm: f"{value:.3f}" for norm, value in medians.items()},
        picture=embed("audit", picture),
        steps=STEPS,
        name=name,
        command=command,
        dtype=dtype,
        version=__version__,
    )
    return page.lstrip()
