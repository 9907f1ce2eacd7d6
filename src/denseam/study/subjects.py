"""Models under study, each with a name, its source and how it was trained."""

import hashlib
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from denseam.checks import numbers
from denseam.classifier import Classifier
from denseam.data import Dataset
from denseam.errors import FileFormatError, InputError
from denseam.evaluation import check_fit
from denseam.files import read_json
from denseam.mesh import Mesh
from denseam.pretrained import (
    baseline_names,
    load_any,
    load_pretrained,
    pretrained_card,
    pretrained_names,
)
from denseam.saved import describe_model
from denseam.training import Callback, Recipe, train

_Loaded = tuple[Classifier, str, Mapping[str, Any]]  # a model, its source and its card


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
        return self.model.words[1] + (f" ({copy})" if copy else "")

    @property
    def digest(self) -> str:
        """SHA-256 of everything that the model computes with."""
        return hashlib.sha256(
            json.dumps(describe_model(self.model), sort_keys=True).encode()
        ).hexdigest()


def of_package(*, device: torch.device | str = "cpu") -> list[Subject]:
    """Load the trained memories of the package, by rising power."""
    return _named(
        [
            (load_pretrained(name, device=device), name, pretrained_card(name))
            for name in pretrained_names()
        ]
    )


def networks_of_package(*, device: torch.device | str = "cpu") -> list[Subject]:
    """Load the networks of the package to compare memories with (section 7)."""
    return _named([(load_pretrained(name, device=device), name, {}) for name in baseline_names()])


def of_models(
    paths: Sequence[str | Path], images: Dataset, *, device: torch.device | str = "cpu"
) -> list[Subject]:
    """Load models by name or path: memories by rising power, then other networks in order.

    Raises:
        InputError: when there is no memory, a model is missing, or the images do not fit one.
        DataUnavailableError, FileFormatError: as ``denseam.load``.
    """
    memories: list[_Loaded] = []
    others: list[_Loaded] = []
    for path in map(str, paths):
        model = load_any(path, device=device)
        check_fit(model, images.test)
        if path in pretrained_names():
            card = pretrained_card(path)
        else:
            card = _card_of_run(Path(path)) if Path(path).exists() else {}
        (memories if model.has_energy else others).append((model, path, card))
    if not memories:
        raise InputError("a study needs one dense associative memory at least")
    return _named([*sorted(memories, key=lambda each: each[0].power), *others])


def _named(models: Sequence[_Loaded]) -> list[Subject]:
    """Name models by their powers or kinds, and number several of one name."""
    subjects: list[Subject] = []
    for model, source, card in models:
        name, _ = model.words
        same = sum(each.name.partition("-")[0] == name for each in subjects)
        subjects.append(Subject(f"{name}-{same + 1}" if same else name, model, source, card))
    return subjects


def _card_of_run(folder: Path) -> dict[str, Any]:
    """Return what a run folder says of its model; nothing for a model file alone."""
    facts = folder / "run.json"
    if not facts.is_file():
        return {}
    run = read_json(facts)
    recipe = run.get("recipe") if isinstance(run, Mapping) else None
    if not isinstance(recipe, Mapping):
        raise FileFormatError(f"{facts} holds no recipe: it is not of `denseam train`, or damaged")
    try:
        command = Recipe.from_json(recipe).command()
    except InputError as error:
        raise FileFormatError(f"{facts}: {error}") from error
    return {"recipe": recipe, "command": f"{command} --out {shlex.quote(str(folder))}"}


def train_models(
    powers: Sequence[float],
    images: Dataset,
    out: Path,
    *,
    epochs: int,
    seed: int = 0,
    products: str = "full",
    device: torch.device | str = "cpu",
    callbacks: Callable[[], Sequence[Callback]] = tuple,
    mesh: Mesh | None = None,
) -> list[Subject]:
    """Train a model of each power with the presets in ``out/n2``, ``out/n3``, ...; resumable.

    Args:
        powers: n of each model, all different.
        images: what to train on.
        out: folder of the run folders.
        epochs: of each training.
        seed: of each training.
        products: see ``Recipe``.
        device: where to train.
        callbacks: called for each training, returns its callbacks.
        mesh: processes that share each training, see ``denseam.train``.

    Raises:
        InputError: for powers that are not all different.
        RunFolderError, SaveError: as ``denseam.train``.
    """
    powers = numbers("powers", powers)
    if len(set(powers)) < len(powers):
        raise InputError(f"powers = {powers}: wanted different ones")
    folders = []
    for power in powers:
        recipe = Recipe.paper(power, epochs, seed=seed, products=products).for_data(images.train)
        folders.append(out / f"n{power:g}")
        train(
            recipe, images, folders[-1], callbacks=callbacks(), device=device, mesh=mesh,
            progress=False,
        )  # fmt: skip
    return of_models(folders, images, device=device)
