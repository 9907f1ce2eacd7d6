"""Results and pictures in, one HTML file out.

The page asks nothing of the network or of other files: style and pictures are inside, there is no
script, and its content security policy forbids the rest. It is well-formed XML too, so that any
parser can read it.
"""

import functools
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from denseam.study.report import numbers
from denseam.study.report.check import VERDICTS, check
from denseam.study.report.pictures import embed

__all__ = ["render"]

_FOLDER = Path(__file__).parent
_DIFFERENT = ("not reproduced", "cannot be compared")  # in the order in which they are told
_GLYPHS = dict(zip(VERDICTS, "✓▲✗○", strict=True))
_BLANKS = re.compile(r"(?<=\d) (?=%)|(?<=\b\w) (?== )|(?<= =) (?=\S)")  # 99 %, n = 30


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
    page = _template().render(
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


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["plain"] = numbers.plain
    environment.filters["duration"] = numbers.duration
    environment.filters["quantity"] = lambda row: numbers.quantity(
        row["value"], row["low"], row["high"], row["unit"]
    )
    environment.filters["bound"] = lambda text: _BLANKS.sub("\u00a0", text)
    environment.globals["glyphs"] = _GLYPHS
    environment.globals["css"] = Markup((_FOLDER / "report.css").read_text(encoding="utf-8"))  # noqa: S704 - ours
    return environment.get_template("report.html.jinja")
