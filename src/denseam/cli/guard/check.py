"""denseam guard check: say which images are junk, and label the others.

Takes pictures (PNG, JPEG, BMP, ...), folders of them, data sets and image set files.
Pictures of another size or in colour are made gray and scaled to the guard's, unless
--strict.

Examples:
    denseam guard check guard scan.png more/
    denseam guard check guard rubbish.safetensors --sheet junk.png --out verdicts.csv
    denseam guard check guard mnist --part test --count 1000 --json
    denseam guard check guard incoming/ --invert --out verdicts.jsonl
"""

import argparse
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseam import data
from denseam.cli.common import check_count, check_file, foreign, percent, print_json, stdout, table
from denseam.cli.progress import images_bar
from denseam.cli.sets import check_picture
from denseam.cli.tables import FittedTable
from denseam.data import ImageSet
from denseam.data.pixels import to_visible
from denseam.errors import InputError
from denseam.figures.grid import save_grid
from denseam.figures.pictures import SUFFIXES, read_pictures
from denseam.files import write_bytes
from denseam.guard import Guard, Verdict, Verdicts

_SHOWN = 100  # images of a contact sheet
_LISTED = 20  # rows of the table
_CHUNK = 1000
_COLUMNS = (
    "image", "label", "accepted", "score", "p_value", "detector_label", "classifier_label",
    "reason",
)  # fmt: skip


@dataclass(frozen=True)
class _Batch:
    """Images, and what to call each."""

    names: list[str]
    images: Tensor | ImageSet


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("guard", metavar="GUARD", type=Path, help="made by denseam guard calibrate")
    parser.add_argument("images", metavar="PATH", nargs="+", help="picture, folder, set or name")
    parser.add_argument("--part", choices=["test", "train"], default="test", help="(default: test)")
    parser.add_argument("--count", type=int, help="of every set the first so many (default: all)")
    parser.add_argument("--out", type=Path, help="all verdicts: .csv or .jsonl")
    parser.add_argument("--sheet", type=Path, help=f"the first {_SHOWN} set aside: .png")
    parser.add_argument("--invert", action="store_true", help="pictures are black on white")
    parser.add_argument("--strict", action="store_true", help="refuse pictures of another size")
    parser.add_argument("--classifier", help="to use instead of the guard's own")


def run(args: argparse.Namespace) -> int:
    """Check, write, print."""
    check_picture(args.sheet, ".png")
    check_file(args.out, ".csv", ".jsonl")
    check_count(args.count)
    guard = Guard.load(args.guard, classifier=args.classifier, device=args.device)
    batches = _batches(args, guard)
    total = sum(len(batch.names) for batch in batches)
    names, verdicts_of, sheet = list[str](), list[Verdicts](), list[Tensor]()
    with images_bar("check") as bar:
        for batch in batches:
            for start in range(0, len(batch.names), _CHUNK):
                chunk = _slice(batch.images, slice(start, start + _CHUNK))
                verdicts = guard.predict(chunk)
                names += batch.names[start : start + _CHUNK]
                verdicts_of.append(verdicts)
                if sum(map(len, sheet)) < _SHOWN:
                    sheet.append(_pixels(chunk)[~verdicts.accepted])
                bar(len(names), total)
    verdicts = Verdicts.concatenate(verdicts_of)
    if args.out is not None:
        write_bytes(args.out, _written(names, verdicts, args.out.suffix.lower()))
    drawn = _draw(args.sheet, sheet, [v for v in verdicts if not v.accepted])
    _report(args, names, verdicts, drawn=drawn)
    return 0


