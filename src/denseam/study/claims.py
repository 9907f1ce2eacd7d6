"""Claims, and the rules that judge them by the rows of a study; the paper's are in claims.toml.

A verdict follows from the rows by the rule of the claim, which the report gives in words.
"""

import itertools
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from denseam.study.findings import Row

Verdict = Literal["reproduced", "better", "not reproduced", "cannot be compared"]


@dataclass(frozen=True)
class Claim:
    """One claim of the paper."""

    id: str
    where: str  # in the paper
    claim: str
    paper: str  # its value, in words
    rows: tuple[str, ...]  # ids of the rows that judge it
    rule: str  # in words: when it counts as reproduced
    judge: Callable[[Sequence[Row]], Verdict] | None = None  # None: cannot be compared
    differs: str = ""  # why, or what was tried, if it is not reproduced
    beside: tuple[str, ...] = ()  # ids of rows that are shown, not judged


def judged(claims: Sequence[Claim], rows: Mapping[str, Row], *, comparable: bool) -> list[Any]:
    """Return the claims as JSON values, each with its verdict; see ``results``."""
    return [_judged(claim, rows, comparable=comparable) for claim in claims]


def _judged(claim: Claim, rows: Mapping[str, Row], *, comparable: bool) -> dict[str, Any]:
    measured = [rows[id_] for id_ in claim.rows if id_ in rows]
    note = f"Counts as reproduced when {claim.rule}." if claim.rule else ""
    verdict: Verdict = "cannot be compared"
    if claim.judge is None:
        note = claim.differs
    elif not comparable:
        note = "The paper's numbers are for MNIST."
    elif len(measured) < len(claim.rows):
        note = "Not measured here: it needs the models n = 2, 3, 20 and 30, and all stages."
    else:
        verdict = claim.judge(measured)
        if verdict == "not reproduced" and claim.differs:
            note = f"{claim.differs} {note}"
    return {
        "id": claim.id, "where": claim.where, "claim": claim.claim, "paper": claim.paper,
        "rows": [row.id for row in measured],
        "beside": [id_ for id_ in claim.beside if id_ in rows],
        "verdict": verdict, "note": note,
    }  # fmt: skip


# ---- rules -----------------------------------------------------------------------------------


def _reaches(rows: Sequence[Row], paper: float) -> Verdict:
    """Ask for at most the paper's error; reproduced when the interval reaches it."""
    (row,) = rows
    if row.value <= paper:
        return "better"
    return "reproduced" if row.low is not None and row.low <= paper else "not reproduced"


def _all(
    rows: Sequence[Row],
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
    better: float = -math.inf,
) -> Verdict:
    """Ask that every value is in range; better where no interval ends above another number."""
    if all((row.value if row.high is None else row.high) <= better for row in rows):
        return "better"
    holds = all(row.value > above and least <= row.value <= most for row in rows)
    return "reproduced" if holds else "not reproduced"


def _near(rows: Sequence[Row], paper: float, within: float) -> Verdict:
    """Ask that every value is within a fraction of the paper's."""
    near = all(abs(row.value - paper) <= within * paper for row in rows)
    return "reproduced" if near else "not reproduced"


def _first_half_above(rows: Sequence[Row]) -> Verdict:
    """Ask that every value of the first half lies above every value of the second."""
    half = len(rows) // 2
    least = min(row.value for row in rows[:half])
    most = max(row.value for row in rows[half:])
    return "reproduced" if least > most else "not reproduced"


def _both_first_halves_above(rows: Sequence[Row]) -> Verdict:
    """Ask the same of both halves of the rows."""
    half = len(rows) // 2
    verdicts = {_first_half_above(rows[:half]), _first_half_above(rows[half:])}
    return "reproduced" if verdicts == {"reproduced"} else "not reproduced"


def _similar(rows: Sequence[Row]) -> Verdict:
    """Ask that the first half lies within 15 points of the second, value by value."""
    half = len(rows) // 2
    pairs = zip(rows[:half], rows[half:], strict=True)
    close = all(abs(here.value - there.value) <= 0.15 for here, there in pairs)
    return "reproduced" if close else "not reproduced"


def _rises(rows: Sequence[Row]) -> Verdict:
    """Ask that the first value lies below the second, and the second below all others."""
    first, second, *others = (row.value for row in rows)
    return "reproduced" if first < second < min(others) else "not reproduced"


def _first_above_all(rows: Sequence[Row]) -> Verdict:
    """Ask that the first value is the largest."""
    first, *others = (row.value for row in rows)
    return "reproduced" if first > max(others) else "not reproduced"


def _each_above_its_next(rows: Sequence[Row]) -> Verdict:
    """Ask that the first value of every pair is the larger one."""
    pairs = zip(rows[::2], rows[1::2], strict=True)
    return "reproduced" if all(a.value > b.value for a, b in pairs) else "not reproduced"


def _falls(rows: Sequence[Row]) -> Verdict:
    """Ask that the least certain images have the larger error, model by model."""
    pairs = zip(rows[::2], rows[1::2], strict=True)
    clear = all(
        unsure.low is not None and sure.high is not None and unsure.low > sure.high
        for unsure, sure in pairs
    )
    return "reproduced" if clear else "not reproduced"


# ---- the paper -------------------------------------------------------------------------------

_RULES: dict[str, Callable[..., Verdict]] = {
    "reaches": _reaches,
    "all": _all,
    "near": _near,
    "first half above": _first_half_above,
    "both first halves above": _both_first_halves_above,
    "similar": _similar,
    "rises": _rises,
    "first above all": _first_above_all,
    "each above its next": _each_above_its_next,
    "falls": _falls,
}


def _claim(fields: dict[str, Any]) -> Claim:
    """Return a claim of the table."""
    for name in ("rows", "beside"):
        fields[name] = tuple(id_ for text in fields.get(name, ()) for id_ in _expanded(text))
    if "judge" in fields:
        rule, numbers = fields["judge"].pop("rule"), fields["judge"]
        fields["judge"] = partial(_RULES[rule], **numbers)
    return Claim(**{"rule": "", **fields})


def _expanded(text: str) -> list[str]:
    """Return the ids that braces stand for: "a/{b,c}" for "a/b" and "a/c"."""
    choices = (piece.split(",") for piece in re.split(r"[{}]", text))
    return ["".join(each) for each in itertools.product(*choices)]


_TABLE: dict[str, Any] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
CLAIMS: tuple[Claim, ...] = tuple(map(_claim, _TABLE["claim"]))
HEADLINE: tuple[dict[str, Any], ...] = tuple(_TABLE["headline"])  # "text" and "claims" of each
