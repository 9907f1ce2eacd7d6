"""`denseam audit`"""

import argparse
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from denseam.analysis.audit import Audit, audit
from denseam.cli.common import (
    add_command,
    add_images,
    add_model,
    chosen_images,
    percent,
    print_json,
    stdout,
)
from denseam.cli.progress import parts_bar
from denseam.errors import InputError
from denseam.figures import audit as figure
from denseam.figures.canvas import need_matplotlib
from denseam.files import write_bytes
from denseam.pretrained import load_any
from denseam.study.report.audit import audit_curves, render_audit

_COLOURS = {"passed": "green", "flagged": "red", "not checked": "yellow"}


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "audit",
        "say whether a robustness number of a model is to be believed",
        "Attacks the model through each of its heads as anyone would, looks at the gradients on\n"
        "the way, and compares with attacks that need no such gradient: exact directions, the\n"
        "minimum norm, random search, other models. A head whose attacks fail where others\n"
        "succeed hides its gradients. The headline is the best of all attacks, image by image.",
        """
denseam audit mnist-n30
denseam audit mnist-n2 --count 500 --page audit-n2.html
denseam audit runs/n30 --eps 0.3 --substitute runs/n30-seed1 --page audit.html
denseam audit mnist-n20 --json
""",
    )
    add_model(parser)
    parser.add_argument(
        "--eps", type=float, default=0.2,
        help="Linf size in visible units, where black and white are 2 apart: half as much in "
        "[0, 1] units (default: %(default)s)",
    )  # fmt: skip
    add_images(parser, count=200)
    parser.add_argument(
        "--substitute", metavar="MODEL", nargs="+", default=[],
        help="other models to attack in its place, such as the same recipe from another seed",
    )  # fmt: skip
    parser.add_argument(
        "--queries", type=int, default=1000,
        help="of the random search, for each image (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--page", type=Path, help="write it as one HTML page")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Audit, write the page, print."""
    if args.page is not None:
        _check_page(args.page)
    model, images = load_any(args.model, device=args.device), chosen_images(args)
    others = {name: load_any(name, device=args.device) for name in args.substitute}
    with parts_bar("audit") as tell:
        found = audit(
            model, images, args.eps, substitutes=others, queries=args.queries, seed=args.seed,
            on_progress=tell,
        )  # fmt: skip
    if args.page is not None:
        dtype = str(model.memories.dtype).removeprefix("torch.")
        page = render_audit(
            found, _picture(found), name=args.model, command=shlex.join(["denseam", *sys.argv[1:]]),
            dtype=dtype,
        )  # fmt: skip
        write_bytes(args.page, page.encode())
    if args.json:
        print_json(found.to_json())
        return 0
    _print(found, args)
    return 0


def _check_page(path: Path) -> None:
    """Said before the work begins, not after."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"{path}: wanted a .html file")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: no such folder {path.absolute().parent}")
    need_matplotlib()


def _picture(found: Audit) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "audit.png")
        figure.save(audit_curves(found), path)
        return path.read_bytes()


def _print(found: Audit, args: argparse.Namespace) -> None:
    low, high = found.headline.interval
    stdout.print(
        Text.assemble(
            f"{args.model} on {found.count} images, Linf {found.eps:g} in visible units "
            f"({found.eps / 2:g} in [0, 1] units): all attacks together leave ",
            (percent(found.headline.accuracy), "bold"), f" of {percent(found.clean)} "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)",
        )
    )  # fmt: skip
    table = Table()
    for column in ("attack through", "zero or useless gradients", "leaves", "verdict"):
        table.add_column(column, justify="left" if column == "attack through" else "right")
    for surface in found.surfaces:
        word = "flagged" if surface.name in found.masked else "passed"
        table.add_row(
            surface.name, percent(max(surface.start.useless, surface.path.useless)),
            percent(surface.accuracy), Text(word, _COLOURS[word]),
        )  # fmt: skip
    for attempt in found.others:
        table.add_row(attempt.name, "", percent(attempt.accuracy), "")
    stdout.print(table)
    for check in found.flagged:
        where = check.surface or "the model"
        said = f" {where}, {check.name}: {check.says}"
        stdout.print(Text.assemble(("flagged", _COLOURS["flagged"]), said))
    plainest = found.surfaces[-1]
    if found.believed:
        stdout.print(f"a number measured through {plainest.name} can be believed")
    else:
        stdout.print(f"no number can be believed: {plainest.name} fails a check")
    if args.page is not None:
        stdout.print(f"page in {args.page}")
