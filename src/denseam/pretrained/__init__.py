"""Trained models in the package, each with a card that says how it was trained.

    model = denseam.load_pretrained("mnist-n30")

Memories are stored in float16 and used in float32. A card is the JSON file beside the model: the
command and the recipe that trained it, its records, its errors before and after rounding, and the
errors of other seeds. ``tools/ship.py`` writes both from run folders.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from denseam import data
from denseam.baselines import NETWORKS, Binarised, NearestNeighbour, Prototypes
from denseam.classifier import Classifier, check_device
from denseam.errors import InputError
from denseam.files import read_json, there_is
from denseam.model import DenseAM
from denseam.saved import load
from denseam.spelling import nearest, suggestion
from denseam.trained_on import TrainedOn

__all__ = [
    "baseline_names",
    "certified_names",
    "convolutional_names",
    "load_any",
    "load_pretrained",
    "pretrained_card",
    "pretrained_names",
    "shipped_file",
]

_FOLDER = Path(__file__).parent
_NEAREST, _BINARISED = "mnist-nearest", "mnist-relu-binarised"
_CONVOLUTIONAL = tuple(name for name, network in NETWORKS.items() if "front" in network.usual)


def pretrained_names() -> tuple[str, ...]:
    """Return the names of the dense associative memories in the package, by rising power."""
    return tuple(name for network, _, name in _cards() if network == DenseAM.kind)


def baseline_names() -> tuple[str, ...]:
    """Return the names of the networks of section 7; the last two are made on demand."""
    others = (DenseAM.kind, Prototypes.kind, *_CONVOLUTIONAL)
    shipped = (name for network, _, name in _cards() if network not in others)
    return (*shipped, _NEAREST, _BINARISED)


def certified_names() -> tuple[str, ...]:
    """Return the names of the models trained for certificates."""
    return tuple(name for network, _, name in _cards() if network == Prototypes.kind)


def convolutional_names() -> tuple[str, ...]:
    """Return the names of the models with convolutions, and of networks to compare them with."""
    return tuple(name for network, _, name in _cards() if network in _CONVOLUTIONAL)


def _shipped() -> tuple[str, ...]:
    return (*pretrained_names(), *baseline_names(), *certified_names(), *convolutional_names())


def load_pretrained(name: str, *, device: torch.device | str = "cpu") -> Classifier:
    """Load a trained model from the package: a DenseAM, or a network to compare it with.

    Args:
        name: "mnist-n2", "mnist-n3", "mnist-n20" or "mnist-n30"; or one of
            ``denseam.pretrained.baseline_names()``, ``certified_names()`` or
            ``convolutional_names()``.
        device: of its memories.

    Raises:
        InputError: for another name.
    """
    model: Classifier
    if name == _NEAREST:
        model = NearestNeighbour.of(data.load("mnist").train).to(check_device(device))
    elif name == _BINARISED:
        model = Binarised(load_pretrained("mnist-relu", device=device))
    else:
        model = load(shipped_file(name), device=device)
    beta_sm = None if name in (_NEAREST, _BINARISED) else pretrained_card(name).get("beta_sm")
    known = model.trained_on or TrainedOn("mnist train", (28, 28), tuple("0123456789"))
    model.trained_on = replace(known, beta_sm=beta_sm)
    return model


def load_any(source: str | Path, *, device: torch.device | str = "cpu") -> Classifier:
    """Load a model from a file, the folder of a finished run, or the package, in this order.

    Raises:
        InputError: when there is none of them.
        DataUnavailableError, FileFormatError: as ``denseam.load``.
    """
    if there_is(source):
        return load(source, device=device)
    if source in _shipped():
        return load_pretrained(str(source), device=device)
    shipped = [name for *_, name in _cards()]
    if near := nearest(str(source), shipped):
        raise InputError(f"no model {str(source)!r}; did you mean {near}?")
    *others, last = "a model file", "the folder of a finished run", *shipped
    raise InputError(f"no model {str(source)!r}: wanted {', '.join(others)} or {last}")


def pretrained_card(name: str) -> dict[str, Any]:
    """Return the training and the errors of a model in the package, as plain JSON values.

    "mnist-nearest" and "mnist-relu-binarised" are made on demand, and have no card.

    Raises:
        InputError: for a name that ``load_pretrained`` does not know, or one without a card.
    """
    if name in (_NEAREST, _BINARISED):
        raise InputError(f"{name} has no card: it is made on demand")
    card: dict[str, Any] = read_json(shipped_file(name, ".json"))
    return card


def shipped_file(name: str, suffix: str = ".safetensors") -> Path:
    """Return the file of a model in the package, or with suffix ".json" its card.

    Raises:
        InputError: for another name.
    """
    if name not in (known := _shipped()):
        hint = suggestion(name, known) or f", it has {', '.join(known)}"
        raise InputError(f"no model {name!r} in the package{hint}")
    return _FOLDER / f"{name}{suffix}"


@cache
def _cards() -> tuple[tuple[str, float, str], ...]:
    """Return network, power and name of every model file, memories first, by rising power."""
    recipes = [(read_json(path)["recipe"], path.stem) for path in _FOLDER.glob("*.json")]
    cards = [(r.get("network", DenseAM.kind), r["power"], name) for r, name in recipes]
    return tuple(sorted(cards, key=lambda each: (each[0] != DenseAM.kind, *each)))
