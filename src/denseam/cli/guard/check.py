"""denseam guard check: say which images are junk, and label the others.

Takes pictures (PNG, JPEG, TIFF, ...; all pages), folders, patterns, data sets and image
set files. Pictures are prepared as by `denseam predict`: those of another size are made
like the images that the detector has learned, unless --strict. A file that cannot be
read is a row with an error; the exit code is then 1.

Examples:
    denseam guard check guard scan.png more/
    denseam guard check guard rubbish.safetensors --sheet junk.png --out verdicts.csv
    denseam guard check guard mnist --part test --count 1000 --json
    denseam guard check guard incoming/ --invert --out verdicts.jsonl
"""

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseam.cli.common import (
    add_part,
    add_preparation,
    add_reading,
    check_count,
    check_file,
    foreign,
    load_examples,
    percent,
    print_errors,
    print_json,
    rows_text,
    say_next,
    stdout,
)
from denseam.cli.progress import images_bar
from denseam.cli.sets import check_picture
from denseam.cli.tables import FittedTable
from denseam.data import Examples, ImageSet
from denseam.data.imageset import only_pictures
from denseam.data.pictures import SUFFIXES
from denseam.data.pixels import to_bytes, to_visible
from denseam.data.registry import KNOWN
from denseam.errors import InputError
from denseam.figures.grid import save_grid
from denseam.files import write_bytes
from denseam.guard import Guard, Verdict, Verdicts
from denseam.prediction.rows import batches, expanded, picture_rows

_SHOWN = 100  # images of a contact sheet
_LISTED = 20  # rows of the table
_CHUNK = 1000
_COLUMNS = (
    "image", "label", "accepted", "score", "p_value", "detector_label", "classifier_label",
    "reason", "error",
)  # fmt: skip
_Batch = tuple[list[tuple[str, str | None]], Tensor | ImageSet | None]


@dataclass(frozen=True)
class _Checked:
    """An image with its verdict, or with the reason why it could not be read."""

    name: str
    verdict: Verdict | None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        if self.verdict is None:
            return {"image": self.name, "error": self.error}
        return {"image": self.name, **self.verdict.to_json()}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("guard", metavar="GUARD", type=Path, help="made by denseam guard calibrate")
    parser.add_argument("images", metavar="PATH", nargs="+", help="picture, folder, set or name")
    add_part(parser)
    add_reading(parser)
    parser.add_argument("--count", type=int, help="of every set the first so many (default: all)")
    parser.add_argument("--out", type=Path, help="all verdicts: .csv or .jsonl")
    parser.add_argument("--sheet", type=Path, help=f"the first {_SHOWN} set aside: .png")
    add_preparation(parser)
    parser.add_argument("--strict", action="store_true", help="refuse pictures of another size")
    parser.add_argument("--classifier", help="to use instead of the guard's own")


def run(args: argparse.Namespace) -> int:
    """Check, write, print."""
    check_picture(args.sheet, ".png")
    check_file(args.out, ".csv", ".jsonl")
    check_count(args.count)
    guard = Guard.load(args.guard, classifier=args.classifier, device=args.device)
    checked, verdicts_of, sheet = list[_Checked](), list[Verdicts](), list[Tensor]()
    with images_bar("check") as bar:
        for rows, images in _batches(args, guard):
            judged: Iterable[Verdict] = ()
            if images is not None:
                verdicts_of.append(guard.predict(images))
                judged = verdicts_of[-1]
                if sum(map(len, sheet)) < _SHOWN:
                    sheet.append(_pixels(images)[~verdicts_of[-1].accepted])
            each = iter(judged)
            checked += [_Checked(n, next(each) if not e else None, e or "") for n, e in rows]
            bar(len(checked), max(len(checked), len(args.images)))
    if not verdicts_of:
        raise InputError(checked[0].error if checked else f"{args.images[0]}: no picture there")
    verdicts = Verdicts.concatenate(verdicts_of)
    if args.out is not None:
        lines = [each.to_json() for each in checked]
        write_bytes(args.out, rows_text(args.out.suffix.lower(), lines, _COLUMNS).encode())
    drawn = _draw(args.sheet, sheet, [v for v in verdicts if not v.accepted])
    _report(args, checked, verdicts, drawn=drawn)
    if not args.json:
        _say_next(args, guard)
    return 1 if len(verdicts) < len(checked) else 0


