"""The C library, loaded once, and calls of its functions with tensors.

The library works on PyTorch's own thread pool, with as many threads as PyTorch may use.
`cpu_loops.h`, `cpu_update.c` and `cpu_dots.c` describe it.
"""

import ctypes
import warnings
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from denseam.errors import DenseAMWarning

_SUFFIX = {torch.float32: "f32", torch.float64: "f64"}


@cache
def library() -> ctypes.CDLL | None:
    """Return the compiled library, or None if this machine cannot load one."""
    return _loaded()[0]


def knows(operation: str) -> bool:
    """Return whether the library has an operation, in float32."""
    return hasattr(library(), f"denseam_{operation}_f32")


def obstacle() -> str:
    """Return the reason why there is no library."""
    remedy = "install a wheel for this platform, or denseam where a C compiler is at hand"
    reason = _loaded()[1]
    what = f"do not load here ({reason})" if reason else "are not installed"
    return f"the C kernels {what}: {remedy}"


@cache
def warn_of_absence() -> None:
    """Warn, once, that plain PyTorch computes because there is no library."""
    warnings.warn(f"slower, in plain PyTorch: {obstacle()}", DenseAMWarning, stacklevel=4)


def _loaded() -> tuple[ctypes.CDLL | None, str]:
    """Return the first library that loads, or the reason why the last one does not."""
    reason = ""
    for path in sorted(Path(__file__).parent.glob("_cpu*")):
        if path.suffix in (".so", ".dylib"):
            try:
                return ctypes.CDLL(str(path)), ""
            except OSError as error:  # of another architecture or C library, or damaged
                reason = str(error)
    return None, reason


@cache
def _shared_pool() -> ctypes.c_void_p | None:
    """Return GOMP_parallel of this process's OpenMP runtime, or None: then C starts threads."""
    try:
        return ctypes.cast(ctypes.CDLL(None).GOMP_parallel, ctypes.c_void_p)
    except AttributeError:
        return None


def call(
    operation: str, first: Tensor, *arguments: Tensor | ctypes.c_void_p | float | None
) -> None:
    """Call a C function with tensors that are contiguous and of one dtype, as pointers.

    Raises:
        TypeError: for another tensor.
        MemoryError: when there is no memory for the working space.
    """
    dtype = first.dtype
    function = getattr(library(), f"denseam_{operation}_{_SUFFIX[dtype]}")
    if function.argtypes is None:  # faster than ctypes' guesses
        function.argtypes = [*map(_type, (first, *arguments)), ctypes.c_void_p, ctypes.c_int]
    values = [pointer(a, dtype) if isinstance(a, Tensor) else a for a in (first, *arguments)]
    if function(*values, _shared_pool(), torch.get_num_threads()) != 0:
        raise MemoryError(f"no memory left for the working space of denseam's {operation!r} kernel")


def _type(argument: Tensor | ctypes.c_void_p | float | None) -> type:
    match argument:
        case int():
            return ctypes.c_int64
        case float():
            return ctypes.c_double
        case Tensor() | ctypes.c_void_p() | None:
            return ctypes.c_void_p
        case _:
            raise TypeError(f"kernel argument of type {type(argument).__name__}")


def pointer(value: Tensor, dtype: torch.dtype) -> ctypes.c_void_p:
    """Return a pointer to the first number of a tensor.

    Raises:
        TypeError: when it is not contiguous, not of this dtype, or not on the CPU.
    """
    if not (value.is_contiguous() and value.dtype is dtype and value.is_cpu):
        raise TypeError(
            f"kernel argument {tuple(value.shape)}, {value.dtype} on {value.device}: "
            f"wanted contiguous {dtype} on the CPU"
        )
    return ctypes.c_void_p(value.data_ptr())


def rows(value: Tensor) -> tuple[Tensor, int]:
    """Return a matrix of whole rows as ``call`` takes it: the first row, and their distance."""
    return value[:1], value.stride(0)


@cache
def vector_bits() -> int:
    """Return the bits of the vectors of "dots" on this processor; 0 without the library."""
    loaded = library()
    return 0 if loaded is None else int(loaded.denseam_dots_vector_bits())
