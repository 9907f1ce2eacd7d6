"""Fronts: from what users have to what memories look at.

A front is a module before the memories. It is saved with the model and restored without code from
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
    """Return what a model's file says of its front: nothing where there is none.

    Raises:
        InputError: for a module that is in no row of ``FRONTS``.
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
    """Return what a front has learned, by its names in a model's file."""
    return {f"{_PREFIX}{name}": value for name, value in front.state_dict().items()}


def restore(tensors: Mapping[str, Tensor], settings: Mapping[str, Any]) -> nn.Module | None:
    """Return the front of a model's file, or None where it has none.

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
    """Raise InputError for inputs that a front does not take; modules of users check themselves."""
    if isinstance(front, Front):
        front.check(inputs)
