"""denseam train: train a dense associative memory, or a network to compare it with.

On MNIST, over 300 epochs or more, it follows the training procedure of the paper. On other
data, or over fewer epochs, scales, sizes and steps are found from the training examples.
Every epoch is written to the run folder. After an interruption, the same command
continues to the same bits. 3000 epochs are the paper's own schedule. The exit code is 3
after a run that ends no better than a constant answer.

Examples:
    denseam train --power 30 --epochs 20 --out runs/quick
    denseam train --power 2 --out runs/n2
    denseam train --power 20 --dataset fashion-mnist --out runs/fashion
    denseam train --dataset my.csv --tune 60 --out runs/mine
    denseam train --power 2 --hold-out 10000 --temperature 60 --out runs/tune
    denseam train --power 30 --epochs 3000 --tensorboard --out runs/n30-full
    denseam train --model relu --epochs 100 --out runs/relu
    denseam train --power 30 --from mnist-n30 --epochs 12 --adversarial l2:1 --out runs/n30-l2
    denseam train --adversarial l2:2 --average 2 --keep best-attacked --out runs/best
    denseam train --power 3 --objective cross-entropy --adversarial linf:0.1 --out runs/n3-linf
    denseam train --certify l2:1.58 --n-memories 4000 --distort 0.8 --epochs 80 --out runs/certified
    denseam train --model conv-front --power 20 --shift 0.5 --out runs/conv-n20
    denseam train --model conv-dam --power 3 --levels 16x5/2,32x3/2 --patch 4 --out runs/conv-n3
    denseam train --model cnn --out runs/cnn
    denseam train --model polynomial --power 3 --epochs 100 --binarised --out runs/poly3-binarised
    torchrun --nproc-per-node 4 -m denseam train --power 30 --memory-ranks 2 --out runs/n30
"""

import argparse
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from denseam import data, fronts
from denseam.baselines import NETWORKS, Prototypes
from denseam.classifier import Classifier
from denseam.cli.common import (
    add_dataset,
    command_line,
    dataset_of,
    job,
    percent,
    print_json,
    stderr,
    stdout,
)
from denseam.cli.flags import add_flags, from_fields, summary, typed
from denseam.cli.own import remembered
from denseam.cli.progress import TrainingBar
from denseam.data import Examples
from denseam.errors import DenseAMWarning, InputError, LostRankError
from denseam.evaluation import constant_answer, evaluate
from denseam.mesh import Mesh
from denseam.pretrained import load_any
from denseam.training import (
    Callback,
    EpochRecord,
    Recipe,
    TensorBoard,
    TrainResult,
    fit_recipe,
    train,
    tune,
)
from denseam.training.recipe import COMMAND_EPOCHS
from denseam.training.scale import front_of

_PRESET = from_fields(Recipe, "network", "power", "epochs")  # what ``Recipe.paper`` goes by
_OVERRIDES = tuple(
    flag for flag in from_fields(Recipe) if flag not in _PRESET and flag.name != "seed"
)

_SCALES = {
    "temperature", "temperature_start", "temperature_epochs", "learning_rate", "loss_power",
    "learning_rate_decay", "momentum", "n_memories", "per_class", "logit_scale", "objective",
    "initial", "sampling", "front",
}  # fmt: skip
_CHANCE = 3  # exit code of a run that ends no better than a constant answer


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
            replace(
                epochs,
                default=f"{COMMAND_EPOCHS}; less on small data, and 20 behind convolutions",
            ),
        ),
    )
    parser.add_argument("--out", type=Path, required=True, help="run folder, made if need be")
    add_dataset(parser)
    parser.add_argument(
        "--hold-out", type=int, metavar="COUNT",
        help="do not train on COUNT training examples (the last, or drawn by class where these lie "
        "in order), and measure the error on them instead of the test set: to tune by",
    )  # fmt: skip
    parser.add_argument(
        "--paper", action="store_true",
        help="take the paper's values for this power, stretched to the number of epochs, and find "
        "none from the data",
    )  # fmt: skip
    parser.add_argument(
        "--tune", type=float, metavar="SECONDS",
        help="search power, memories, temperature and steps on held-out examples first; the search "
        "goes on after an interruption (needs Optuna)",
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
    recipe = parser.add_argument_group("recipe (default: found from the data)")
    add_flags(recipe, [replace(flag, default=None) for flag in _OVERRIDES])


def recipe_of(
    args: argparse.Namespace, images: Examples, start: Classifier | None = None
) -> Recipe:
    """Return the recipe of a parsed command line, its scales found from the examples."""
    preset, values = typed(args, _PRESET), typed(args, _OVERRIDES)
    if args.certify:
        preset = {"network": Prototypes.kind, **preset}
    if args.tune is not None:
        if start is not None or args.paper:
            raise InputError("--tune searches what --from and --paper fix: leave them out")
        args.out.mkdir(parents=True, exist_ok=True)
        journal = args.out / "tuning.journal"
        return tune(images, args.tune, journal, **preset, seed=args.seed, **values)
    if start is not None and fronts.learns(start.front):
        preset = {"network": start.kind, "power": start.power, **preset}
        values = {
            "levels": fronts.settings(start.front)["front"]["levels"],
            "patch": getattr(start, "patch", ""),
            "n_memories": start.n_memories, **values,
        }  # fmt: skip
    if args.paper is False and (start is None or fronts.learns(start.front)):
        power = preset.pop("power", None)
        return fit_recipe(images, power, **preset, seed=args.seed, **values)
    preset = {"epochs": COMMAND_EPOCHS, **preset}
    front: nn.Module | None = None
    if start is not None:
        preset = {"network": start.kind, "power": start.power, **preset}
        values = {"n_memories": start.n_memories, **values}
        front = None if isinstance(start.front, nn.Identity) else start.front
    recipe = Recipe.paper(seed=args.seed, **preset)
    front = front_of(recipe.replace(**values), images) if front is None else front
    return recipe.for_data(images, front).replace(**values)


def run(args: argparse.Namespace) -> int:
    """Train, evaluate, and say where the model is."""
    images = remembered(dataset_of(args), args)
    if args.hold_out is not None:
        images = images.hold_out(args.hold_out)
    start = None if args.start is None else load_any(args.start)
    front: nn.Module | None = None
    if start is not None and not isinstance(start.front, nn.Identity):
        front = start.front
    recipe = recipe_of(args, images.train, start)
    if recipe.initial != "normal" and stderr.is_terminal:
        stderr.print(_found(recipe), soft_wrap=True)
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
    return _report(result, images, args) if mesh.first else 0


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
            front=front, start=start, progress=False,
        )  # fmt: skip
    except LostRankError as error:
        raise LostRankError(
            f"rank {mesh.rank} of {mesh.size}: {error}; the same command goes on from the last "
            f"epoch in {args.out}, on as many processes as there are then"
        ) from error


