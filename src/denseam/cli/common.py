"""What all commands share: options, several processes, ways to print."""

import argparse
import contextlib
import csv
import io
import json
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from denseam import data, mesh
from denseam.checks import whole
from denseam.classifier import check_device
from denseam.cli.console import foreign, percent, stderr, stdout
from denseam.data import Dataset, Examples, ImageSet
from denseam.data.assembly import Kind
from denseam.data.pixels import Scale
from denseam.errors import DenseAMError, InputError
from denseam.mesh import Mesh

__all__ = [
    "add_dataset",
    "add_images",
    "add_model",
    "add_own_dataset",
    "add_part",
    "add_preparation",
    "add_reading",
    "check_count",
    "check_file",
    "command_line",
    "dataset_of",
    "foreign",
    "images_of",
    "job",
    "load_examples",
    "percent",
    "print_errors",
    "print_json",
    "rows_text",
    "same_data",
    "say_error",
    "say_next",
    "stderr",
    "stdout",
]

_REASONS = 10  # lines of errors

# ---- options -------------------------------------------------------------------------------------


def add_model(parser: argparse.ArgumentParser, name: str = "model", **more: Any) -> None:
    """Add the argument that names a model, as ``pretrained.load_any`` takes it."""
    text = "a name like mnist-n30, a model file, or the folder of a finished run"
    parser.add_argument(name, metavar="MODEL", help=text, **more)


def add_dataset(
    parser: argparse.ArgumentParser,
    *,
    default: str | None = "mnist",
    text: str = "name or path, see `denseam data`",
    short: bool = True,
) -> None:
    """Add the options that name a data set, and say how to read one by path.

    Args:
        parser: of the command.
        default: the data set that is taken when none is named.
        text: help for ``--dataset``.
        short: whether the column of labels is also ``--label``.
    """
    parser.add_argument("--dataset", default=default, help=text)
    add_reading(parser, short=short)


def add_reading(parser: argparse.ArgumentParser, *, short: bool = True) -> None:
    """Add the options that say how a data set is read; ``short``: columns are also ``--label``."""
    parser.add_argument(
        "--scale", choices=get_args(Scale),
        help="units of pixels of a --dataset by path: [-1, 1], [0, 1], 0 to 255 (default: found "
        "from the training pixels)",
    )  # fmt: skip
    parser.add_argument(
        *(["--label"] if short else []), "--label-column", metavar="COLUMN", dest="label_column",
        help="of the labels in a table (default: label, target, class, ..., else the last)",
    )  # fmt: skip
    parser.add_argument(
        "--kind", choices=get_args(Kind),
        help="what rows of numbers are (default: pictures where they look like it)",
    )  # fmt: skip


def add_own_dataset(parser: argparse.ArgumentParser, *, short: bool = True) -> None:
    """Add the same, for a command on a model: by default what that was trained on; see ``own``."""
    text = "name or path, see `denseam data` (default: what MODEL was trained on)"
    add_dataset(parser, default=None, text=text, short=short)


def add_part(parser: argparse.ArgumentParser) -> None:
    """Add the option that picks the training or the test images of a data set."""
    parser.add_argument("--part", choices=["test", "train"], default="test", help="(default: test)")


