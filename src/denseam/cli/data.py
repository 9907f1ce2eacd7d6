"""denseam data: list the known sets of images, fetch one, check its files.

Without a name, lists the known sets and where they are. Sets are fetched only by --fetch,
or by a command that uses them. For your own images, --dataset of any command takes the
path of an .npz file (x_train, y_train, x_test, y_test), of a folder of IDX files, or of an
image set file (.safetensors, .npz). docs/data.md has more.

Examples:
    denseam data
    denseam data fashion-mnist --fetch
    denseam data mnist --check
"""

import argparse
import dataclasses
from pathlib import Path

from denseam import data
from denseam.cli.common import foreign, print_json, stdout, table
from denseam.cli.tables import FittedTable
from denseam.errors import InputError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("name", nargs="?", help="one set, in full")
    parser.add_argument("--fetch", action="store_true", help="fetch it if it is not here")
    parser.add_argument("--check", action="store_true", help="compare its files with their sums")


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
        return 0
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
    return 0


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
    return table(None, columns, rows, left=[0, 1, 5, 6], drop=[6, 5, 4])
