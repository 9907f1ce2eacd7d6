"""`denseam explain`"""

import argparse
from pathlib import Path
from typing import Any, get_args

from rich.table import Table

from denseam.cli.common import (
    add_command,
    add_dataset,
    add_model,
    add_part,
    images_of,
    percent,
    print_json,
    stdout,
)
from denseam.cli.sets import check_picture
from denseam.data import ImageSet
from denseam.errors import InputError
from denseam.evaluation import check_fit
from denseam.explanation import ClassVotes, Explanation, Order
from denseam.figures import explanation as figure
from denseam.model import DenseAM
from denseam.pretrained import load_any


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "explain",
        "say which memories gave an image its label",
        "The energy of a class is a sum over memories. Names those with the largest shares of it,\n"
        "for the predicted class and the runner-up, what each of them adds to the margin between\n"
        "the two, and the classes that it votes for.",
        """
denseam explain mnist-n30 --index 7 --out explain.png
denseam explain mnist-n2 --index 7 --by contribution --out explain.png
denseam explain mnist-n30 --index 115 --label 4 --count 5
denseam explain runs/n20 --dataset boundary.safetensors --index 3 --json
""",
    )
    add_model(parser)
    add_dataset(parser)
    add_part(parser)
    parser.add_argument("--index", type=int, default=0, help="which image (default: the first, 0)")
    parser.add_argument(
        "--label", metavar="CLASS", help="compare with this class (default: the runner-up)"
    )
    parser.add_argument(
        "--count", type=int, default=10, help="memories of each class (default: %(default)s)"
    )
    parser.add_argument(
        "--by", choices=get_args(Order), default="share",
        help="name those with the largest share of the energy, or contribution to the margin "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, help="as a picture: .png, .svg or .pdf")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Explain, draw, print."""
    check_picture(args.out)
    model, images = load_any(args.model, device=args.device), images_of(args)
    if not isinstance(model, DenseAM):
        raise InputError(f"{args.model}: only a DenseAM has memories that vote, not {model.kind!r}")
    check_fit(model, images)
    if not 0 <= args.index < len(images):
        raise InputError(f"--index {args.index}: {images.name} has 0 .. {len(images) - 1}")
    one = images.subset([args.index])
    visible = one.visible(model.memories.dtype, model.memories.device)
    names = _class_names(model, images)
    found = model.explain(visible, args.count, label=_label(args.label, names), by=args.by)
    right = int(one.labels[0])
    if args.out is not None:
        record = figure.ExplainedImage(f"n = {model.power:g}", found, images.shape, names, right)
        figure.save(record, args.out)
    if args.json:
        facts = {"model": args.model, "dataset": images.name, "part": args.part}
        print_json({**facts, "index": args.index, "right": right, **found.to_json()})
        return 0
    said = names[found.predicted.label] if found.active else "nothing, no memory is active"
    stdout.print(f"{images.name} {args.index}: right {names[right]}, predicted {said}")
    for votes in (found.predicted, found.other):
        if votes is not None and votes.n_active:
            stdout.print(_printed(found, votes, names))
    if args.out is not None:
        stdout.print(f"figure in {args.out}")
    return 0


def _class_names(model: DenseAM, images: ImageSet) -> tuple[str, ...]:
    """Those of the images, and numbers for classes that only the model has."""
    return images.class_names + tuple(map(str, range(images.n_classes, model.n_classes)))


def _label(given: str | None, names: tuple[str, ...]) -> int | None:
    """The class of a name, or of a number.

    Raises:
        InputError: when it is neither.
    """
    if given is None:
        return None
    for c, name in enumerate(names):
        if given in (name, str(c)):
            return c
    raise InputError(f"--label {given}: wanted one of {', '.join(names)}")


def _printed(found: Explanation, votes: ClassVotes, names: tuple[str, ...]) -> Table:
    table = Table(title=figure.headline(found, votes, names), title_justify="left")
    for column in ("memory", "share", "contribution"):
        table.add_column(column, justify="right")
    table.add_column("votes for")
    rows = zip(votes.positions, votes.shares, votes.contributions, votes.votes_for, strict=True)
    for position, share, contribution, classes in rows:
        table.add_row(
            f"{position}", percent(float(share)), f"{100 * float(contribution):+.2f} %",
            ", ".join(names[c] for c in classes),
        )  # fmt: skip
    return table
