"""denseam audit: say whether a robustness number of a model is to be believed.

Attacks the model through each of its heads as anyone would, looks at the gradients on
the way, and compares with attacks that need no such gradient: exact directions, the
minimum norm, random search, other models. A head whose attacks fail where others
succeed hides its gradients. The headline is the best of all attacks, image by image.

Examples:
    denseam audit mnist-n30
    denseam audit mnist-n2 --count 500 --page audit-n2.html
    denseam audit runs/n30 --eps 0.3 --substitute runs/n30-seed1 --page audit.html
    denseam audit mnist-n20 --json
"""

import argparse
import shlex
import sys
from pathlib import Path

from rich.text import Text

from denseam.analysis.audit import Audit, audit
from denseam.cli.common import (
    add_images,
    add_model,
    check_file,
    percent,
    print_json,
    same_data,
    say_next,
    stdout,
)
from denseam.cli.flags import add_flags, from_signature, typed
from denseam.cli.own import chosen_for
from denseam.cli.progress import parts_bar
from denseam.cli.tables import FittedTable
from denseam.figures.canvas import need_matplotlib
from denseam.pretrained import load_any
from denseam.study.report.audit import save_page

_FLAGS = from_signature(audit, "eps", "queries")
_COLOURS = {"passed": "green", "flagged": "red"}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_model(parser)
    add_images(parser, count=200)
    add_flags(parser, _FLAGS, filled=True)
    parser.add_argument(
        "--substitute", metavar="MODEL", nargs="+", default=[],
        help="other models to attack in its place, such as the same recipe from another seed",
    )  # fmt: skip
    parser.add_argument("--page", type=Path, help="write it as one HTML page")


def run(args: argparse.Namespace) -> int:
    """Audit, write the page, print."""
    if args.page is not None:
        check_file(args.page, ".html", ".htm")
        need_matplotlib()
    model = load_any(args.model, device=args.device)
    others = {name: load_any(name, device=args.device) for name in args.substitute}
    images = chosen_for(args, {args.model: model, **others})
    with parts_bar("audit") as bar:
        result = audit(
            model, images, substitutes=others, seed=args.seed, on_progress=bar,
            **typed(args, _FLAGS),
        )  # fmt: skip
    if args.page is not None:
        save_page(
            result, args.page, name=args.model, command=shlex.join(["denseam", *sys.argv[1:]]),
            dtype=str(model.memories.dtype).removeprefix("torch."),
        )  # fmt: skip
    if args.json:
        print_json(result.to_json())
        return 0
    _print(result, args)
    return 0


def _print(result: Audit, args: argparse.Namespace) -> None:
    low, high = result.headline.interval
    stdout.print(
        Text.assemble(
            f"{args.model} on {result.count} images, Linf {result.eps:g} in visible units "
            f"({result.eps / 2:g} in [0, 1] units): all attacks together leave ",
            (percent(result.headline.accuracy), "bold"), f" of {percent(result.clean)} "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f} %)",
        )
    )  # fmt: skip
    rows: list[tuple[str | Text, ...]] = []
    for surface in result.surfaces:
        word = "flagged" if surface.name in result.masked else "passed"
        useless = max(surface.start.useless, surface.path.useless)
        rows.append(
            (surface.name, percent(useless), percent(surface.accuracy), Text(word, _COLOURS[word]))
        )
    rows += [(attempt.name, "", percent(attempt.accuracy), "") for attempt in result.others]
    columns = ("attack through", "zero or useless gradients", "leaves", "verdict")
    stdout.print(FittedTable(None, columns, rows, left=[0], drop=[1]))
    for check in result.flagged:
        sentence = f" {check.surface or 'the model'}, {check.name}: {check.says}"
        stdout.print(Text.assemble(("flagged", _COLOURS["flagged"]), sentence))
    plainest = result.surfaces[-1]
    if result.believed:
        stdout.print(f"a number measured through {plainest.name} can be believed")
    else:
        stdout.print(f"no number can be believed: {plainest.name} fails a check")
    if args.page is not None:
        stdout.print(f"page in {args.page}")
    more = ["--method", "minimum", "--count", 100, "--out", "near.safetensors"]
    say_next("attack", args.model, *same_data(args), *more)