def _batches(args: argparse.Namespace, guard: Guard) -> Iterator[_Batch]:
    """Yield the images that were named in chunks: names, each with an error or None, and pixels.

    Raises:
        InputError: for a set that is not of the guard's size.
    """
    for name in args.images:
        path = Path(name)
        files = [] if name in KNOWN and not path.exists() else list(expanded([name]))
        pictured = path.suffix.lower() in SUFFIXES or files != [path]
        if pictured and files:
            yield from _picture_batches(args, guard, files)
            continue
        images = load_examples(args, name)
        whole = images if isinstance(images, Examples) else getattr(images, args.part)
        whole = only_pictures(whole, "denseam guard check").subset(slice(args.count))
        for start in range(0, len(whole), _CHUNK):
            chunk = whole.subset(slice(start, start + _CHUNK))
            yield [(f"{name} {start + k}", None) for k in range(len(chunk))], chunk


def _picture_batches(
    args: argparse.Namespace, guard: Guard, files: Sequence[Path]
) -> Iterator[_Batch]:
    prepare = guard.preparation(invert=args.invert, centre=args.centre)

    def made(page: Tensor) -> Tensor:
        if args.strict and tuple(page.shape) != prepare.shape:
            sizes = (" x ".join(map(str, shape[::-1])) for shape in (page.shape, prepare.shape))
            raise InputError("{} pixels, wanted {}".format(*sizes))
        return to_bytes(prepare(page))

    for rows, images in batches(picture_rows(files, made, colour=prepare.colour), _CHUNK):
        wrong = [row for row in rows if args.strict and row.error and "pixels, wanted" in row.error]
        if wrong:
            raise InputError(f"{wrong[0].name}: {wrong[0].error}")
        yield [(row.name, row.error) for row in rows], images


def _pixels(images: Tensor | ImageSet) -> Tensor:
    """Return pixels (B, H, W) for a contact sheet."""
    return images.images if isinstance(images, ImageSet) else images


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
    args: argparse.Namespace, checked: Sequence[_Checked], verdicts: Verdicts, *, drawn: bool
) -> None:
    counts, unreadable = verdicts.reason_counts(), len(checked) - len(verdicts)
    if args.json:
        totals = {"images": len(checked), "rejected": verdicts.n_rejected, "reasons": counts}
        rows = [each.to_json() for each in checked]
        print_json({**totals, "unreadable": unreadable, "verdicts": rows})
        return
    stdout.print(_table(checked))
    share = percent(verdicts.n_rejected / len(verdicts))
    stdout.print(f"{verdicts.n_rejected} of {len(verdicts)} images ({share}) set aside")
    if counts:
        stdout.print(", ".join(f"{reason} {count}" for reason, count in counts.items()))
    print_errors("could not be read", [each.error for each in checked if each.verdict is None])
    if args.out is not None:
        stdout.print(foreign(f"verdicts in {args.out}"))
    if args.sheet is not None:
        where = f"contact sheet in {args.sheet}" if drawn else "nothing set aside, no contact sheet"
        stdout.print(foreign(where))


def _say_next(args: argparse.Namespace, guard: Guard) -> None:
    """Name a command to go on with: an evaluation on other images than those of the calibration."""
    clean = guard.calibrated_on
    if clean is None or clean.read is None:
        say_next("guard", "serve", args.guard)
    else:
        unseen = ["--part", "train"] if clean.name.endswith(" test") else []
        say_next("guard", "evaluate", args.guard, *unseen)


def _table(checked: Sequence[_Checked]) -> FittedTable:
    rows: list[tuple[Any, ...]] = []
    for each in checked[:_LISTED]:
        verdict = each.verdict
        if verdict is None:
            rows.append((foreign(each.name), "-", "", "", "", "unreadable"))
            continue
        rows.append((
            foreign(each.name), f"{verdict.label}" if verdict.accepted else "junk",
            f"{verdict.p_value:.4f}", f"{verdict.score:.4g}",
            "" if verdict.detector_label < 0 else f"{verdict.detector_label}", verdict.reason or "",
        ))  # fmt: skip
    if len(checked) > _LISTED:
        rows.append((f"... and {len(checked) - _LISTED} more", "", "", "", "", ""))
    columns = ("image", "label", "p-value", "score", "detector", "reason")
    return FittedTable(None, columns, rows, left=[0, 5], drop=[4, 3, 2])
