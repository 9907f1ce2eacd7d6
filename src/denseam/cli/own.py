"""The data set that a model was trained on: what commands work on unless told otherwise."""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from denseam.classifier import Classifier
from denseam.cli.common import (
    check_count,
    foreign,
    is_folder_of_others,
    parts_of,
    say_next,
    stderr,
)
from denseam.data import Dataset, Examples, ImageSet
from denseam.data.imageset import only_pictures
from denseam.data.registry import KNOWN
from denseam.errors import InputError
from denseam.files import read_json, there_is
from denseam.fronts.preparing import preparation_of, prepared

__all__ = [
    "OwnData",
    "chosen_for",
    "examples_for",
    "own_data",
    "reading_of",
    "remembered",
    "say_evaluate",
]

_ANY = ("images", "features")  # names of sets that have got none
_READING = ("scale", "label_column", "kind")  # options that say how a data set is read


@dataclass(frozen=True)
class OwnData:
    """The data set that a model was trained on, as its run folder or its file says."""

    name: str  # of the training set, like "digits.csv train"
    dataset: str | None  # what --dataset takes; None where the model does not say where it is
    reading: Mapping[str, Any]  # the options of ``_READING``
    class_names: tuple[str, ...]  # C; empty where the model does not say
    digest: str | None = None  # of the training part as a whole, where the model says

    def is_of(self, examples: Examples) -> bool:
        """Return whether examples come from this data set."""
        name = _origin(examples)
        return name in (None, *_ANY) or _stem(str(name)) == _stem(self.name)


def remembered(images: Dataset, args: argparse.Namespace) -> Dataset:
    """Return the data of a training command with a note of where they are, for its run folder."""
    parts, read = (images.train, images.test), reading_of(args)
    if read["dataset"] not in KNOWN:  # those are checked when they are read
        read["digest"] = images.train.digest()
    train, test = (each.renamed(each.name, read=read) for each in parts)
    return Dataset(images.name, train, test)


