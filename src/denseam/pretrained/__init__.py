"""Trained models that come with the package, each with a card that says how it was made.

    model = denseam.load_pretrained("mnist-n30")

Memories are stored in float16 and used in float32. A card is the JSON file beside the model: the
command and the recipe that trained it, its records, its errors before and after rounding, and what
other seeds came to. ``tools/ship.py`` writes both from run folders.
"""

import os
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch

from denseam.classifier import Classifier
from denseam.errors import InputError
from denseam.files import read_json
from denseam.model import DenseAM
from denseam.saved import load

__all__ = ["load_any", "load_pretrained", "pretrained_card", "pretrained_names"]

_FOLDER = Path(__file__).parent


@cache
def pretrained_names() -> tuple[str, ...]:
    """The names that ``load_pretrained`` knows, by rising power."""
    cards = [(read_json(path)["recipe"]["power"], path.stem) for path in _FOLDER.glob("*.json")]
    return tuple(name for _, name in sorted(cards))


def load_pretrained(name: str, *, device: torch.device | str = "cpu") -> DenseAM:
    """A trained model from the package: "mnist-n2", "mnist-n3", "mnist-n20" or "mnist-n30".

    Args:
        name: which.
        device: where its memories are to live.

    Raises:
        InputError: for another name.
    """
    return cast("DenseAM", load(_file(name, ".safetensors"), device=device))


def load_any(given: str | Path, *, device: torch.device | str = "cpu") -> Classifier:
    """The model of a file, of the folder of a finished run, or of the package; a path comes first.

    Raises:
        InputError: when it is none of them.
        DataUnavailableError, FileFormatError: as ``denseam.load``.
    """
    if os.path.exists(given):  # noqa: PTH110 (Path.exists raises where a name is too long)
        return load(given, device=device)
    names = pretrained_names()
    if given in names:
        return load_pretrained(str(given), device=device)
    *others, last = "a model file", "the folder of a finished run", *names
    raise InputError(f"no model {str(given)!r}: wanted {', '.join(others)} or {last}")


def pretrained_card(name: str) -> dict[str, Any]:
    """How a model of the package was made and what it does, as plain JSON values.

    Raises:
        InputError: for a name that ``load_pretrained`` does not know.
    """
    card: dict[str, Any] = read_json(_file(name, ".json"))
    return card


def _file(name: str, suffix: str) -> Path:
    if name not in pretrained_names():
        raise InputError(
            f"no model {name!r} in the package, it has {', '.join(pretrained_names())}"
        )
    return _FOLDER / f"{name}{suffix}"
