"""Stored patterns: in memory, or in a file that may be larger than memory; read in blocks."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from denseam.data.pixels import to_visible
from denseam.errors import DataUnavailableError, FileFormatError, InputError
from denseam.mesh import Axis

__all__ = ["Facts", "FilePatterns", "Patterns", "facts_of", "stacked"]

BLOCK = 16384  # memories at once: 16 MB of overlaps with 256 states, where these are held
_FLOATS = (torch.float32, torch.float64)


class Patterns:
    """K patterns of D components in memory, (K, D)."""

    axis: Axis | None = None  # of processes, each of which looks at its share in ``blocks``

    def __init__(self, rows: Tensor) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def n_components(self) -> int:
        """D."""
        return int(self._rows.shape[1])

    @property
    def dtype(self) -> torch.dtype:
        """The dtype in which blocks come."""
        return self._rows.dtype

    @property
    def device(self) -> torch.device:
        """The device on which blocks come."""
        return self._rows.device

    def block(self, start: int, stop: int) -> Tensor:
        """Return the patterns [start, stop), (stop - start, D)."""
        return self._rows[start:stop]

    def take(self, positions: Tensor) -> Tensor:
        """Return patterns by their positions, (M,) int64 -> (M, D)."""
        return self._rows[positions.to(self._rows.device)]

    def blocks(self, size: int = BLOCK, *, shared: bool = False) -> Iterator[tuple[int, Tensor]]:
        """Yield all patterns in order: the position of the first one, and a block.

        With ``shared`` only those of this process, where several share the patterns.
        """
        share = self.axis.part(len(self)) if shared and self.axis else slice(0, len(self))
        for start in range(share.start, share.stop, size):
            yield start, self.block(start, min(start + size, share.stop))

    def whole(self) -> Tensor:
        """Return all patterns in memory, (K, D)."""
        return self.block(0, len(self))


class FilePatterns(Patterns):
    """Patterns in a .npy or .safetensors file, of which only the blocks in use are read.

    Args:
        path: of the file; a two-dimensional array (K, D), floating, or uint8 pixels.
        name: of the tensor in a safetensors file; may be left out where there is one alone.

    Raises:
        DataUnavailableError: when there is no such file.
        FileFormatError: for a file of another kind, or a damaged one.
    """

    def __init__(self, path: str | os.PathLike[str], name: str | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataUnavailableError(f"there is no file {self.path}")
        try:
            self._array = _opened(self.path, name)
        except (OSError, ValueError, EOFError, SafetensorError) as error:
            raise FileFormatError(f"{self.path} holds no array of patterns: {error}") from error
        if len(self._shape) != 2:
            raise FileFormatError(f"{self.path}: shape {self._shape}, wanted (K, D)")
        read = self._array[:1]
        tensor = read if isinstance(read, Tensor) else torch.from_numpy(np.array(read))
        if tensor.dtype != torch.uint8 and not tensor.is_floating_point():
            raise FileFormatError(f"{self.path}: {tensor.dtype}, wanted floats or uint8")
        self._dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32

    @property
    def _shape(self) -> tuple[int, ...]:
        array = self._array
        return tuple(array.get_shape() if hasattr(array, "get_shape") else array.shape)

    def __len__(self) -> int:
        return self._shape[0]

    @property
    def n_components(self) -> int:
        return self._shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self._dtype

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def block(self, start: int, stop: int) -> Tensor:
        return self._floats(self._array[start:stop])

    def take(self, positions: Tensor) -> Tensor:
        rows = [self.block(int(i), int(i) + 1) for i in positions]
        return torch.cat(rows) if rows else torch.empty(0, self.n_components, dtype=self.dtype)

    def _floats(self, rows: Any) -> Tensor:
        tensor = rows if isinstance(rows, Tensor) else torch.from_numpy(np.array(rows))
        pixels = tensor.dtype == torch.uint8
        return to_visible(tensor, self.dtype) if pixels else tensor.to(self.dtype)


def _opened(path: Path, name: str | None) -> Any:
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if path.suffix != ".safetensors":
        raise ValueError("wanted a .npy or .safetensors file")
    file = safe_open(path, framework="pt")
    names = [str(name) for name in file.keys()]  # type: ignore[no-untyped-call]  # noqa: SIM118
    if name is None and len(names) != 1:
        raise ValueError(f"name one of its tensors: {', '.join(names) or 'none'}")
    if name is not None and name not in names:
        raise ValueError(f"no tensor {name!r}; there are {', '.join(names)}")
    return file.get_slice(name or names[0])  # type: ignore[no-untyped-call]


def stacked(patterns: Any) -> Tensor:
    """Return patterns as one floating tensor (K, D); pictures (K, H, W) lose their shape.

    Booleans become -1 and +1, uint8 pixels visible units in [-1, 1], other whole numbers floats.

    Raises:
        InputError: for no patterns, patterns of mixed shapes or kinds, or anything else.
    """
    if isinstance(patterns, Sequence) and not isinstance(patterns, str | bytes):
        patterns = _one_kind([torch.as_tensor(each) for each in patterns])
    try:
        rows = torch.as_tensor(patterns)
    except (TypeError, ValueError, RuntimeError) as error:
        name = type(patterns).__name__
        raise InputError(f"patterns: wanted numbers (K, D), got {name}: {error}") from error
    if rows.ndim == 0 or rows.shape[0] == 0 or rows.numel() == 0:
        raise InputError(f"patterns have shape {tuple(rows.shape)}: wanted (K, D), K and D >= 1")
    if rows.ndim == 1:
        rows = rows[None]
    rows = rows.detach().flatten(1)
    if rows.dtype == torch.bool:
        return 2 * rows.float() - 1
    if rows.dtype == torch.uint8:
        return to_visible(rows, torch.float32)
    if rows.is_complex():
        raise InputError(f"patterns are {rows.dtype}: wanted real numbers")
    return rows if rows.dtype in _FLOATS else rows.float()


def _one_kind(rows: list[Tensor]) -> Tensor:
    """Return tensors of one shape and dtype as one."""
    kinds = sorted({f"{tuple(row.shape)} {row.dtype}" for row in rows})
    if len(kinds) > 1:
        raise InputError(f"patterns of mixed kinds: {'; '.join(kinds)}; wanted one shape and dtype")
    return torch.stack(rows) if rows else torch.empty(0, 0)


@dataclass(frozen=True)
class Facts:
    """What one pass over all patterns tells."""

    n_binary: int  # patterns of which every component is -1 or +1
    first_other: int  # the first one that is not; K where there is none
    largest: float  # component, absolute
    half_squares: Tensor  # (K,) float64: |xi|^2 / 2
    mean: Tensor  # (D,) float64


def facts_of(patterns: Patterns) -> Facts:
    """Return the facts of patterns.

    Raises:
        InputError: for NaN or infinity, with the position of the pattern.
    """
    n_binary, first_other, largest = 0, len(patterns), 0.0
    halves = []
    mean = torch.zeros(patterns.n_components, dtype=torch.float64, device=patterns.device)
    for start, rows in patterns.blocks():
        halves.append(rows.double().square().sum(dim=1) / 2)
        if not bool(halves[-1].isfinite().all()):
            bad = start + int((~halves[-1].isfinite()).nonzero()[0])
            raise InputError(f"pattern {bad} holds NaN or infinity: wanted finite numbers")
        binary = (rows.abs() == 1).all(dim=1)
        n_binary += int(binary.sum())
        if first_other == len(patterns) and not bool(binary.all()):
            first_other = start + int((~binary).nonzero()[0])
        largest = max(largest, float(rows.abs().max()))
        mean += rows.sum(dim=0, dtype=torch.float64)
    return Facts(n_binary, first_other, largest, torch.cat(halves), mean / len(patterns))
