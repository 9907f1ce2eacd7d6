"""The page of a masking audit."""

import tempfile
from itertools import groupby
from pathlib import Path

from denseam.analysis.audit import Audit
from denseam.analysis.audit.run import STEPS
from denseam.figures import audit as figure
from denseam.files import write_bytes
from denseam.study.report.pages import embed, template
from denseam.version import __version__


def save_page(
    audit: Audit,
    path: str | Path,
    *,
    name: str | None = None,
    command: str = "denseam.audit(...)",
    dtype: str = "float32",
) -> None:
    """Write an audit as one HTML page; ``name`` and the others are those of ``render_audit``.

    Raises:
        MissingPackageError: when matplotlib is not installed.
        SaveError: when the file cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder, "audit.png")
        figure.save(audit, picture)
        drawn = picture.read_bytes()
    name = name or str(audit.model["type"])
    page = render_audit(audit, drawn, name=name, command=command, dtype=dtype)
    write_bytes(Path(path), page.encode(errors="backslashreplace"))


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
