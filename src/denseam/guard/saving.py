"""The file of a guard: facts and tensors in safetensors, neither of them damaged unnoticed."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseam.errors import DataUnavailableError, DenseAMError, FileFormatError, SaveError
from denseam.files import load_tensors, save_tensors

FILE = "guard.safetensors"
_KIND, _SUM = "guard", "description_sha256"


@dataclass(frozen=True)
class Saved:
    """What a file holds of a guard.

    Attributes:
        file: where it is.
        facts: plain JSON values.
        tensors: by names like "detector.memories".
        device: where networks of denseam are to live.
    """

    file: Path
    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    device: torch.device

    def inside(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of one part of the guard, under their own names."""
        start = f"{name}."
        return {k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)}

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Turn whatever is missing or of another type into a ``FileFormatError``."""
        try:
            yield
        except DenseAMError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FileFormatError(f"{self.file} is not a whole guard: {error!r}") from error


def place(path: Path) -> Path:
    """Return the file of a guard: the path itself, or ``guard.safetensors`` in that folder."""
    return path if path.suffix == ".safetensors" else path / FILE


def write(path: Path, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write a guard, atomically; see ``Guard.save``."""
    file = place(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"{file.parent} cannot be made: {error.strerror or error}") from error
    # Copies: safetensors refuses tensors that share memory, and both members may be one network.
    copies = {name: value.clone() for name, value in tensors.items()}
    save_tensors(file, _KIND, copies, {"guard": dict(facts), _SUM: _sum(facts)})


def read(path: Path, device: torch.device) -> Saved:
    """Read a guard's file; see ``Guard.load``."""
    file = place(path)
    if not file.exists():
        raise DataUnavailableError(f"there is no guard {file}")
    tensors, outside = load_tensors(file, _KIND)
    facts = outside.get("guard")
    if not isinstance(facts, dict) or outside.get(_SUM) != _sum(facts):
        raise FileFormatError(f"{file}: the description in it is not the one that was written")
    return Saved(file, facts, tensors, device)


def _sum(facts: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the facts: the sum in a safetensors file is of the numbers alone."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
