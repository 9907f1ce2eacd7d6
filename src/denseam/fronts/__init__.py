"""Fronts: modules that turn inputs into ``visible``, (B, N).

A front stands before the memories. It is saved with the model and restored without code from
the file; training, prediction, attacks, guard and export pass through it. To add one: a subclass of
``Front`` in a file of its own, and its row in ``FRONTS``.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from denseam.errors import InputError
from denseam.fronts.base import Front
from denseam.fronts.pixels import Pixels
from denseam.fronts.table import Table

__all__ = ["FRONTS", "Front", "Pixels", "Table", "check_inputs", "restore", "settings", "tensors"]

FRONTS: dict[str, type[Front]] = {front.name: front for front in (Pixels, Table)}
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


def tensors(front: nn.Module) -> dict[str, Tensor]:
    """Return the buffers of a front, by their names in a model's file."""
    return {f"{_PREFIX}{name}": value for name, value in front.state_dict().items()}


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
