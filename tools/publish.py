"""Make the documentation's numbers and pictures those of a study: python tools/publish.py results

The folder is one that ``denseam reproduce`` wrote of the whole study on the models of the package.
It becomes docs/results.md, docs/results.json and docs/figures/, and the table in README.md between
its two marks. Nothing in them is written by hand.
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from denseam.study.report import counts_of
from denseam.study.report.numbers import quantity

ROOT = Path(__file__).parents[1]
TABLE = re.compile(r"(?<=<!-- results -->\n).*?(?=<!-- /results -->)", re.DOTALL)


def main(results: Path) -> None:
    """Copy results and figures, and put the table into the README."""
    contents = json.loads((results / "results.json").read_text())
    if contents["quick"]:
        raise SystemExit(f"{results} holds a quick study: wanted a whole one")
    docs, readme = ROOT / "docs", ROOT / "README.md"
    text = readme.read_text()
    if not TABLE.search(text):
        raise SystemExit(f"{readme} has no place for the table")
    for name in ("results.md", "figures"):
        if not (results / name).exists():
            raise SystemExit(f"{results} has no {name}: wanted the folder of a whole study")
    text = TABLE.sub(lambda _: table(contents), text)
    for name in ("results.md", "results.json"):
        shutil.copyfile(results / name, docs / name)
    shutil.rmtree(docs / "figures", ignore_errors=True)
    shutil.copytree(results / "figures", docs / "figures")
    readme.write_text(text)


def table(results: dict[str, Any]) -> str:
    """Return test errors, the paper's, and the counts of verdicts as Markdown."""
    rows = {row["id"]: row for row in results["rows"]}
    claims = {claim["id"]: claim for claim in results["claims"]}
    lines = ["| n | test error | mean of all seeds | paper |\n|---|---|---|---|\n"]
    for model in results["models"]:
        name = model["name"]
        own, mean = (_number(rows.get(f"errors/{name}{part}")) for part in ("", "/mean"))
        paper = claims[f"error-{name}"]["paper"]
        lines.append(f"| {model['power']:g} | {own} | {mean} | {paper} |\n")
    own = [model["seeds"][0]["epochs"] for model in results["models"]]
    others = [seed["epochs"] for model in results["models"] for seed in model["seeds"][1:]]
    apart = ", ".join(each for model in results["models"] if (each := _apart(model, rows)))
    lines.append(
        "\nIn brackets the 95 % interval of the model in the package, and the smallest and largest "
        f"error of all seeds. The models were trained for {_range(own)} epochs"
        f"{f' ({apart})' if apart else ''}, the other "
        f"seeds for {_range(others)}, the paper's for 3000.\n"
    )
    lines.append(f"\nOf {len(claims)} claims of the paper: {counts_of(results['claims'])}.\n")
    return "".join(lines)


def _apart(model: dict[str, Any], rows: dict[str, Any]) -> str:
    """Return the options of the model in the package that its other seeds did not have."""
    own, *others = (_options(rows[seed["error_row"]]["command"]) for seed in model["seeds"])
    only = [option for option in own if any(option not in other for other in others)]
    return f"n = {model['power']:g} by `{' '.join(only)}`" if only else ""


def _options(command: str) -> list[str]:
    """Return the options of a training that decide how it learns, not how long or where."""
    options = (f"--{each.strip()}" for each in command.split(" --")[1:])
    other = ("--epochs", "--seed", "--out", "--device", "--products")
    return [each for each in options if each.split()[0] not in other]


def _range(numbers: list[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(most) if least == most else f"{least} to {most}"


def _number(row: dict[str, Any] | None) -> str:
    return str(quantity(row["value"], row["low"], row["high"], row["unit"])) if row else ""


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]))
