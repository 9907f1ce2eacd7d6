"""denseam explain: say which memories gave an image its label.

The energy of a class is a sum over memories. Names those with the largest shares of it,
for the predicted class and the runner-up, what each of them adds to the margin between
the two, and the classes that it votes for.

Examples:
    denseam explain mnist-n30 --index 7 --out explain.png
    denseam explain mnist-n2 --index 7 --by contribution --out explain.png
    denseam explain mnist-n30 --index 115 --label 4 --count 5
    denseam explain runs/n20 --dataset boundary.safetensors --index 3 --json
"""

import argparse
import math
from pathlib import Path

from denseam.cli.common import (
    add_model,
    add_own_dataset,
    add_part,
    percent,
    print_json,
    same_data,
    say_next,
    stdout,
)
from denseam.cli.flags import add_flags, from_signature, typed
from denseam.cli.own import examples_for
from denseam.cli.sets import check_picture
from denseam.cli.tables import FittedTable
from denseam.convolutional import ConvolutionalAM
from denseam.data import Examples, ImageSet
from denseam.errors import InputError
from denseam.evaluation import check_fit
from denseam.explanation import ClassVotes, Explanation
from denseam.figures import explanation as figure
from denseam.model import DenseAM
from denseam.pretrained import load_any

_FLAGS = from_signature(DenseAM.explain, "count", "by")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_model(parser)
    add_own_dataset(parser, short=False)
    add_part(parser)
    parser.add_argument("--index", type=int, default=0, help="which image (default: %(default)s)")
    parser.add_argument(
        "--label", metavar="CLASS", help="compare with this class (default: the runner-up)"
    )
    add_flags(parser, _FLAGS, filled=True)
    parser.add_argument("--out", type=Path, help="as a picture: .png, .svg or .pdf")


def run(args: argparse.Namespace) -> int:
    """Explain, draw, print."""
    check_picture(args.out)
    model = load_any(args.model, device=args.device)
    if not isinstance(model, DenseAM):
        raise InputError(f"{args.model}: only a DenseAM has memories that vote, not {model.kind!r}")
    if args.out is not None and isinstance(model, ConvolutionalAM) and model.n_places > 1:
        raise InputError(f"{args.model}: memories that are patches have no figure: leave out --out")
    images = examples_for(args, {args.model: model})
    check_fit(model, images)
    if not 0 <= args.index < len(images):
        raise InputError(f"--index {args.index}: {images.name} has 0 .. {len(images) - 1}")
    one = images.subset([args.index])
    visible = one.inputs(model.input_dtype, model.memories.device)
    names = _class_names(model, images)
    explanation = model.explain(visible, label=_label(args.label, names), **typed(args, _FLAGS))
    right = int(one.labels[0])
    if args.out is not None:
        title, N = f"n = {model.power:g}", len(explanation.visible)
        fits = len(images.input_shape) > 1 and math.prod(images.input_shape) == N
        shape = images.input_shape if fits else model.picture_shape or (1, N)
        figure.save(figure.ExplainedImage(title, explanation, shape, names, right), args.out)
    if args.json:
        facts = {"model": args.model, "dataset": images.name, "part": args.part}
        print_json({**facts, "index": args.index, "right": right, **explanation.to_json()})
        return 0
    label = explanation.predicted.label
    predicted = names[label] if explanation.active else "nothing, no memory is active"
    stdout.print(f"{images.name} {args.index}: right {names[right]}, predicted {predicted}")
    for votes in (explanation.predicted, explanation.other):
        if votes is not None and votes.n_active:
            stdout.print(_votes(model, explanation, votes, names))
    if args.out is not None:
        stdout.print(f"figure in {args.out}")
    _say_next(args, images)
    return 0


def _say_next(args: argparse.Namespace, images: Examples) -> None:
    """Name a command to go on with: the figure, the nearest boundary, or another row."""
    same = (args.model, *same_data(args))
    if args.out is None:
        label = [] if args.label is None else ["--label", args.label]
        by = [] if args.by == _FLAGS[1].default else ["--by", args.by]
        more = ["--index", args.index, *label, *by, "--out", "explanation.png"]
        say_next("explain", *same, *more)
    elif isinstance(images, ImageSet):
        say_next("boundary", *same, "--count", 100, "--out", "boundary.safetensors")
    else:
        say_next("explain", *same, "--index", (args.index + 1) % len(images))


def _class_names(model: DenseAM, images: Examples) -> tuple[str, ...]:
    """Return the images' names of classes, and numbers for classes that only the model has."""
    return images.class_names + tuple(map(str, range(images.n_classes, model.n_classes)))


def _label(typed: str | None, names: tuple[str, ...]) -> int | None:
    """Return the class of a name, or of a number.

    Raises:
        InputError: when it is neither.
    """
    if typed is None:
        return None
    for c, name in enumerate(names):
        if typed in (name, str(c)):
            return c
    raise InputError(f"--label {typed}: wanted one of {', '.join(names)}")


def _votes(
    model: DenseAM, explanation: Explanation, votes: ClassVotes, names: tuple[str, ...]
) -> FittedTable:
    positions = [f"{position}" for position in votes.positions.tolist()]
    if votes.places is not None and isinstance(model, ConvolutionalAM):
        corners = map(model.where, votes.places.tolist())
        positions = [f"{k} at {r}, {c}" for k, (r, c) in zip(positions, corners, strict=True)]
    memories = zip(positions, votes.shares, votes.contributions, votes.votes_for, strict=True)
    rows = [
        (
            position, percent(float(share)), f"{100 * float(contribution):+.2f} %",
            ", ".join(names[c] for c in classes),
        )
        for position, share, contribution, classes in memories
    ]  # fmt: skip
    columns = ("memory", "share", "contribution", "votes for")
    return FittedTable(
        figure.headline(explanation, votes, names), columns, rows, left=[3], drop=[3]
    )
