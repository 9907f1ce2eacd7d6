"""Fronts: modules that turn inputs into ``visible``, (B, N).

A front stands before the memories. It is saved with the model and restored without code from
the file; training, prediction, attacks, guard and export pass through it. To add one: a subclass of
``Front`` in a file of its own, and its row in ``FRONTS``.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from denseam.errors import InputError
from denseam.fronts.base import Front
from denseam.fronts.convolutional import Convolutional
from denseam.fronts.pixels import Pixels
from denseam.fronts.table import Table

__all__ = [
    "FRONTS",
    "Convolutional",
    "Front",
    "Pixels",
    "Table",
    "check_inputs",
    "learns",
    "restore",
    "settings",
    "tensors",
]

FRONTS: dict[str, type[Front]] = {front.name: front for front in (Pixels, Table, Convolutional)}
"""Every front that can be saved, by its name."""

_PREFIX = "front."


def settings(front: nn.Module) -> dict[str, Any]:
    """Return the settings of a front for a model's file; empty without a front.

    Raises:
        InputError: for a module that has no row in ``FRONTS``.
    """
    if isinstance(front, nn.Identity):
        return {}
    if not isinstance(front, Front) or FRONTS.get(front.name) is not type(front):
        raise InputError(
            f"a front of type {type(front).__name__} is not saved: wanted {', '.join(FRONTS)}, or "
            "a subclass of denseam.fronts.Front with a row in denseam.fronts.FRONTS"
        )
    return {"front": {"name": front.name, **front.settings()}}


def learns(front: nn.Module) -> bool:
    """Return whether training changes a front."""
    return isinstance(front, Front) and front.learns


def tensors(front: nn.Module, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Return the tensors of a front, by their names in a model's file.

    What a front learns with the memories is in ``dtype``, as these are, unless it is None.
    """
    rounded = dtype if learns(front) else None
    return {f"{_PREFIX}{name}": x.to(rounded or x.dtype) for name, x in front.state_dict().items()}


def restore(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> nn.Module | None:
    """Return the front of a model's file, or None if it has none.

    Raises:
        InputError: for a front that this version does not know.
        KeyError, TypeError: when tensors and settings are not whole.
    """
    if "front" not in settings:
        return None
    arguments = dict(settings["front"])
    name = arguments.pop("name")
    if name not in FRONTS:
        raise InputError(f"front = {name!r}: wanted {', '.join(FRONTS)}")
    front = FRONTS[name](**arguments)
    names = (key for key in tensors if key.startswith(_PREFIX))
    try:
        front.load_state_dict({key.removeprefix(_PREFIX): tensors[key] for key in names})
    except RuntimeError as error:
        raise InputError(f"the front {name!r} is not whole: {error}") from error
    return front


def check_inputs(front: nn.Module, inputs: Tensor) -> None:
    """Raise InputError for inputs that a ``Front`` does not take; other modules check their own."""
    if isinstance(front, Front):
        front.check(inputs)
