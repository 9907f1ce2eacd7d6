"""The fast kernels for processors: C for the powers, a library for the matrix products.

`cpu_kernels.c` says how the loops are laid out. Here they are loaded and called; the C library is
handed the thread pool that PyTorch has already started, and as many threads as PyTorch may use.
"""

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from denseam.kernels.interface import Sums, field_shifts
from denseam.kernels.products import PRODUCTS, default_product

_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}


class CpuKernel:
    """See ``interface.Kernel``. float32 and float64, on the CPU.

    ``product`` names the float32 matrix product; by default the one for this processor.
    """

    name = "cpu"

    def __init__(self, product: str | None = None) -> None:
        if library() is None:
            raise RuntimeError("the C kernels of denseam are not installed")
        self._product = product

    @property
    def product(self) -> str:
        """The name of the matrix product in use for float32."""
        if self._product is None:
            self._product = default_product()
        return self._product

    def _multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """(m, k), (n, k) -> (m, n): a @ b.T."""
        name = self.product if a.dtype is torch.float32 else "torch"
        return PRODUCTS[name](a, b)

    def overlaps(self, visible: Tensor, visible_memories: Tensor) -> Tensor:
        return self._multiply(visible_memories, visible)

    def to_memories(self, weights: Tensor, visible: Tensor) -> Tensor:
        return self._multiply(weights, visible.T)

    def to_images(self, weights: Tensor, visible_memories: Tensor) -> Tensor:
        return self._multiply(weights.T, visible_memories.T)

    def sums(
        self, overlaps: Tensor, class_memories: Tensor, power: float, *, every_class: bool
    ) -> Sums:
        shifts, (K, B), C = field_shifts(class_memories), overlaps.shape, class_memories.shape[1]
        overlaps = overlaps.contiguous()
        values = _empty_tiles(overlaps, C + 1)
        scale = torch.empty_like(values)
        _call("sums", overlaps, shifts, K, B, C, float(power), int(every_class), scale, values)
        rows = C + 1 if every_class else 1
        return Sums(_from_tiles(values, B), _from_tiles(scale[:, :rows], B))

    def weights(
        self,
        overlaps: Tensor,
        class_memories: Tensor,
        coefficients: Tensor,
        scale: Tensor,
        exponent: float,
        *,
        class_gradient: bool,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        shifts, (K, B), C = field_shifts(class_memories), overlaps.shape, class_memories.shape[1]
        overlaps = overlaps.contiguous()
        half_inverse = torch.where(scale > 0, 0.5 / scale, torch.zeros_like(scale))
        half_inverse = _to_tiles(half_inverse.expand(C + 1, B))
        weights = torch.empty_like(overlaps) if out is None else out
        to_classes = overlaps.new_empty(K, C) if class_gradient else None
        _call("weights", overlaps, shifts, K, B, C, float(exponent), half_inverse,
              _to_tiles(coefficients), weights, to_classes)  # fmt: skip
        return weights, to_classes

    def update(
        self,
        memories: Tensor,
        velocity: Tensor,
        gradient: Tensor,
        *,
        momentum: float,
        gradient_scale: float,
        learning_rate: float,
        floor: float,
    ) -> None:
        K, components = memories.shape
        _call("update", memories, velocity, gradient, K, components, float(momentum),
              float(gradient_scale), float(learning_rate), float(floor))  # fmt: skip


# ---- the C library ---------------------------------------------------------------------------


@cache
def library() -> ctypes.CDLL | None:
    """The compiled loops, or None where the package was installed without a C compiler."""
    found = [
        p for p in sorted(Path(__file__).parent.glob("_cpu*")) if p.suffix in (".so", ".dylib")
    ]
    if not found:
        return None
    library = ctypes.CDLL(str(found[0]))
    for suffix in _SUFFIX.values():
        getattr(library, f"denseam_tile_{suffix}").restype = ctypes.c_int64
    return library


@cache
def _shared_pool() -> ctypes.c_void_p | None:
    """GOMP_parallel of the OpenMP runtime in this process, or None: then C starts threads."""
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p)
    except AttributeError:
        return None


def _call(operation: str, first: Tensor, *arguments: Tensor | float | None) -> None:
    """Call a C function: tensors go as pointers, and must be contiguous and of one dtype."""
    function = getattr(library(), f"denseam_{operation}_{_SUFFIX[first.dtype]}")
    converted = [_convert(argument, first.dtype) for argument in (first, *arguments)]
    if function(*converted, _shared_pool(), ctypes.c_int(torch.get_num_threads())) != 0:
        raise MemoryError(f"no memory left for the working space of denseam's {operation!r} kernel")


def _convert(
    value: Tensor | float | None, dtype: torch.dtype
) -> ctypes.c_void_p | ctypes.c_int64 | ctypes.c_double | None:
    match value:
        case Tensor():
            if not value.is_contiguous() or value.dtype is not dtype or value.device.type != "cpu":
                raise TypeError(
                    f"kernel argument {tuple(value.shape)}, {value.dtype} on {value.device}: "
                    f"wanted contiguous {dtype} on the CPU"
                )
            return ctypes.c_void_p(value.data_ptr())
        case int():
            return ctypes.c_int64(value)
        case float():
            return ctypes.c_double(value)
        case None:
            return None


def _tile(dtype: torch.dtype) -> int:
    width: int = getattr(library(), f"denseam_tile_{_SUFFIX[dtype]}")()
    return width


def _empty_tiles(like: Tensor, rows: int) -> Tensor:
    """Room for (rows, B) in the layout of the C code, (tiles, rows, width)."""
    width = _tile(like.dtype)
    return like.new_empty(-(-like.shape[1] // width), rows, width)


def _to_tiles(x: Tensor) -> Tensor:
    """(rows, B) -> (tiles, rows, width), padded with zeros."""
    width = _tile(x.dtype)
    padded = torch.nn.functional.pad(x, (0, -x.shape[1] % width))
    return padded.reshape(x.shape[0], -1, width).transpose(0, 1).contiguous()


def _from_tiles(x: Tensor, n_images: int) -> Tensor:
    """(tiles, rows, width) -> (rows, B)."""
    return x.transpose(0, 1).reshape(x.shape[1], -1)[:, :n_images].contiguous()