def add_preparation(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how pictures become inputs."""
    parser.add_argument(
        "--invert", action=argparse.BooleanOptionalAction, default=None,
        help="pictures are dark on light, or none is (default: seen from each border)",
    )  # fmt: skip
    parser.add_argument(
        "--centre", action=argparse.BooleanOptionalAction, default=None,
        help="ink is centred as in MNIST (default: where the model was trained on such)",
    )  # fmt: skip


def add_images(parser: argparse.ArgumentParser, *, count: int) -> None:
    """Add the options that pick the images to start from, by default a model's own; see ``own``."""
    add_own_dataset(parser)
    add_part(parser)
    parser.add_argument(
        "--count", type=int, default=count, help="the first so many (default: %(default)s)"
    )


LARGEST_SCAN = 1024
"""Most pixels of a side of pictures that are prepared for a model: they are all in memory."""


def images_of(args: argparse.Namespace, n_inputs: int | None = None) -> Examples:
    """Return the part of a data set that was asked for, or the whole of a saved set.

    The rest is as in ``parts_of``.
    """
    parts = parts_of(args, n_inputs)
    chosen: Examples = parts if isinstance(parts, Examples) else getattr(parts, args.part)
    return chosen


def parts_of(args: argparse.Namespace, n_inputs: int | None = None) -> Dataset | Examples:
    """Return both parts of the data set that was asked for, or a saved set.

    Pictures of a folder that are no images of ``n_inputs`` pixels are read as large as they are.

    One set of another source is split as ``dataset_of`` does, so that its part "test" is what
    `denseam train` has not seen.
    """
    examples = _loaded(args, n_inputs)
    saved = isinstance(examples, Examples) and _is_saved(examples)
    return examples if saved else _split(examples)


def dataset_of(args: argparse.Namespace) -> Dataset:
    """Return the data set that was asked for; one set is split, a fifth to test on."""
    return _split(_loaded(args))


def load_examples(args: argparse.Namespace, name: str, **more: Any) -> Dataset | Examples:
    """Load a data set by name or path, as the options of ``add_reading`` say."""
    return data.load(name, scale=args.scale, label=args.label_column, kind=args.kind, **more)


def _loaded(args: argparse.Namespace, n_inputs: int | None = None) -> Dataset | Examples:
    """Load what ``--dataset`` names, and say what was taken for what."""
    name = args.dataset or "mnist"
    examples = load_examples(args, name)
    first = examples.train if isinstance(examples, Dataset) else examples
    if is_folder_of_others(args, first, n_inputs):
        examples = load_examples(args, name, largest=LARGEST_SCAN)
    for note in first.metadata.get("notes", ()):
        _note(f"{args.dataset}: {note}")
    return examples


def is_folder_of_others(args: argparse.Namespace, first: Examples, n_inputs: int | None) -> bool:
    """Return whether examples are pictures of a folder, and no images of ``n_inputs`` pixels."""
    other = n_inputs not in (None, first.n_inputs)
    return other and isinstance(first, ImageSet) and Path(args.dataset or "").is_dir()


def _split(examples: Dataset | Examples) -> Dataset:
    if isinstance(examples, Dataset):
        return examples
    split = examples.split()
    _note(
        f"{examples.name}: {len(split.test)} of {len(examples)} examples are drawn to test on, of "
        "each class its share; the draw is always the same"
    )
    return split


def _is_saved(examples: Examples) -> bool:
    """Return whether a set comes from its own file, and not from a source that is to be split."""
    return "reader" not in examples.metadata or "split" in examples.metadata


def _note(text: str) -> None:
    """Say on the standard error how data are read."""
    stderr.print(foreign(text), soft_wrap=True)


def check_count(count: int | None) -> int | None:
    """Return a ``--count`` that slices and databases take; None, for all, as it is."""
    return None if count is None else whole("count", count, 1, 2**31 - 1)


def check_file(path: Path | None, *suffixes: str) -> None:
    """Check before any work that a file can be written: its suffix, and that its folder exists.

    Raises:
        InputError: for another suffix, or a folder that does not exist.
    """
    if path is None:
        return
    if suffixes and path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: wanted a {' or '.join(suffixes)} file")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: no such folder {path.absolute().parent}")


# ---- several processes ---------------------------------------------------------------------------


@contextlib.contextmanager
def job(command: str, device: str, memory_ranks: int = 1) -> Iterator[Mesh]:
    """Start the processes of a command, as `torchrun` has made them; one of them reports errors."""
    check_device(device)
    with mesh.start(memory_ranks, device) as processes:
        try:
            yield processes
        except DenseAMError as error:
            if processes.size == 1:
                raise
            # Here, while the others wait for it: torchrun ends them all as soon as one has ended.
            if processes.speaks():
                stderr.quiet = False
                say_error(command, error)
            raise SystemExit(2) from error


# ---- printing ------------------------------------------------------------------------------------


def print_json(value: Any) -> None:
    """Print one JSON value on the standard output."""
    if not stdout.quiet:
        sys.stdout.write(json.dumps(value, indent=2, allow_nan=False) + "\n")


def rows_text(suffix: str, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Return rows as the text of a .csv file with these columns, or of a .jsonl file."""
    if suffix == ".jsonl":
        return "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode(errors="backslashreplace").decode()  # names that are no UTF-8


def print_errors(what: str, errors: Sequence[str]) -> None:
    """Print how many rows have an error, and the first of these."""
    if errors:
        stdout.print(f"{len(errors)} {what}:")
    for error in errors[:_REASONS]:
        stdout.print(foreign(f"  {error}"))
    if len(errors) > _REASONS:
        stdout.print(f"  ... and {len(errors) - _REASONS} more")


def command_line(*words: object) -> str:
    """Return a command of denseam, to be pasted into a shell; paths never look like options."""
    texts = [
        f"./{word}" if isinstance(word, Path) and f"{word}"[0] == "-" else word for word in words
    ]
    return shlex.join(["denseam", *map(str, texts)])


def say_next(*words: object) -> None:
    """Print a command to go on with, as its last line."""
    stdout.print(f"next: {command_line(*words)}", soft_wrap=True)


def same_data(args: argparse.Namespace) -> list[str]:
    """Return the options of a command line that say on what data it worked, for the next one."""
    words = list[str]()
    for name in ("dataset", "scale", "label_column", "kind", "part"):
        value = getattr(args, name, None)
        if value is not None and (name, value) != ("part", "test"):
            words += [f"--{name.replace('_', '-')}", value]
    return words


def say_error(command: str, error: DenseAMError) -> None:
    """Print one line that says what went wrong."""
    stderr.print(f"denseam {command}: {error}")