def reading_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return where a data set is and how it is read, to be read again from any folder."""
    name: str = args.dataset
    read = {"dataset": name if name in KNOWN else str(Path(name).absolute())}
    return read | {key: v for key in _READING if (v := getattr(args, key, None)) is not None}


def own_data(source: str, model: object) -> OwnData | None:
    """Return the data set of a model, None where nothing says which it was.

    Args:
        source: what the command line calls the model.
        model: the same, loaded.

    Raises:
        FileFormatError: for a ``run.json`` that is no JSON.
    """
    if hasattr(model, "calibrated_on"):
        return _of_guard(model.calibrated_on)
    trained_on = model.trained_on if isinstance(model, Classifier) else None
    names = () if trained_on is None else trained_on.class_names
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    if there_is(path) and (folder / "run.json").exists():
        facts = read_json(folder / "run.json").get("data", {})
        read = dict(facts.get("read") or {})
        name = str(facts.get("name", ""))
        dataset, digest = (read.pop(key, None) for key in ("dataset", "digest"))
        return OwnData(name, dataset or _known(name), read, names, digest)
    if trained_on is None:
        return None
    return OwnData(trained_on.data, _known(trained_on.data), {}, names)


def say_evaluate(source: str, model: object) -> None:
    """Name the command that evaluates a model; the list of data sets where its own is unknown."""
    learned = own_data(source, model)
    known = learned is not None and learned.dataset is not None
    say_next("evaluate", source) if known else say_next("data")


def _of_guard(clean: Any) -> OwnData | None:
    """Return the data that a guard was calibrated on, by its ``CalibratedOn``."""
    if clean is None:
        return None
    read = dict(clean.read or {})
    return OwnData(clean.name, read.pop("dataset", None) or _known(clean.name), read, ())


def examples_for(args: argparse.Namespace, models: Mapping[str, object]) -> Examples:
    """Return the examples of a command: of ``--dataset``, or of what its models were trained on.

    Models that were trained on another data set are named in a warning.

    Args:
        args: the command line.
        models: by what the command line calls them. Models of others say nothing.

    Raises:
        InputError: where the data set has to be named: it has moved, the models do not say where it
            is, or they were trained on different ones.
    """
    owned = {source: own for source, model in models.items() if (own := own_data(source, model))}
    args = argparse.Namespace(**vars(args))
    if args.dataset is None:
        _fill_in(args, owned)
    examples, train = _as_inputs(args, models)
    examples = examples.renamed(examples.name, read=reading_of(args))
    for source, own in owned.items():
        _warn(source, own, examples, train)
    return examples


def _as_inputs(
    args: argparse.Namespace, models: Mapping[str, object]
) -> tuple[Examples, Examples | None]:
    """Return the examples that were asked for; pictures of a folder as inputs of the first model.

    They are prepared as `denseam predict` and `denseam guard check` prepare them. Beside them the
    training part as it was read, where there is one that was read as for training.
    """
    model: Any = next(iter(models.values()), None)
    shape = getattr(model, "image_shape", None)  # of a guard
    n_inputs = getattr(model, "n_inputs", None) if shape is None else math.prod(shape)
    parts = parts_of(args, n_inputs)
    examples = parts if isinstance(parts, Examples) else getattr(parts, args.part)
    if not is_folder_of_others(args, examples, n_inputs):
        return examples, parts.train if isinstance(parts, Dataset) else None
    options = {key: getattr(args, key, None) for key in ("invert", "centre")}
    prepare = preparation_of(model, **options) if shape is None else model.preparation(**options)
    return prepared(only_pictures(examples, "preparing"), prepare), None


def chosen_for(args: argparse.Namespace, models: Mapping[str, object]) -> ImageSet:
    """Return the first ``--count`` images of ``examples_for``.

    Raises:
        InputError: as there, for rows of numbers, and for a count below 1.
    """
    images = only_pictures(examples_for(args, models), f"denseam {args.command}")
    return images.subset(slice(check_count(args.count)))


def _fill_in(args: argparse.Namespace, owned: Mapping[str, OwnData]) -> None:
    """Set the options that name a data set to that of the models."""
    sets = {own.dataset or own.name: (source, own) for source, own in owned.items()}
    if len(sets) > 1:
        listed = ", ".join(f"{source} on {own.name}" for source, own in sets.values())
        raise InputError(f"the models were trained on different data ({listed}): say --dataset")
    args.dataset = "mnist"
    for source, own in sets.values():
        if own.dataset is None:
            raise InputError(
                f"{source} was trained on {own.name!r} and does not say where that is: say "
                "--dataset"
            )
        if own.dataset not in KNOWN and not there_is(own.dataset):
            raise InputError(
                f"{source} was trained on {own.dataset}, which is not there any more: say where "
                "it is with --dataset"
            )
        args.dataset = own.dataset
        for key, value in own.reading.items():
            if key in _READING and getattr(args, key, None) is None:
                setattr(args, key, value)


def _warn(source: str, own: OwnData, examples: Examples, train: Examples | None) -> None:
    """Say where a model was trained on something else."""
    text = ""
    if not own.is_of(examples):
        text = f"{source} was trained on {own.name}, and these are {examples.name}"
    elif own.digest and train is not None and train.digest() != own.digest:
        text = (
            f"{source} was trained on {own.name} as it was then: the training part has changed "
            "since, and what is now the test part may have been trained on"
        )
    elif own.class_names and own.class_names[: examples.n_classes] != examples.class_names:
        text = (
            f"{source} was trained on classes {_listed(own.class_names)}, and these are "
            f"{_listed(examples.class_names)}: they are compared in this order"
        )
    if text:
        stderr.print(foreign(f"warning: {text}"), soft_wrap=True)


def _origin(examples: Examples) -> str | None:
    """Return the name of the set that examples were made from; None where they are of no set."""
    facts = examples.metadata
    if "made_by" not in facts:
        return examples.name
    made_of = facts.get("images")
    return str(made_of["name"]) if isinstance(made_of, Mapping) and "name" in made_of else None


def _stem(name: str) -> str:
    """Return the name of a data set by that of one of its sets, which may be a file's."""
    return Path(name.removesuffix(" train").removesuffix(" test")).stem


def _known(name: str) -> str | None:
    return stem if (stem := _stem(name)) in KNOWN else None


def _listed(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
