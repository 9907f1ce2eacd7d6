"""What a study is about: models, each with a name, and the images to test them on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from denseam.classifier import Classifier
from denseam.data import Dataset
from denseam.descent.facts import describe_model
from denseam.errors import InputError
from denseam.evaluation import check_fit
from denseam.files import read_json
from denseam.pretrained import load_any, load_pretrained, pretrained_card, pretrained_names
from denseam.training import Recipe

__all__ = ["Subject", "of_models", "of_package"]


@dataclass(frozen=True)
class Subject:
    """A model under study."""

    name: str  # "n30": in the names of stages, rows and files
    model: Classifier
    source: str  # as a command takes it: "mnist-n30", or a path
    card: Mapping[str, Any] = field(default_factory=dict)  # how it was trained, as far as known

    @property
    def label(self) -> str:
        """For people: "n = 30"."""
        number, _, copy = self.name.removeprefix("n").partition("-")
        return f"n = {number}" + (f" ({copy})" if copy else "")

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the model computes with."""
        return hashlib.sha256(
            json.dumps(describe_model(self.model), sort_keys=True).encode()
        ).hexdigest()


def of_package(*, device: torch.device | str = "cpu") -> list[Subject]:
    """The trained models of the package, by rising power."""
    return _named(
        [
            (load_pretrained(name, device=device), name, pretrained_card(name))
            for name in pretrained_names()
        ]
    )


def of_models(
    paths: Sequence[str | Path], images: Dataset, *, device: torch.device | str = "cpu"
) -> list[Subject]:
    """Models by name or path, by rising power.

    Raises:
        InputError: when there is none, one is nowhere, or the images do not fit one.
        DataUnavailableError, FileFormatError: as ``denseam.load``.
    """
    if not paths:
        raise InputError("a study needs one model at least")
    found = []
    for path in map(str, paths):
        model, there = load_any(path, device=device), Path(path).exists()
        found.append((model, path, _card_of_run(Path(path)) if there else pretrained_card(path)))
    for model, _, _ in found:
        check_fit(model, images.test)
    return _named(sorted(found, key=lambda each: each[0].power))


def _named(found: Sequence[tuple[Classifier, str, Mapping[str, Any]]]) -> list[Subject]:
    """Called by their powers; several of one power are counted."""
    subjects: list[Subject] = []
    for model, source, card in found:
        name = f"n{model.power:g}"
        same = sum(each.name.partition("-")[0] == name for each in subjects)
        subjects.append(Subject(f"{name}-{same + 1}" if same else name, model, source, card))
    return subjects


def _card_of_run(folder: Path) -> dict[str, Any]:
    """What a run folder says of its model; empty for a model file alone."""
    facts = folder / "run.json"
    if not facts.is_file():
        return {}
    recipe = read_json(facts)["recipe"]
    return {"recipe": recipe, "command": f"{Recipe(**recipe).command()} --out {folder}"}