def _found(recipe: Recipe) -> str:
    """Return a line with the values that were found from the data."""
    front = "" if recipe.front == "none" else f", front {recipe.front}"
    return (
        f"found from the data: temperature {recipe.temperature:g}, first steps of "
        f"{recipe.learning_rate:g}, {recipe.n_memories} memories, {recipe.epochs} epochs in "
        f"batches of {recipe.per_class} for each class{front}"
    )


def _report(result: TrainResult, images: data.Dataset, args: argparse.Namespace) -> int:
    """Say how good the network is, and where; return the exit code."""
    evaluation = evaluate(result.model, images.test)
    seconds = sum(record.seconds for record in result.records)
    constant, least = constant_answer(images.test)
    chance = images.test.n_classes > 1 and evaluation.error >= least
    if args.json:
        print_json(
            {
                "out": str(result.out),
                "recipe": result.recipe.to_json(),
                "train": result.records[-1].to_json() if result.records else None,
                "test" if args.hold_out is None else "held_out": evaluation.to_json(),
                "seconds": seconds,
                **({} if result.recipe.keep == "last" else {"kept_epoch": result.kept_epoch}),
            }
        )
        return _CHANCE if chance else 0
    low, high = evaluation.error_interval
    wrong = round(evaluation.error * evaluation.n_images)
    what = "test" if args.hold_out is None else "held-out"
    stdout.print(
        f"{what} error {percent(evaluation.error)} ({wrong} of {evaluation.n_images}; "
        f"95 % interval {100 * low:.2f} to {100 * high:.2f}) "
        f"after {len(result.records)} epochs, {seconds:.0f} s"
    )
    if result.recipe.initial != "normal":
        stdout.print(_found(result.recipe))
    if result.recipe.keep != "last" and result.kept_epoch is not None:
        least = result.records[result.kept_epoch].held_out_error or 0.0
        how = "attacked" if result.recipe.keep == "best-attacked" else "clean"
        stdout.print(
            f"kept epoch {result.kept_epoch + 1}: error {percent(least)} on {how} images held out"
        )
    for line in _mended(result.records):
        stdout.print(line)
    again = command_line("evaluate", args.out)
    stdout.print(f"model in {args.out}; look closer with: {again}", soft_wrap=True)
    if not chance:
        return 0
    stdout.print(
        f"no better than always answering {constant!r}, which is wrong for {percent(least)}: "
        f"{_remedy(result.recipe, args)}"
    )
    return _CHANCE


def _mended(records: Sequence[EpochRecord]) -> Iterator[str]:
    """Yield lines that say what training changed by itself."""
    changed = [record for record in records if record.logit_scale is not None]
    if changed:
        yield (
            f"mended: outputs had saturated, so from epoch {changed[0].epoch + 1} on it learned by "
            f"the cross-entropy of log-energies (--objective cross-entropy --logit-scale "
            f"{changed[0].logit_scale:g})"
        )
    if records and records[-1].step_factor is not None:
        yield (
            f"mended: numbers left their range, so steps are {records[-1].step_factor:g} of what "
            "the recipe says"
        )


def _remedy(recipe: Recipe, args: argparse.Namespace) -> str:
    """Return which values to change after a run that has learned nothing."""
    options = {flag.name: f"--{flag.option}" for flag in _OVERRIDES}
    fixed = [options[name] for name in typed(args, _OVERRIDES) if name in _SCALES]
    if fixed:
        return f"leave out {', '.join(fixed)}, and values are found from the data"
    return (
        f"try --learning-rate {recipe.learning_rate / 4:.2g}, --epochs {4 * recipe.epochs}, "
        f"--n-memories {2 * recipe.n_memories}, another --power, or --tune 60"
    )
