"""Results and pictures in, one HTML file out.

The page asks nothing of the network or of other files: style and pictures are inside, there is no
script, and its content security policy forbids the rest. It is well-formed XML too, so that any
parser can read it.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from denseam.study.report.check import VERDICTS, check
from denseam.study.report.pictures import embed
from denseam.study.report.templates import template

__all__ = ["render"]

_DIFFERENT = ("not reproduced", "cannot be compared")  # in the order in which they are told


def render(results: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """The report as one self-contained HTML page.

    Args:
        results: what ``results.json`` holds.
        pictures: PNG bytes by figure id; others than the figures' are left out.

    Returns:
        HTML, which is the same for the same arguments.

    Raises:
        InputError: for a missing part, an unknown row, stage or verdict, or a missing picture.
    """
    check(results, pictures)
    verdicts = Counter(claim["verdict"] for claim in results["claims"])
    page = template("report.html.jinja").render(
        results=results,
        rows={row["id"]: row for row in results["rows"]},
        verdicts={verdict: verdicts[verdict] for verdict in VERDICTS},
        different=[c for v in _DIFFERENT for c in results["claims"] if c["verdict"] == v],
        stages=[_with_its_own(stage, results) for stage in results["stages"]],
        pictures={f["id"]: embed(f["id"], pictures[f["id"]]) for f in results["figures"]},
    )
    return page.lstrip()


def _with_its_own(stage: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """A stage beside its tables, figures and rows, each in the order of the results."""
    own = {
        part: [entry for entry in results[part] if entry["stage"] == stage["name"]]
        for part in ("tables", "figures", "rows")
    }
    return {"facts": stage, **own}
