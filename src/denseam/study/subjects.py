"""What a study is about: models, each with a name, and the images to test them on."""

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from denseam.baselines import Binarised, ExponentialAM, PolynomialNetwork
from denseam.classifier import Classifier
from denseam.data import Dataset
from denseam.errors import FileFormatError, InputError
from denseam.evaluation import check_fit
from denseam.files import read_json
from denseam.model import DenseAM
from denseam.pretrained import (
    baseline_names,
    load_any,
    load_pretrained,
    pretrained_card,
    pretrained_names,
)
from denseam.saved import describe_model
from denseam.training import Recipe

__all__ = ["Subject", "networks_of_package", "of_models", "of_package"]

_WITH_POWER = (ExponentialAM.kind, PolynomialNetwork.kind)
"""Networks of several powers, which stands in their names."""


@dataclass(frozen=True)
class Subject:
    """A model under study."""

    name: str  # "n30": in the names of stages, rows and files
    model: Classifier  # a DenseAM, or one of the networks it is compared with
    source: str  # as a command takes it: "mnist-n30", or a path
    card: Mapping[str, Any] = field(default_factory=dict)  # how it was trained, as far as known

    @property
    def label(self) -> str:
        """For people: "n = 30", "ReLU"."""
        copy = self.name.partition("-")[2]
        return _label(self.model) + (f" ({copy})" if copy else "")

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the model computes with."""
        return hashlib.sha256(
            json.dumps(describe_model(self.model), sort_keys=True).encode()
        ).hexdigest()


def of_package(*, device: torch.device | str = "cpu") -> list[Subject]:
    """The trained memories of the package, by rising power."""
    return _named(
        [
            (load_pretrained(name, device=device), name, pretrained_card(name))
            for name in pretrained_names()
        ]
    )


def networks_of_package(*, device: torch.device | str = "cpu") -> list[Subject]:
    """The networks of the package that memories are compared with (section 7)."""
    return _named([(load_pretrained(name, device=device), name, {}) for name in baseline_names()])


def of_models(
    paths: Sequence[str | Path], images: Dataset, *, device: torch.device | str = "cpu"
) -> list[Subject]:
    """Models by name or path: memories by rising power, then other networks as they come.

    Raises:
        InputError: when there is no memory, one is nowhere, or the images do not fit one.
        DataUnavailableError, FileFormatError: as ``denseam.load``.
    """
    found = []
    for path in map(str, paths):
        model, there = load_any(path, device=device), Path(path).exists()
        card = _card_of_run(Path(path)) if there else {}
        found.append((model, path, pretrained_card(path) if path in pretrained_names() else card))
    for model, _, _ in found:
        check_fit(model, images.test)
    memories = sorted((each for each in found if _is_memory(each)), key=lambda each: each[0].power)
    if not memories:
        raise InputError("a study needs one dense associative memory at least")
    return _named([*memories, *(each for each in found if not _is_memory(each))])


def _is_memory(found: tuple[Classifier, str, Mapping[str, Any]]) -> bool:
    return isinstance(found[0], DenseAM)


def _named(found: Sequence[tuple[Classifier, str, Mapping[str, Any]]]) -> list[Subject]:
    """Called by their powers or kinds; several of one name are counted."""
    subjects: list[Subject] = []
    for model, source, card in found:
        name = _name_of(model)
        same = sum(each.name.partition("-")[0] == name for each in subjects)
        subjects.append(Subject(f"{name}-{same + 1}" if same else name, model, source, card))
    return subjects


def _label(model: Classifier) -> str:
    if isinstance(model, Binarised):
        return f"{_label(model.network)}, binarised"
    label = {"relu": "ReLU", "rbf": "RBF", "nearest": "nearest neighbour"}.get(model.kind)
    if label is None:
        label = f"n = {model.power:g}" if isinstance(model, DenseAM) else model.kind
    return f"{label}, n = {model.power:g}" if model.kind in _WITH_POWER else label


def _name_of(model: Classifier) -> str:
    if isinstance(model, DenseAM):
        return f"n{model.power:g}"
    if isinstance(model, Binarised):
        return f"{_name_of(model.network)}binarised"
    return f"{model.kind}{model.power:g}" if model.kind in _WITH_POWER else model.kind


def _card_of_run(folder: Path) -> dict[str, Any]:
    """What a run folder says of its model; empty for a model file alone."""
    facts = folder / "run.json"
    if not facts.is_file():
        return {}
    found = read_json(facts)
    recipe = found.get("recipe") if isinstance(found, Mapping) else None
    if not isinstance(recipe, Mapping):
        raise FileFormatError(f"{facts} holds no recipe: it is not of `denseam train`, or damaged")
    try:
        command = Recipe.from_json(recipe).command()
    except InputError as error:
        raise FileFormatError(f"{facts}: {error}") from error
    return {"recipe": recipe, "command": f"{command} --out {shlex.quote(str(folder))}"}
