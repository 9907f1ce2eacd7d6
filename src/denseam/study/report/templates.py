"""The templates of the pages, with their filters and style."""

import functools
import re
from pathlib import Path

import jinja2
from markupsafe import Markup

from denseam.study.report import numbers
from denseam.study.report.check import VERDICTS

__all__ = ["template"]

_FOLDER = Path(__file__).parent
_GLYPHS = dict(zip(VERDICTS, "✓▲✗○", strict=True)) | {
    "passed": "✓", "flagged": "✗", "not checked": "○",
}  # fmt: skip
_BLANKS = re.compile(r"(?<=\d) (?=%)|(?<=\b\w) (?== )|(?<= =) (?=\S)")  # 99 %, n = 30


@functools.cache
def template(name: str) -> jinja2.Template:
    """The template in a file of this folder."""
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
    environment.filters["percent"] = lambda fraction: f"{100 * fraction:.1f}\u00a0%"
    environment.filters["quantity"] = lambda row: numbers.quantity(
        row["value"], row["low"], row["high"], row["unit"]
    )
    environment.filters["bound"] = lambda text: _BLANKS.sub("\u00a0", text)
    environment.globals["glyphs"] = _GLYPHS
    environment.globals["css"] = Markup((_FOLDER / "report.css").read_text(encoding="utf-8"))  # noqa: S704 - ours
    return environment.get_template(name)
