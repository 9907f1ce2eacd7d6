"""What all commands share: options, devices, ways to print."""

import argparse
import json
import os
import sys
from typing import Any, get_args

from rich.console import Console

from denseam import data
from denseam.data import Dataset, ImageSet
from denseam.data.pixels import Scale
from denseam.errors import DenseAMError, InputError
from denseam.mesh import launched
from denseam.training.recipe import MOST_SEED

__all__ = [
    "add_command",
    "add_dataset",
    "add_images",
    "add_model",
    "add_part",
    "check_seed",
    "chosen_images",
    "dataset_of",
    "images_of",
    "percent",
    "print_json",
    "say_error",
    "stderr",
    "stdout",
]

# Of several processes one speaks; see cli/job.py.
_SILENT = os.environ.get("RANK", "0") != "0" and launched()

# Without markup: names of files, classes and sets are strangers' words. Styles are Text.
stdout = Console(highlight=False, markup=False, soft_wrap=True, quiet=_SILENT)
stderr = Console(stderr=True, highlight=False, markup=False, quiet=_SILENT)


def add_command(
    commands: Any, name: str, summary: str, description: str, examples: str
) -> argparse.ArgumentParser:
    """A subcommand with the options that every command has."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{description}",
        epilog="examples:\n" + "".join(f"  {line}\n" for line in examples.strip().splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    shared = parser.add_argument_group("everywhere")
    shared.add_argument("--json", action="store_true", help="print one JSON value, for machines")
    shared.add_argument("--seed", type=int, default=0, help="of everything random (default: 0)")
    shared.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default: cpu)")
    return parser


def check_seed(seed: int) -> None:
    """InputError unless every generator takes it."""
    if not 0 <= seed <= MOST_SEED:
        raise InputError(f"seed = {seed}: wanted a whole number >= 0 and < 2^32")


def add_model(parser: argparse.ArgumentParser, name: str = "model", **more: Any) -> None:
    """The argument that says which model; ``pretrained.load_any`` takes what is given."""
    text = "a name like mnist-n30, a model file, or the folder of a finished run"
    parser.add_argument(name, metavar="MODEL", help=text, **more)


def print_json(value: Any) -> None:
    """One JSON value on the standard output."""
    if not stdout.quiet:
        sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def say_error(command: str, error: DenseAMError) -> None:
    """One line about what went wrong."""
    stderr.print(f"denseam {command}: {error}", soft_wrap=True)


def percent(fraction: float) -> str:
    """A fraction as the paper writes it."""
    return f"{100 * fraction:.2f} %"


def add_dataset(
    parser: argparse.ArgumentParser,
    *,
    default: str | None = "mnist",
    text: str = "name or path, see `denseam data`",
) -> None:
    """The options that say which set of images, and in which units its pixels are."""
    parser.add_argument("--dataset", default=default, help=text)
    parser.add_argument(
        "--scale", choices=get_args(Scale),
        help="units of floating pixels of a --dataset by path: [-1, 1] (default), [0, 1], 0 to 255",
    )  # fmt: skip


def add_part(parser: argparse.ArgumentParser) -> None:
    """The option that says which part of a set."""
    parser.add_argument("--part", choices=["test", "train"], default="test", help="(default: test)")


def add_images(parser: argparse.ArgumentParser, *, count: int) -> None:
    """The options that say which images to start from."""
    add_dataset(parser)
    add_part(parser)
    parser.add_argument(
        "--count", type=int, default=count, help="the first so many (default: %(default)s)"
    )


def chosen_images(args: argparse.Namespace) -> ImageSet:
    """The images that were asked for.

    Raises:
        InputError: for a count below 1.
    """
    found = images_of(args)
    if args.count < 1:
        raise InputError(f"--count {args.count}: wanted at least 1")
    return found.subset(slice(args.count))


def images_of(args: argparse.Namespace) -> ImageSet:
    """The part of the data set, or the whole of the image set file, that was asked for."""
    name: str = args.dataset or "mnist"
    found = data.load(name, scale=args.scale)
    return found if isinstance(found, ImageSet) else getattr(found, args.part)


def dataset_of(args: argparse.Namespace) -> Dataset:
    """The data set that was asked for, with training and test images.

    Raises:
        InputError: for the file of a single image set.
    """
    name: str = args.dataset
    found = data.load(name, scale=args.scale)
    if isinstance(found, ImageSet):
        raise InputError(f"{name} is one set of images: wanted a data set with train and test")
    return found
