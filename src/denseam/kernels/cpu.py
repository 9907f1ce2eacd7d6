"""The fast kernels for processors: C for the powers, a library for the matrix products.

`cpu_kernels.c` says how the loops are laid out. Here they are loaded and called; the C library is
handed the thread pool that PyTorch has already started, and as many threads as PyTorch may use.
"""

import ctypes
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from denseam.kernels.interface import Outcome, Sums
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
        (K, B), C = overlaps.shape, class_memories.shape[1]
        overlaps, classes = overlaps.contiguous(), _whole_rows(class_memories)
        values = overlaps.new_empty(C + 1, B)
        scale = overlaps.new_empty(C + 1 if every_class else 1, B)
        _call("sums", overlaps, *_rows(classes, overlaps.dtype), K, B, C, float(power),
              int(every_class), scale, values)  # fmt: skip
        return Sums(values, scale)

    def objective(
        self, sums: Sums, labels: Tensor, power: float, temperature: float, loss_power: float
    ) -> tuple[Tensor, Outcome]:
        (rows, B), labels = sums.values.shape, labels.contiguous()
        activity = torch.empty(B, rows - 1, dtype=torch.float64)
        objective, predicted = torch.empty(B, dtype=torch.float64), torch.empty_like(labels)
        coefficients = torch.empty_like(sums.values)
        _call("objective", sums.values, sums.scale, _pointer(labels, torch.int64), B, rows - 1,
              float(power), float(temperature), float(loss_power),
              _pointer(activity, torch.float64), _pointer(predicted, torch.int64),
              _pointer(objective, torch.float64), coefficients)  # fmt: skip
        return coefficients, Outcome(activity, predicted, objective.sum())

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
        (K, B), C = overlaps.shape, class_memories.shape[1]
        overlaps, classes = overlaps.contiguous(), _whole_rows(class_memories)
        weights = torch.empty_like(overlaps) if out is None else out
        to_classes = overlaps.new_empty(K, C) if class_gradient else None
        _call("weights", overlaps, *_rows(classes, overlaps.dtype), K, B, C, float(exponent),
              scale.contiguous(), len(scale), coefficients.contiguous(), weights,
              to_classes)  # fmt: skip
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


def _whole_rows(x: Tensor) -> Tensor:
    """A matrix whose rows are contiguous, at any distance: column slices are not copied."""
    return x if x.stride(1) == 1 else x.contiguous()


# ---- the C library ---------------------------------------------------------------------------


@cache
def library() -> ctypes.CDLL | None:
    """The compiled loops, or None where the package was installed without a C compiler."""
    found = [
        p for p in sorted(Path(__file__).parent.glob("_cpu*")) if p.suffix in (".so", ".dylib")
    ]
    if not found:
        return None
    return ctypes.CDLL(str(found[0]))


@cache
def _shared_pool() -> ctypes.c_void_p | None:
    """GOMP_parallel of the OpenMP runtime in this process, or None: then C starts threads."""
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p)
    except AttributeError:
        return None


def _call(
    operation: str, first: Tensor, *arguments: Tensor | ctypes.c_void_p | float | None
) -> None:
    """Call a C function: tensors go as pointers, and must be contiguous and of one dtype."""
    function = getattr(library(), f"denseam_{operation}_{_SUFFIX[first.dtype]}")
    converted = [_convert(argument, first.dtype) for argument in (first, *arguments)]
    if function(*converted, _shared_pool(), ctypes.c_int(torch.get_num_threads())) != 0:
        raise MemoryError(f"no memory left for the working space of denseam's {operation!r} kernel")


def _convert(
    value: Tensor | ctypes.c_void_p | float | None, dtype: torch.dtype
) -> ctypes.c_void_p | ctypes.c_int64 | ctypes.c_double | None:
    match value:
        case Tensor():
            return _pointer(value, dtype)
        case int():
            return ctypes.c_int64(value)
        case float():
            return ctypes.c_double(value)
        case _:
            return value


def _pointer(value: Tensor, dtype: torch.dtype) -> ctypes.c_void_p:
    if not value.is_contiguous() or value.dtype is not dtype or value.device.type != "cpu":
        raise TypeError(
            f"kernel argument {tuple(value.shape)}, {value.dtype} on {value.device}: "
            f"wanted contiguous {dtype} on the CPU"
        )
    return ctypes.c_void_p(value.data_ptr())


def _rows(value: Tensor, dtype: torch.dtype) -> tuple[ctypes.c_void_p, int]:
    """Where a matrix of whole rows begins, and how far apart they are."""
    return _pointer(value[:1], dtype), value.stride(0)