def _batches(args: argparse.Namespace, guard: Guard) -> list[_Batch]:
    """Read the images that were named: one batch for each set, one for all pictures.

    Raises:
        InputError: when there is no image, or one cannot be brought to the guard's size.
    """
    batches, pictures = list[_Batch](), list[Path]()
    for name in args.images:
        path = Path(name)
        if path.is_dir() and (inside := _pictures_in(path)):
            pictures += inside
        elif path.suffix.lower() in SUFFIXES:
            pictures.append(path)
        else:
            images = data.load(name)
            whole = images if isinstance(images, ImageSet) else getattr(images, args.part)
            whole = whole.subset(slice(args.count))
            batches.append(_Batch([f"{name} {k}" for k in range(len(whole))], whole))
    if pictures:
        if guard.image_shape is None:
            raise InputError("the guard has no image shape: pictures cannot be made for it")
        images = read_pictures(
            pictures, guard.image_shape, invert=args.invert, scale=not args.strict
        )
        batches.append(_Batch([str(path) for path in pictures], images))
    return batches


def _pictures_in(folder: Path) -> list[Path]:
    """Return the pictures anywhere below a folder, by name."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def _slice(images: Tensor | ImageSet, rows: slice) -> Tensor | ImageSet:
    return images.subset(rows) if isinstance(images, ImageSet) else images[rows]


def _pixels(images: Tensor | ImageSet) -> Tensor:
    """Return pixels (B, H, W) for a contact sheet."""
    return images.images if isinstance(images, ImageSet) else images


def _written(names: Sequence[str], verdicts: Verdicts, suffix: str) -> bytes:
    rows = [{"image": name, **row} for name, row in zip(names, verdicts.to_json(), strict=True)]
    if suffix == ".jsonl":
        return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="backslashreplace")  # names that are no UTF-8


def _draw(path: Path | None, sheet: Sequence[Tensor], junk: Sequence[Verdict]) -> bool:
    """Draw a contact sheet of the rejected images; return whether there are any."""
    images = [chunk for chunk in sheet if len(chunk)]
    if path is None or not images:
        return False
    if len({chunk.dtype for chunk in images}) > 1:  # bytes and floats: all as floats
        images = [to_visible(chunk, torch.float32, scale="visible") for chunk in images]
    chosen = torch.cat(images)[:_SHOWN]
    captions = [f"p {verdict.p_value:.2g}" for verdict in junk[: len(chosen)]]
    save_grid(chosen, path, columns=min(10, len(chosen)), captions=captions)
    return True


def _report(
    args: argparse.Namespace, names: Sequence[str], verdicts: Verdicts, *, drawn: bool
) -> None:
    counts = verdicts.reason_counts()
    if args.json:
        rows = [{"image": n, **v} for n, v in zip(names, verdicts.to_json(), strict=True)]
        totals = {"images": len(names), "rejected": verdicts.n_rejected, "reasons": counts}
        print_json({**totals, "verdicts": rows})
        return
    stdout.print(_table(names, verdicts))
    share = percent(verdicts.n_rejected / len(names))
    stdout.print(f"{verdicts.n_rejected} of {len(names)} images ({share}) set aside")
    if counts:
        stdout.print(", ".join(f"{reason} {count}" for reason, count in counts.items()))
    if args.out is not None:
        stdout.print(foreign(f"verdicts in {args.out}"))
    if args.sheet is not None:
        where = f"contact sheet in {args.sheet}" if drawn else "nothing set aside, no contact sheet"
        stdout.print(foreign(where))


def _table(names: Sequence[str], verdicts: Verdicts) -> FittedTable:
    rows: list[tuple[Any, ...]] = [
        (
            foreign(name), f"{verdict.label}" if verdict.accepted else "junk",
            f"{verdict.p_value:.4f}", f"{verdict.score:.4g}",
            "" if verdict.detector_label < 0 else f"{verdict.detector_label}", verdict.reason or "",
        )
        for name, verdict in zip(names[:_LISTED], verdicts, strict=False)
    ]  # fmt: skip
    if len(names) > _LISTED:
        rows.append((f"... and {len(names) - _LISTED} more", "", "", "", "", ""))
    columns = ("image", "label", "p-value", "score", "detector", "reason")
    return table(None, columns, rows, left=[0, 5], drop=[4, 3, 2])
