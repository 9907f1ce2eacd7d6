"""Pages of docs/ whose tables come from results, measured piece by piece and kept as JSON.

A table stands between <!-- name --> and <!-- /name -->.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch

from denseam.files import read_json, write_bytes, write_json

Results = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """A page, its results and its tables."""

    path: Path
    kept: Path  # the file of results
    tables: Mapping[str, Callable[[Results], str]]  # a KeyError says that a result is missing

    def results(self) -> Results:
        return read_json(self.kept) if self.kept.exists() else {}

    def measure(self, name: str, piece: Callable[[], Any]) -> None:
        """Measure a piece, and keep its result at once."""
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 (toolkits draw from it)
        start = time.perf_counter()
        result = piece()
        write_json(self.kept, {**self.results(), name: result})
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)

    def write(self) -> None:
        """Write each table whose pieces are all there."""
        text, results = self.path.read_text(), self.results()
        for name, make in self.tables.items():
            try:
                text = filled(text, name, make(results))
            except KeyError as missing:
                print(f"{name}: no result yet for {missing}", flush=True)
        write_bytes(self.path, text.encode())


def filled(text: str, name: str, table: str) -> str:
    """Return the text of a page with another table in this place."""
    before, mark, rest = text.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    if not (mark and end):
        raise SystemExit(f"the page has no place for {name}")
    return before + mark + table + end + after


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table of Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def command(
    page: Page,
    pieces: Mapping[str, Callable[[], Any]],
    description: str,
    draw: Callable[[], None] = lambda: None,
) -> None:
    """Run the command line of a script: measure some pieces or all, or write tables only."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("piece", nargs="*", default=["*"], help="patterns of names")
    parser.add_argument("--again", action="store_true", help="also pieces that have a result")
    parser.add_argument("--tables", action="store_true", help="only write tables and figures")
    options = parser.parse_args()
    for name, piece in {} if options.tables else pieces.items():
        chosen = any(fnmatch(name, pattern) for pattern in options.piece)
        if chosen and (options.again or name not in page.results()):
            page.measure(name, piece)
    page.write()
    if options.tables:
        draw()
