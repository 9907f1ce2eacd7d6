r"""denseam guard evaluate: measure what a guard lets through and what it sets aside.

Junk is noise of several kinds, blanks, permuted and inverted images; for each of --models
also rubbish, boundary and FGSM images; and the sets of --junk. The table shows which
fraction of junk and of clean images the threshold rejects. Use other clean images than for
`calibrate`: by default they are the same, and a warning says so. For example, save one half
as clean.safetensors and the other as others.safetensors (ImageSet.subset, save), and give
one to each command.

Examples:
    denseam guard calibrate --detector mnist-n30 --classifier mnist-relu \
        --dataset clean.safetensors --out guard
    denseam guard evaluate guard --dataset others.safetensors
    denseam guard evaluate guard --dataset others.safetensors --models mnist-n2 mnist-n30 \
        --count 200 --figure guard.png
    denseam guard evaluate guard --dataset others.safetensors --junk fashion-mnist \
        --junk letters.npz --json
"""

import argparse
from pathlib import Path

from rich.text import Text

from denseam import data
from denseam.cli.common import (
    add_dataset,
    add_part,
    check_count,
    foreign,
    print_json,
    say_next,
    stderr,
    stdout,
)
from denseam.cli.own import chosen_for
from denseam.cli.progress import images_bar
from denseam.cli.sets import check_picture
from denseam.cli.tables import FittedTable
from denseam.data import ImageSet
from denseam.figures import guard as figure
from denseam.guard import Guard
from denseam.guard.evaluation import GuardEvaluation, Trial, evaluate_guard, make_trials
from denseam.pretrained import load_any


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("guard", metavar="GUARD", type=Path, help="made by denseam guard calibrate")
    add_dataset(
        parser, default=None,
        text="clean images, others than those of `calibrate` (default: its data set)",
    )  # fmt: skip
    add_part(parser)
    parser.add_argument(
        "--count", type=int, default=1000, help="clean images, the first so many "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--models", nargs="*", default=[], metavar="MODEL", help="attack these (default: none)"
    )
    parser.add_argument(
        "--junk", action="append", default=[], metavar="SET",
        help="a data set or image set file that is junk; may be repeated",
    )  # fmt: skip
    parser.add_argument("--figure", type=Path, help="scores, and coverage against risk: .png, ...")


def run(args: argparse.Namespace) -> int:
    """Make the trials, evaluate, draw, print."""
    check_picture(args.figure)
    check_count(args.count)
    guard = Guard.load(args.guard, device=args.device)
    clean = chosen_for(args, {str(args.guard): guard})
    models = {name: load_any(name, device=args.device) for name in args.models}
    named = [_junk(name, args) for name in args.junk]
    with images_bar("make trials") as bar:
        trials = [*make_trials(clean, models, seed=args.seed, on_progress=bar), *named]
    with images_bar("evaluate") as bar:
        evaluation = evaluate_guard(guard, clean, trials, on_progress=bar)
    if evaluation.n_seen:
        text = (
            f"warning: the guard was calibrated on {evaluation.n_seen} of these {len(clean)} clean "
            "images: on new ones it rejects more. Give others with --dataset"
        )
        stderr.print(foreign(text), soft_wrap=True)
    if args.figure is not None:
        figure.save(evaluation, args.figure)
    if args.json:
        print_json({"guard": guard.to_json(), **evaluation.to_json()})
        return 0
    stdout.print(_table(evaluation))
    stdout.print("right, wrong: accepted and labelled so; alone: right without a guard")
    if args.figure is not None:
        stdout.print(foreign(f"figure in {args.figure}"))
    say_next("guard", "serve", args.guard)
    return 0


def _junk(name: str, args: argparse.Namespace) -> Trial:
    images = data.load(name)
    whole = images if isinstance(images, ImageSet) else getattr(images, args.part)
    return Trial(name, "junk", whole.subset(slice(args.count)).visible())


def _table(evaluation: GuardEvaluation) -> FittedTable:
    rows = list[tuple[str | Text, ...]]()
    for row in (evaluation.clean, *evaluation.trials):
        alone = None if row.alone is None else 1 - row.alone
        shares = map(_share, (row.rejected, row.right, row.wrong, alone))
        auroc = "" if row.separation is None else f"{row.separation.auroc:.3f}"
        rows.append((foreign(row.name), f"{row.count}", *shares, auroc))
    columns = ("", "images", "rejected", "right", "wrong", "alone", "AUROC")
    return FittedTable("% of the images", columns, rows, left=[0], drop=[1, 5, 6])


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"
