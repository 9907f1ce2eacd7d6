"""denseam predict: say what pictures are, and which memories decided.

Takes pictures (PNG, JPEG, TIFF, WebP, ...; all pages), folders with all pictures below
them, patterns, names and files of sets, arrays (.npy, .npz), and - for the bytes of one
picture on standard input. Pictures are turned as their orientation says, laid on paper
where they are transparent, and made like those that the model has learned: for digits,
light paper is inverted and the ink centred as in MNIST. Pictures of the model's own size
on dark paper stay as they are.

A file that cannot be read is a row with an error; the exit code is then 1, and 2 where no
file could be read.

Examples:
    denseam predict mnist-n30 scan.png
    denseam predict mnist-n30 scans/ --out labels.csv --pictures seen.png
    denseam predict runs/mine "scans/*.png" more/ --json
    curl -s https://example.org/7.png | denseam predict mnist-n30 -
    find . -name '*.png' -print0 | denseam predict mnist-n30 --files-from -
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from denseam.cli.common import (
    add_model,
    add_part,
    add_preparation,
    check_file,
    foreign,
    percent,
    print_errors,
    print_json,
    rows_text,
    stdout,
)
from denseam.cli.own import say_evaluate
from denseam.cli.sets import check_picture
from denseam.cli.tables import FittedTable
from denseam.errors import DataUnavailableError, InputError
from denseam.figures.grid import record_of, save_grid
from denseam.files import write_bytes
from denseam.prediction import Predictions, predict
from denseam.pretrained import load_any

_LISTED = 40  # rows of the table
_NAMED = 2  # memories in a row of it
_SHOWN, _ACROSS = 100, 10  # pictures of the contact sheet, and in a row of it
_COLUMNS = ("name", "label", "class_name", "confidence", "runner_up", "memories", "error")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_model(parser)
    parser.add_argument("files", metavar="PATH", nargs="*", help="picture, folder, pattern, set, -")
    parser.add_argument(
        "--files-from", metavar="FILE", help="names, one a line or ended by zeros; - for stdin"
    )
    add_part(parser)
    add_preparation(parser)
    parser.add_argument("--beta-sm", type=float, help="of the confidence (default: the model's)")
    parser.add_argument("--memories", type=int, default=3, help="to name (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="all rows: .csv, .json or .jsonl")
    parser.add_argument("--pictures", type=Path, help="what the model saw, with labels: .png")
    parser.add_argument("--csv", action="store_true", help="print rows as CSV, not as a table")


def run(args: argparse.Namespace) -> int:
    """Predict, write, print."""
    check_file(args.out, ".csv", ".json", ".jsonl")
    check_picture(args.pictures, ".png")
    sources, model = _sources(args), load_any(args.model, device=args.device)
    result = predict(
        sources, model, invert=args.invert, centre=args.centre, part=args.part,
        beta_sm=args.beta_sm, memories=args.memories,
    )  # fmt: skip
    result.model = args.model
    if args.out is not None:
        write_bytes(args.out, _written(result, args.out.suffix.lower()).encode())
    if args.pictures is not None:
        sheet = record_of(result, count=_SHOWN)
        columns = min(_ACROSS, len(sheet.images))
        save_grid(
            sheet.images, args.pictures, columns=columns, captions=sheet.captions, scale=sheet.scale
        )
    if args.json:
        print_json(result.to_json())
    elif args.csv:
        sys.stdout.write(_written(result, ".csv"))
    else:
        _report(args, result)
        say_evaluate(args.model, model)
    if len(result.errors) == len(result):
        return 2
    return 1 if result.errors else 0


def _sources(args: argparse.Namespace) -> list[str | bytes]:
    """Return the names on the command line and in the list, and the bytes of standard input.

    Raises:
        InputError: where there are none, or standard input is wanted twice.
    """
    names = list(args.files)
    if args.files_from is not None:
        names += _listed(args.files_from)
    if not names:
        raise InputError("no pictures: name files, folders, patterns, or - for standard input")
    if names.count("-") + (args.files_from == "-") > 1:
        raise InputError("standard input is named twice")
    return [sys.stdin.buffer.read() if name == "-" else name for name in names]


def _listed(file: str) -> list[str]:
    """Return the names in a file, or on standard input."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise DataUnavailableError(f"{file}: {error.strerror}") from error
    names = data.split(b"\0") if b"\0" in data else data.splitlines()
    return [name.decode(sys.getfilesystemencoding(), "surrogateescape") for name in names if name]


def _written(result: Predictions, suffix: str) -> str:
    """Return rows as the text of a file; in .csv memories are "position:share", with blanks."""
    rows = [row.to_json() for row in result]
    if suffix == ".json":
        return json.dumps(result.to_json(), indent=2, allow_nan=False) + "\n"
    if suffix == ".csv":
        for row, prediction in zip(rows, result, strict=True):
            row["memories"] = " ".join(f"{m.position}:{m.share:.4f}" for m in prediction.memories)
    return rows_text(suffix, rows, _COLUMNS)


def _report(args: argparse.Namespace, result: Predictions) -> None:
    stdout.print(_table(result))
    counts = f"{len(result)} rows" if len(result) != 1 else "1 row"
    kind = "the model's own" if result.calibrated else "the paper's: this model has none"
    stdout.print(f"{counts}; confidence with beta_sm {result.beta_sm:.4g}, {kind}")
    print_errors("without a label", [f"{row.name}: {row.reason}" for row in result.errors])
    for what, path in (("rows", args.out), ("pictures", args.pictures)):
        if path is not None:
            stdout.print(foreign(f"{what} in {path}"))


def _table(result: Predictions) -> FittedTable:
    names = [row.name for row in result]
    folders = {str(Path(name).parent) for name in names}
    folder = os.path.commonpath(folders) if len(names) > 1 and "." not in folders else ""
    shown = [name.removeprefix(folder).lstrip("/") if folder else name for name in names]
    rows: list[tuple[Any, ...]] = []
    for name, row in zip(shown[:_LISTED], result, strict=False):
        if row.label is None:
            rows.append((foreign(name), "-", "", "", ""))
            continue
        memories = ", ".join(f"{m.position} {100 * m.share:.0f} %" for m in row.memories[:_NAMED])
        rows.append((
            foreign(name), foreign(row.class_name or ""), percent(row.confidence or 0),
            foreign(row.runner_up or ""), memories,
        ))  # fmt: skip
    if len(result) > _LISTED:
        rows.append((f"... and {len(result) - _LISTED} more", "", "", "", ""))
    columns = ("picture", "label", "confidence", "runner-up", "memories")
    title = foreign(f"in {folder}").plain if folder else None
    return FittedTable(title, columns, rows, left=[0, 4], drop=[4, 3])
