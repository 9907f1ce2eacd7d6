"""denseam evaluate: measure a model's errors on a set of images.

Error with its 95 % interval, errors by class, confusions, the mean of |Y|, and speed.

Examples:
    denseam evaluate runs/n30
    denseam evaluate mnist-n30
    denseam evaluate mnist-n2 --dataset boundary-n30.safetensors
    denseam evaluate runs/n30 --part train
    denseam evaluate mnist-n30 --json
"""

import argparse
import math

from rich.text import Text

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
from denseam.cli.own import examples_for
from denseam.cli.tables import FittedTable
from denseam.data import Examples
from denseam.evaluation import Evaluation, evaluate, predict_images
from denseam.model import DenseAM
from denseam.pretrained import load_any

_MOST = 3  # confusions of a class
_LOOKED_AT = 1000  # images among which an error to explain is searched


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    add_model(parser)
    add_own_dataset(parser)
    add_part(parser)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print."""
    model = load_any(args.model, device=args.device)
    images = examples_for(args, {args.model: model})
    evaluation = evaluate(model, images)
    if args.json:
        facts = {"model": args.model, "dataset": images.name, "part": args.part}
        print_json({**facts, **evaluation.to_json()})
        return 0
    low, high = evaluation.error_interval
    stdout.print(f"{model}")
    stdout.print(
        Text.assemble(
            f"{images.name}: error ", (percent(evaluation.error), "bold"),
            f" of {evaluation.n_images} images "
            f"(95 % interval {100 * low:.2f} to {100 * high:.2f} %)",
        )
    )  # fmt: skip
    stdout.print(f"mean |Y| {evaluation.mean_activity:.4f}")
    stdout.print(f"{1000 * evaluation.seconds_per_1000:.1f} ms for 1000 images")
    stdout.print(_confusions(evaluation, images.class_names))
    if isinstance(model, DenseAM):
        say_next("explain", args.model, *same_data(args), "--index", _first_error(model, images))
    else:
        other = "test" if args.part == "train" else "train"
        data = argparse.Namespace(**{**vars(args), "part": other})
        say_next("evaluate", args.model, *same_data(data))
    return 0


def _first_error(model: DenseAM, images: Examples) -> int:
    """Return the first image that gets a wrong label, 0 where none is near the start."""
    some = images.subset(slice(_LOOKED_AT))
    return int((predict_images(model, some).cpu() != some.labels).int().argmax())


def _confusions(evaluation: Evaluation, names: tuple[str, ...]) -> FittedTable:
    """Return the matrix of confusions; where it is too wide, the most frequent ones by class."""
    rows: list[list[str | Text]] = []
    for i, counts in enumerate(evaluation.confusion[: len(names)]):
        cells = [Text(f"{n}" if n else "", "bold" if i == j else "") for j, n in enumerate(counts)]
        rows.append([names[i], *cells[: len(names)], _error(evaluation, i)])
    title = "right class (rows), predicted class (columns)"
    matrix = FittedTable(title, ["", *names, "error"], rows, left=[0])
    return matrix if matrix.fits(stdout) else _by_class(evaluation, names)


def _by_class(evaluation: Evaluation, names: tuple[str, ...]) -> FittedTable:
    rows = []
    for i, counts in enumerate(evaluation.confusion[: len(names)]):
        wrong = sorted((-n, j) for j, n in enumerate(counts[: len(names)]) if n and j != i)
        taken = ", ".join(f"{names[j]} ({-n})" for n, j in wrong[:_MOST])
        rows.append([names[i], f"{sum(counts)}", _error(evaluation, i), taken])
    columns = ("class", "images", "error", f"taken for (the {_MOST} most frequent)")
    return FittedTable(None, columns, rows, left=[0, 3], drop=[3])


def _error(evaluation: Evaluation, label: int) -> str:
    error = evaluation.class_errors[label]
    return "" if math.isnan(error) else percent(error)
