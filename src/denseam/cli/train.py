"""denseam train: train a dense associative memory, or a network to compare it with.

Follows the training procedure of the paper, stretched or compressed to the number of
epochs. Every epoch is written to the run folder. After an interruption, the same command
continues to the same bits. 3000 epochs are the paper's own schedule.

Examples:
    denseam train --power 30 --epochs 20 --out runs/quick
    denseam train --power 2 --out runs/n2
    denseam train --power 20 --dataset fashion-mnist --out runs/fashion
    denseam train --power 2 --hold-out 10000 --temperature 60 --out runs/tune
    denseam train --power 30 --epochs 3000 --tensorboard --out runs/n30-full
    denseam train --model relu --epochs 100 --out runs/relu
    denseam train --power 30 --from mnist-n30 --epochs 12 --adversarial l2:1 --out runs/n30-l2
    denseam train --power 3 --objective cross-entropy --adversarial linf:0.1 --out runs/n3-linf
    denseam train --certify l2:1.58 --n-memories 4000 --shift 0.5 --epochs 70 --out runs/certified
    denseam train --model polynomial --power 3 --epochs 100 --binarised --out runs/poly3-binarised
    torchrun --nproc-per-node 4 -m denseam train --power 30 --memory-ranks 2 --out runs/n30
"""

import argparse
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from denseam import data
from denseam.baselines import NETWORKS, Prototypes
from denseam.classifier import Classifier
from denseam.cli.common import (
    add_dataset,
    dataset_of,
    job,
    percent,
    print_json,
    stderr,
    stdout,
)
from denseam.cli.flags import add_flags, from_fields, summary, typed
from denseam.cli.progress import TrainingBar
from denseam.data import ImageSet
from denseam.errors import DenseAMWarning, LostRankError
from denseam.evaluation import evaluate
from denseam.fronts import Table
from denseam.mesh import Mesh
from denseam.pretrained import load_any
from denseam.training import Callback, Recipe, TensorBoard, TrainResult, train
from denseam.training.recipe import COMMAND_EPOCHS

_PRESET = from_fields(Recipe, "network", "power", "epochs")  # what ``Recipe.paper`` goes by
_OVERRIDES = tuple(
    flag for flag in from_fields(Recipe) if flag not in _PRESET and flag.name != "seed"
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    kinds = (f"{name}: {summary(network)}" for name, network in NETWORKS.items())
    with_power = (name for name, network in NETWORKS.items() if network.only_power is None)
    network, power, epochs = _PRESET
    add_flags(
        parser,
        (
            replace(network, help="; ".join(kinds)),
            replace(power, help=f"{power.help}, of {', '.join(with_power)}"),
            replace(epochs, default=COMMAND_EPOCHS),
        ),
    )
    parser.add_argument("--out", type=Path, required=True, help="run folder, made if need be")
    add_dataset(parser)
    parser.add_argument(
        "--hold-out", type=int, metavar="COUNT",
        help="do not train on the last COUNT training images, and measure the error on them "
        "instead of the test images: to tune by",
    )  # fmt: skip
    parser.add_argument(
        "--front", choices=("table",),
        help="standardise pixels and lift them onto a sphere, as DenseAMClassifier does with the "
        "features of a table (default: memories look at the pixels)",
    )  # fmt: skip
    parser.add_argument(
        "--from", dest="start", metavar="MODEL",
        help="begin from the memories of a model, as other commands take one, not from random ones",
    )  # fmt: skip
    parser.add_argument(
        "--tensorboard", action="store_true", help="write scalars to OUT/tensorboard"
    )
    parser.add_argument(
        "--memory-ranks", type=int, default=1, metavar="COUNT",
        help="under torchrun: divide the memories among COUNT processes, and the images among "
        "the rest (default: %(default)s)",
    )  # fmt: skip
    recipe = parser.add_argument_group("recipe (default: the paper's, for this power)")
    add_flags(recipe, _OVERRIDES)


def recipe_of(
    args: argparse.Namespace,
    images: ImageSet,
    front: nn.Module | None = None,
    start: Classifier | None = None,
) -> Recipe:
    """Return the recipe of a parsed command line, its temperatures on the scale of the images."""
    usual: dict[str, Any] = {"epochs": COMMAND_EPOCHS}
    sizes: dict[str, Any] = {}
    if args.certify:
        usual["network"] = Prototypes.kind
    if start is not None:
        usual |= {"network": start.kind, "power": start.power}
        sizes = {"n_memories": start.n_memories}
    preset = Recipe.paper(seed=args.seed, **{**usual, **typed(args, _PRESET)})
    return preset.for_data(images, front).replace(**{**sizes, **typed(args, _OVERRIDES)})


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, and say where the model is."""
    images = dataset_of(args)
    if args.hold_out is not None:
        images = images.hold_out(args.hold_out)
    start = None if args.start is None else load_any(args.start)
    front: nn.Module | None = None
    if args.front == "table":
        front = Table.fit(images.train.visible())
    elif start is not None and not isinstance(start.front, nn.Identity):
        front = start.front
    recipe = recipe_of(args, images.train, front, start)
    callbacks: list[Callback] = [TrainingBar()]
    if args.tensorboard:
        callbacks.append(TensorBoard(args.out / "tensorboard"))
    try:
        with warnings.catch_warnings(), job(args.command, args.device, args.memory_ranks) as mesh:
            warnings.simplefilter("ignore", DenseAMWarning)  # the bar shows them
            result = _train(recipe, images, args, callbacks, mesh, front, start)
    except KeyboardInterrupt:
        stderr.print(f"\nstopped; the same command goes on from the last epoch in {args.out}")
        raise
    if mesh.first:
        _report(result, images, args)
    return 0


def _train(
    recipe: Recipe,
    images: data.Dataset,
    args: argparse.Namespace,
    callbacks: list[Callback],
    mesh: Mesh,
    front: nn.Module | None,
    start: Classifier | None,
) -> TrainResult:
    try:
        return train(
            recipe, images, args.out, callbacks=callbacks, device=args.device, mesh=mesh,
            front=front, start=start,
        )  # fmt: skip
    except LostRankError as error:
        raise LostRankError(
            f"rank {mesh.rank} of {mesh.size}: {error}; the same command goes on from the last "
            f"epoch in {args.out}, on as many processes as there are then"
        ) from error


def _report(result: TrainResult, images: data.Dataset, args: argparse.Namespace) -> None:
    evaluation = evaluate(result.model, images.test)
    seconds = sum(record.seconds for record in result.records)
    if args.json:
        print_json(
            {
                "out": str(result.out),
                "recipe": result.recipe.to_json(),
                "train": result.records[-1].to_json() if result.records else None,
                "test" if args.hold_out is None else "held_out": evaluation.to_json(),
                "seconds": seconds,
            }
        )
        return
    low, high = evaluation.error_interval
    wrong = round(evaluation.error * evaluation.n_images)
    what = "test" if args.hold_out is None else "held-out"
    stdout.print(
        f"{what} error {percent(evaluation.error)} ({wrong} of {evaluation.n_images}; "
        f"95 % interval {100 * low:.2f} to {100 * high:.2f}) "
        f"after {len(result.records)} epochs, {seconds:.0f} s"
    )
    stdout.print(f"model in {args.out}; look closer with: denseam evaluate {args.out}")
