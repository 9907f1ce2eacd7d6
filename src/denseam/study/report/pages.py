"""The pages of a study's results: one HTML file, and Markdown.

The HTML page asks nothing of the network or of other files: style, pictures and one small script
are inside, and its content security policy forbids the rest. It is whole without the script, which
searches the numbers and unfolds what a link leads to. It is well-formed XML too, so that any parser
can read it.
"""

import base64
import functools
import hashlib
import re
import struct
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jinja2
from markupsafe import Markup

from denseam.errors import InputError
from denseam.study.claims import HEADLINE, Verdict
from denseam.study.report import numbers

_FOLDER = Path(__file__).parent
_VERDICTS: tuple[str, ...] = get_args(Verdict)
_GLYPHS = dict(zip((*_VERDICTS, "passed", "flagged", "not checked"), "✓▲✗○✓✗○", strict=True))
_DIFFERENT = ("not reproduced", "cannot be compared")  # verdicts of claims that come first
_FIRST = ("fig2", "fig5")  # figures of the first screen, where there are these
_BLANKS = re.compile(r"(?<=\d) (?=%)|(?<=\b\w) (?== )|(?<= =) (?=\S)")  # 99 %, n = 30
_PNG = b"\x89PNG\r\n\x1a\n"
_DPI = 192.0  # of a picture that does not say: two dots per CSS pixel
_ENLARGED = 1.2  # the 8 points of print are small on a screen
_METRE = 0.0254


def render(results: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    """Return the report as one self-contained HTML page, the same for the same arguments.

    Args:
        results: contents of ``results.json``.
        pictures: PNG bytes by figure id; others than the figures' are left out.

    Raises:
        InputError: for results that lack something, or a picture that is missing or damaged.
    """
    try:
        embedded = {f["id"]: embed(f["id"], pictures[f["id"]]) for f in results["figures"]}
    except (KeyError, TypeError) as error:
        raise InputError(f"no page can be made of these results: {error!r}") from error
    return _page("report.html.jinja", results, pictures=embedded).lstrip()


def as_markdown(results: Mapping[str, Any]) -> str:
    """Return claims, tables, figures and machine as Markdown: docs/results.md.

    All but the answer and the verdicts is folded. Figures stand by their paths, relative to the
    page.

    Raises:
        InputError: for results that lack something.
    """
    return _page("results.md.jinja", results)


def counts_of(claims: Iterable[Mapping[str, Any]]) -> str:
    """Return the number of claims with each verdict, in words."""
    verdicts = Counter(claim["verdict"] for claim in claims)
    return ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in _VERDICTS if verdicts[verdict])


def headline(results: Mapping[str, Any]) -> list[list[Any]]:
    """Return the answer in a few sentences, each as pieces: texts, and rows with a number.

    A sentence is left out unless all claims that it rests on are reproduced, or better.
    """
    rows = {row["id"]: row for row in results["rows"]}
    held = {c["id"] for c in results["claims"] if c["verdict"] in ("reproduced", "better")}
    sentences = []
    for sentence in HEADLINE:
        pieces = re.split(r"[{}]", sentence["text"])  # text, id, text, id, ...
        if held.issuperset(sentence["claims"]) and rows.keys() >= set(pieces[1::2]):
            sentences.append([rows[p] if i % 2 else p for i, p in enumerate(pieces)])
    return sentences


def headline_text(results: Mapping[str, Any]) -> list[str]:
    """Return the sentences of ``headline`` as plain text."""
    return [
        "".join(p if isinstance(p, str) else _quantity(p).main for p in pieces)
        for pieces in headline(results)
    ]


def _quantity(row: Mapping[str, Any]) -> numbers.Quantity:
    return numbers.quantity(row["value"], row["low"], row["high"], row["unit"])


