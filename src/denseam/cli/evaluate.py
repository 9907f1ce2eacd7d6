"""`denseam evaluate`"""

import argparse
import math
from typing import Any

from rich.table import Table
from rich.text import Text

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
from denseam.evaluation import Evaluation, evaluate
from denseam.pretrained import load_any


def add_to(commands: Any) -> None:
    """Declare the command."""
    parser = add_command(
        commands,
        "evaluate",
        "measure a model's errors on a set of images",
        "Error with its 95 % interval, errors by class, confusions, the mean of |Y|, and speed.",
        """
denseam evaluate mnist-n30
denseam evaluate mnist-n2 --dataset boundary-n30.safetensors
denseam evaluate runs/n30 --part train
denseam evaluate mnist-n30 --json
""",
    )
    add_model(parser)
    add_dataset(parser)
    add_part(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Evaluate and print."""
    model = load_any(args.model, device=args.device)
    images = images_of(args)
    found = evaluate(model, images)
    if args.json:
        facts = {"model": args.model, "dataset": images.name, "part": args.part}
        print_json({**facts, **found.to_json()})
        return 0
    low, high = found.error_interval
    stdout.print(f"{model}")
    stdout.print(
        Text.assemble(
            f"{images.name}: error ", (percent(found.error), "bold"), f" of {found.n_images} "
            f"images (95 % interval {100 * low:.2f} to {100 * high:.2f} %)",
        )
    )  # fmt: skip
    stdout.print(f"mean |Y| {found.mean_activity:.4f}")
    stdout.print(f"{1000 * found.seconds_per_1000:.1f} ms for 1000 images")
    stdout.print(_confusions(found, images.class_names))
    return 0


def _confusions(found: Evaluation, names: tuple[str, ...]) -> Table:
    table = Table(title="right class (rows), predicted class (columns)", title_justify="left")
    table.add_column("")
    for name in names:
        table.add_column(name, justify="right")
    table.add_column("error", justify="right")
    for i, row in enumerate(found.confusion[: len(names)]):
        cells = [Text(f"{n}" if n else "", "bold" if i == j else "") for j, n in enumerate(row)]
        error = found.class_errors[i]
        table.add_row(names[i], *cells[: len(names)], "" if math.isnan(error) else percent(error))
    return table
