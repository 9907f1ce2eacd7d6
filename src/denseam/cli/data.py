"""denseam data: list the known sets of images, or say how your own data are read.

Without a name, lists the known sets and where they are. Sets are fetched only by --fetch,
or by a command that uses them. With the path of your own data, says what a command with
that --dataset would read: kind, shape, range, classes, split, what is left out. It may be
a folder of pictures by class, a table (CSV, Parquet), an .npz file, a folder of .npy or
IDX files, a saved dataset, or an image set file. docs/data.md has more.

Examples:
    denseam data
    denseam data photographs/
    denseam data iris.csv --label species
    denseam data fashion-mnist --fetch
    denseam data mnist --check
"""

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from denseam import data
from denseam.cli.common import (
    add_reading,
    foreign,
    load_examples,
    print_json,
    same_data,
    say_next,
    stdout,
)
from denseam.cli.tables import FittedTable
from denseam.data import Dataset, Examples, ImageSet
from denseam.data.registry import KNOWN
from denseam.errors import InputError

if TYPE_CHECKING:
    from rich.text import Text

_POWER = 20  # of the command that is named last


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("name", nargs="?", help="one set, in full; or the path of your own data")
    parser.add_argument("--fetch", action="store_true", help="fetch it if it is not here")
    parser.add_argument("--check", action="store_true", help="compare its files with their sums")
    add_reading(parser)


def run(args: argparse.Namespace) -> int:
    """List all sets, or show one."""
    if args.name is None:
        if args.fetch or args.check:
            raise InputError("--fetch and --check want the name of a set")
        sets = data.status()
        if args.json:
            print_json([dataclasses.asdict(each) for each in sets])
        else:
            stdout.print(_table(sets))
            say_next("data", "mnist")
        return 0
    if args.name not in KNOWN:
        return _describe(args)
    if args.fetch:
        data.load(args.name)
    checked = data.verify(args.name) if args.check else []
    (status,) = data.status(args.name)
    if args.json:
        print_json({**dataclasses.asdict(status), "checked": checked})
        return 0
    for name, value in dataclasses.asdict(status).items():
        text = ", ".join(value) if isinstance(value, tuple) else value
        stdout.print(f"{name.replace('_', ' '):<10} {text}")
    for path in checked:
        stdout.print(f"{'checked':<10} {path}: as published")
    _say_next(args)
    return 0


def _describe(args: argparse.Namespace) -> int:
    """Say what is at a path, and how it is read."""
    if args.fetch or args.check:
        raise InputError("--fetch and --check want the name of a known set")
    examples = load_examples(args, args.name)
    parts: dict[str, Examples]
    if isinstance(examples, Dataset):
        parts = {"train": examples.train, "test": examples.test}
    else:
        parts = {"all": examples}
    facts = _facts(examples.name, parts)
    if args.json:
        print_json(facts)
        return 0
    notes, classes = facts.pop("notes"), facts.pop("classes")
    facts |= {
        "shape": " x ".join(map(str, facts["shape"])),
        "range": " to ".join(f"{end:g}" for end in facts["range"]),
        "examples": ", ".join(f"{count} ({what})" for what, count in facts["examples"].items()),
    }
    for name, value in facts.items():
        stdout.print(foreign(f"{name:<10} {value}"))
    for note in notes:
        stdout.print(foreign(f"{'note':<10} {note}"))
    rows: list[list[str | Text]] = [[foreign(name), *map(str, counts)] for name, *counts in classes]
    stdout.print(FittedTable(None, ["class", *parts], rows, left=[0]))
    _say_next(args)
    return 0


def _say_next(args: argparse.Namespace) -> None:
    """Name the command that trains on these data, read in the same way."""
    out = Path("runs") / (Path(args.name).stem or "mine")
    say_next("train", "--power", _POWER, "--dataset", args.name, *same_data(args), "--out", out)


def _facts(name: str, parts: Mapping[str, Examples]) -> dict[str, Any]:
    """Return how data are read, as JSON has it."""
    first = next(iter(parts.values()))
    low, high = (float(end) for end in torch.aminmax(first.values))
    split = "train and test, as they come"
    if len(parts) == 1:
        split = f"commands draw {len(first.split().test)} of {len(first)} to test on, by class"
    counts = [part.class_counts().tolist() for part in parts.values()]
    return {
        "name": name,
        "kind": "pictures" if isinstance(first, ImageSet) else "features",
        "shape": list(first.input_shape),
        "type": str(first.values.dtype).removeprefix("torch."),
        "range": [low, high],
        "examples": {what: len(part) for what, part in parts.items()},
        "split": split,
        "notes": list(first.metadata.get("notes", ())),
        "classes": [list(row) for row in zip(first.class_names, *counts, strict=True)],
    }


def _table(sets: list[data.SetStatus]) -> FittedTable:
    home = str(Path.home())
    rows = [
        (
            each.name, "yes" if each.available else "no", f"{each.n_train}", f"{each.n_test}",
            f"{len(each.classes)}", foreign(each.where.replace(home, "~", 1)), each.licence,
        )
        for each in sets
    ]  # fmt: skip
    columns = ("name", "here", "train", "test", "classes", "where", "licence")
    return FittedTable(None, columns, rows, left=[0, 1, 5, 6], drop=[6, 5, 4])
