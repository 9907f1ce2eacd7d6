"""What is known of each image of a set: tensors whose first axis counts the images."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from denseam.data.arrays import to_tensor
from denseam.errors import InputError

__all__ = ["check_facts", "to_facts"]

_TAKEN = ("images", "labels")


def to_facts(facts: Mapping[str, object] | None) -> dict[str, Tensor]:
    """Facts as tensors, from arrays or tensors; whether they fit the images is checked later.

    Raises:
        InputError: when one of them is no array of numbers.
    """
    facts = {} if facts is None else facts
    _check_mapping(facts)
    return {name: to_tensor(value, f"fact {name!r}") for name, value in facts.items()}


def check_facts(facts: Mapping[str, Tensor], count: int) -> None:
    """Refuse facts that are not named tensors with ``count`` rows.

    Args:
        facts: by name, (count, ...) bool, integer or floating. NaN is fine: a margin that does
            not exist.
        count: M, the number of images that the facts belong to.

    Raises:
        InputError: on a wrong name, type or shape.
    """
    _check_mapping(facts)
    for name, value in facts.items():
        _check_name(name)
        if not isinstance(value, Tensor):
            raise InputError(f"fact {name!r} must be a torch.Tensor, got {type(value).__name__}")
        if value.is_complex() or value.is_quantized or value.layout is not torch.strided:
            raise InputError(
                f"fact {name!r} must be dense and bool, integer or floating, got {value.dtype} "
                f"({value.layout})"
            )
        if value.ndim == 0 or len(value) != count:
            raise InputError(
                f"fact {name!r} must have shape ({count},) or ({count}, ...), "
                f"got {tuple(value.shape)}"
            )


def _check_mapping(facts: object) -> None:
    if not isinstance(facts, Mapping):
        raise InputError(f"facts must map names to tensors, got {type(facts).__name__}")


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name:
        raise InputError(f"the name of a fact must be a non-empty string, got {name!r}")
    # Names of facts become names in a file: UTF-8 without lone surrogates, in a zip file.
    if any(c in "\0/" or "\ud800" <= c <= "\udfff" for c in name):
        raise InputError(f"the name of a fact must hold no NUL, '/' or surrogate, got {name!r}")
    if name in _TAKEN:
        raise InputError(f"no fact may be called {name!r}: the set itself has that")
