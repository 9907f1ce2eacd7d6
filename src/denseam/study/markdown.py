"""A study's results as a page of Markdown: what docs/results.md is."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from denseam.study.report.check import VERDICTS
from denseam.study.report.numbers import duration, quantity

__all__ = ["as_markdown", "counts_of"]

_DIFFERENT = ("not reproduced", "cannot be compared")


def as_markdown(results: Mapping[str, Any]) -> str:
    """Claims, tables, pictures and machine; pictures by their path beside the page."""
    rows = {row["id"]: row for row in results["rows"]}
    parts = [
        _head(results),
        _differences(results["claims"], rows),
        "## The paper's claims\n\n" + _table(
            ("where", "claim", "paper", "here", "verdict"),
            (
                (c["where"], c["claim"], c["paper"], _numbers(c, rows), c["verdict"])
                for c in results["claims"]
            ),
        ),
        *(_stage(stage, results, rows) for stage in results["stages"]),
        _models(results["models"], rows),
        _machine(results),
    ]  # fmt: skip
    return "\n".join(part for part in parts if part)


def _head(results: Mapping[str, Any]) -> str:
    quick = f"\n**{results['quick_note']}**\n" if results["quick"] else ""
    return (
        f"# {results['title']}\n\n"
        f"Written by `{results['command']}`, denseam {results['denseam']}; every number here is a "
        "row of `results.json`, beside the command that gives it again. "
        f"Of {len(results['claims'])} claims: {counts_of(results['claims'])}. "
        f"Brackets hold 95 % intervals, or what the row names.\n{quick}"
    )


def counts_of(claims: Iterable[Mapping[str, Any]]) -> str:
    """How many claims have which verdict, in words."""
    verdicts = Counter(claim["verdict"] for claim in claims)
    return ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS if verdicts[verdict])


def _differences(claims: Sequence[Mapping[str, Any]], rows: Mapping[str, Any]) -> str:
    found = [claim for v in _DIFFERENT for claim in claims if claim["verdict"] == v]
    if not found:
        return ""
    lines = [
        f"* **{claim['where']}: {claim['claim']}** - {claim['verdict']}. Paper: {claim['paper']}"
        f"{_here(claim['rows'], rows)}. {claim['note'] or ''}".rstrip()
        + _lists(claim, rows)
        for claim in found
    ]
    return "## Where this differs from the paper\n\n" + "\n".join(lines) + "\n"


def _here(ids: Sequence[str], rows: Mapping[str, Any]) -> str:
    return f"; here: {_number(rows[ids[0]])}" if len(ids) == 1 else ""


def _lists(claim: Mapping[str, Any], rows: Mapping[str, Any]) -> str:
    """Several numbers, one to a line, each with its words; then those that decide nothing."""
    judged = claim["rows"] if len(claim["rows"]) > 1 else []
    words = [*(("", id_) for id_ in judged), *(("beside: ", id_) for id_ in claim["beside"])]
    return "".join(f"\n  * {how}{rows[id_]['what']}: {_number(rows[id_])}" for how, id_ in words)


def _stage(stage: Mapping[str, Any], results: Mapping[str, Any], rows: Mapping[str, Any]) -> str:
    own = [
        [entry for entry in results[part] if entry["stage"] == stage["name"]]
        for part in ("figures", "tables")
    ]
    figures, tables = own
    texts = [f"![{f['title']}]({f['file']})\n\n*{f['title']}.* {f['caption']}\n" for f in figures]
    texts += [
        f"**{table['title']}.** {table['caption']}\n\n"
        + _table(
            table["columns"],
            ((line["head"], *(_cell(cell, rows) for cell in line["cells"]))
             for line in table["rows"]),
        )
        for table in tables
    ]  # fmt: skip
    if not texts:
        return ""
    title = f"{stage['title'][0].upper()}{stage['title'][1:]}"
    return f"## {title}\n\n`{stage['command']}`\n\n" + "\n".join(texts)


def _cell(cell: Any, rows: Mapping[str, Any]) -> str:
    if cell is None:
        return ""
    return str(cell["text"]) if isinstance(cell, Mapping) else _number(rows[cell])


def _number(row: Mapping[str, Any]) -> str:
    return str(quantity(row["value"], row["low"], row["high"], row["unit"]))


def _numbers(claim: Mapping[str, Any], rows: Mapping[str, Any]) -> str:
    """A claim's numbers with what tells their rows apart: "n2: 1.6 %, n3: 1.6 %; beside ..."."""
    ids = [*claim["rows"], *claim["beside"]]
    texts = [
        (f"{name}: " if name else "") + _number(rows[id_])
        for name, id_ in zip(_apart(ids) if len(ids) > 1 else [""], ids, strict=False)
    ]
    judged, beside = texts[: len(claim["rows"])], texts[len(claim["rows"]) :]
    return ", ".join(judged) + (f"; beside {', '.join(beside)}" if beside else "")


def _apart(ids: Sequence[str]) -> list[str]:
    """Ids without the parts at either end that all of them share."""
    paths = [id_.split("/") for id_ in ids]
    first = _shared(paths)
    last = _shared([path[first:][::-1] for path in paths])
    return ["/".join(path[first : len(path) - last]) for path in paths]


def _shared(paths: Sequence[Sequence[str]]) -> int:
    """How many parts at the beginning are the same in all paths."""
    same = (len(set(parts)) == 1 for parts in zip(*paths, strict=False))
    return sum(1 for _ in takewhile(bool, same))


def _models(models: Sequence[Mapping[str, Any]], rows: Mapping[str, Any]) -> str:
    lines = []
    for model in models:
        seeds = [
            f"seed {seed['seed']}, {seed['epochs']} epochs: {_number(rows[seed['error_row']])}"
            for seed in model["seeds"]
        ]
        trained = f"`{model['command']}`" if model["command"] else "not known"
        lines.append((f"`{model['source']}`", trained, "<br>".join(seeds)))
    return "## Models\n\n" + _table(("model", "trained by", "seeds, before rounding"), lines)


def _machine(results: Mapping[str, Any]) -> str:
    here = results["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    spent = duration(sum(stage["seconds"] for stage in results["stages"]))
    return (
        f"## Machine\n\n{here['processor']}, {here['cores']} cores, {here['memory_gib']:g} GiB, "
        f"{here['system']}; {here['threads']} threads; {versions}. All stages together took "
        f"{spent}. Finished {here['date']}.\n"
    )


def _table(columns: Iterable[str], lines: Iterable[Sequence[str]]) -> str:
    head = list(columns)
    rows = [head, ["---"] * len(head), *lines]
    return "".join(f"| {' | '.join(_escaped(cell) for cell in row)} |\n" for row in rows)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
