"""The page of a masking audit."""

from itertools import groupby

import torch

from denseam.analysis.audit import Audit
from denseam.analysis.audit.run import STEPS
from denseam.figures.audit import AuditCurves
from denseam.study.report.pages import embed, template
from denseam.version import __version__

__all__ = ["audit_curves", "render_audit"]


def audit_curves(found: Audit) -> AuditCurves:
    """What the figure of an audit is drawn from."""
    sizes = [size for size, _ in found.surfaces[0].budget]
    left = [[found.clean, *(a for _, a in surface.budget)] for surface in found.surfaces]
    return AuditCurves(
        tuple(surface.name for surface in found.surfaces),
        (0.0, *(size / 2 for size in sizes)),
        torch.tensor(left, dtype=torch.float64),
        found.distances["linf"],
    )


def render_audit(found: Audit, picture: bytes, *, name: str, command: str, dtype: str) -> str:
    """An audit as one self-contained HTML page.

    Args:
        found: the audit.
        picture: PNG bytes of its figure.
        name: what the model is called.
        command: what was run.
        dtype: of the model, "float32".
    """
    medians = {norm: float(each.median()) for norm, each in found.distances.items()}
    page = template("audit.html.jinja").render(
        audit=found,
        plainest=found.surfaces[-1],
        groups=[(s, list(each)) for s, each in groupby(found.checks, key=lambda c: c.surface)],
        medians={norm: f"{value:.3f}" for norm, value in medians.items()},
        picture=embed("audit", picture),
        steps=STEPS,
        name=name,
        command=command,
        dtype=dtype,
        version=__version__,
    )
    return page.lstrip()
