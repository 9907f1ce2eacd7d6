"""Pages of docs/ whose tables come from results: found out piece by piece, and kept as JSON.

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
    """A page and what it is made of.

    Attributes:
        path: of the page.
        kept: the file of results.
        tables: by name, what makes one of all results; a KeyError says that some are missing.
    """

    path: Path
    kept: Path
    tables: Mapping[str, Callable[[Results], str]]

    def results(self) -> Results:
        return read_json(self.kept) if self.kept.exists() else {}

    def find_out(self, name: str, piece: Callable[[], Any]) -> None:
        """Keep what a piece finds as soon as it has ended."""
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 (toolkits draw from it)
        start = time.perf_counter()
        found = piece()
        write_json(self.kept, {**self.results(), name: found})
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)

    def write(self) -> None:
        """Each table whose pieces are all there."""
        text, found = self.path.read_text(), self.results()
        for name, make in self.tables.items():
            try:
                text = filled(text, name, make(found))
            except KeyError as missing:
                print(f"{name}: no result yet for {missing}", flush=True)
        write_bytes(self.path, text.encode())


def filled(text: str, name: str, table: str) -> str:
    """The text of a page with another table in this place."""
    before, mark, rest = text.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    if not (mark and end):
        raise SystemExit(f"the page has no place for {name}")
    return before + mark + table + end + after


def markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def command(
    page: Page,
    pieces: Mapping[str, Callable[[], Any]],
    description: str,
    draw: Callable[[], None] = lambda: None,
) -> None:
    """The command line of a script that finds out pieces: some, all, or only what is written."""
    parser = argparse.ArgumentParser(description=description.partition("\n")[0])
    parser.add_argument("piece", nargs="*", default=["*"], help="which, as patterns")
    parser.add_argument("--again", action="store_true", help="also those that have a result")
    parser.add_argument("--tables", action="store_true", help="only write tables and figures")
    given = parser.parse_args()
    for name, piece in {} if given.tables else pieces.items():
        wanted = any(fnmatch(name, pattern) for pattern in given.piece)
        if wanted and (given.again or name not in page.results()):
            page.find_out(name, piece)
    page.write()
    if given.tables:
        draw()