def _page(name: str, results: Mapping[str, Any], **more: Any) -> str:
    """Return a page of results from a template."""
    try:
        counts = Counter(claim["verdict"] for claim in results["claims"])
        return template(name).render(
            results=results,
            rows={row["id"]: row for row in results["rows"]},
            verdicts={verdict: counts[verdict] for verdict in _VERDICTS},
            headline=headline(results),
            said=headline_text(results),
            first=[f for f in results["figures"] if f["id"] in _FIRST],
            different=[c for v in _DIFFERENT for c in results["claims"] if c["verdict"] == v],
            stages=[_with_parts(stage, results) for stage in results["stages"]],
            **more,
        )
    except (KeyError, TypeError, ValueError, jinja2.UndefinedError) as error:
        raise InputError(f"no page can be made of these results: {error!r}") from error


def _with_parts(stage: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stage with its tables, figures and rows, each in the order of the results."""
    parts = {
        part: [entry for entry in results[part] if entry["stage"] == stage["name"]]
        for part in ("tables", "figures", "rows")
    }
    return {"facts": stage, **parts}


# ---- templates -------------------------------------------------------------------------------


@functools.cache
def template(name: str) -> jinja2.Template:
    """Return the template in a file of this folder."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=jinja2.select_autoescape(["html.jinja"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "plain": numbers.plain,
        "duration": numbers.duration,
        "percent": lambda fraction: f"{100 * fraction:.1f}\u00a0%",
        "quantity": _quantity,
        "bound": lambda text: _BLANKS.sub("\u00a0", text),
        "cell": lambda text: str(text).replace("|", "\\|").replace("\n", " "),
        "counts": counts_of,
        "apart": _apart,
    }
    environment.globals["glyphs"] = _GLYPHS
    script = (_FOLDER / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals["script"] = Markup(script)  # noqa: S704 - ours
    environment.globals["script_hash"] = f"sha256-{digest}"
    environment.globals["css"] = Markup((_FOLDER / "report.css").read_text(encoding="utf-8"))  # noqa: S704 - ours
    return environment.get_template(name)


def _apart(ids: Sequence[str]) -> list[str]:
    """Return ids of rows without the parts at either end that all of them share."""
    paths = [id_.split("/") for id_ in ids]
    first = _n_shared(paths)
    last = _n_shared([path[first:][::-1] for path in paths])
    return ["/".join(path[first : len(path) - last]) for path in paths]


def _n_shared(paths: Sequence[Sequence[str]]) -> int:
    """Return how many parts at the beginning are the same in all paths."""
    columns = enumerate(zip(*paths, strict=False))
    shortest = min(map(len, paths), default=0)
    return next((i for i, parts in columns if len(set(parts)) > 1), shortest)


# ---- pictures --------------------------------------------------------------------------------


class Picture(NamedTuple):
    """A picture inside the page, with its size, so that nothing jumps while it loads."""

    uri: str
    width: int  # CSS pixels
    height: int


def embed(name: str, png: bytes) -> Picture:
    """Return a PNG file as a data URI, as large as its resolution says.

    Raises:
        InputError: when the bytes are not a whole PNG file.
    """
    if png[:8] != _PNG or png[12:16] != b"IHDR" or png[-8:-4] != b"IEND":
        raise InputError(f"picture {name!r}: {len(png)} bytes that are not a whole PNG file")
    width, height = struct.unpack(">II", png[16:24])
    scale = _ENLARGED * 96 / _dots_per_inch(png)
    return Picture(
        uri="data:image/png;base64," + base64.b64encode(png).decode(),
        width=max(1, round(width * scale)),
        height=max(1, round(height * scale)),
    )


def _dots_per_inch(png: bytes) -> float:
    """Read the pHYs chunk, which stands before the first IDAT."""
    start = png.find(b"pHYs", 0, png.find(b"IDAT"))
    if start < 0:
        return _DPI
    across, _, unit = struct.unpack(">IIB", png[start + 4 : start + 13])
    return across * _METRE if unit == 1 and across else _DPI
