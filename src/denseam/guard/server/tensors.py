"""The images of a request: as many numbers as its shape says, and no others are looked at.

The event loop decodes, so no part is decoded before it is known to be no longer than it may be.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denseam.guard.server.refusals import RefusedError

__all__ = ["Input", "Scalar", "images_of", "plain", "short"]

_TYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}
_MOST = float(np.finfo(np.float32).max)
_SHORT = 16 << 10  # bytes of JSON that is no data
_ROOM = 256  # bytes of JSON of a number, indented, in brackets of its own
_NO_FRAME = bytes(set(range(256)) - set(b"[],"))
_TINY = re.compile(rb"[eE]-0*[1-9]\d\d+")

Scalar = str | float | int | bool | None


class Input(msgspec.Struct):
    """A tensor that is sent, not decoded yet."""

    name: str
    datatype: str
    shape: msgspec.Raw
    data: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()


def short(what: str, text: msgspec.Raw, kind: Any, default: Any = None) -> Any:
    """A part of a request that is no data; the default where it is not there.

    Raises:
        RefusedError: 400 when it is of another kind, or long.
    """
    if not (size := len(memoryview(text))):
        return default
    if size > _SHORT:
        raise RefusedError.bad(f"{what}: {size} bytes, wanted at most {_SHORT}")
    try:
        return _decoder(kind)(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError.bad(f"{what}: {error}") from error


def images_of(
    tensor: Input, rest: memoryview, n_visible: int, shape: tuple[int, int] | None, max_batch: int
) -> Tensor:
    """Images (B, H, W), uint8 or float32; values are not checked.

    Args:
        tensor: what is sent.
        rest: the bytes after the JSON.
        n_visible: N.
        shape: (H, W) of an image; None where any with H W = N will do.
        max_batch: the most images.

    Raises:
        RefusedError: 400 for anything else.
    """
    if tensor.datatype not in _TYPES:
        raise RefusedError.bad(f"datatype {tensor.datatype[:20]!r}: wanted {' or '.join(_TYPES)}")
    dims = _dims(short("shape", tensor.shape, list[int]), n_visible, shape)
    if dims[0] > max_batch:
        many = f"{str(dims[0])[:20]} images: wanted at most {max_batch}"
        raise RefusedError(400, "too_many", many)
    size = short("parameters", tensor.parameters, dict[str, Scalar], {}).get("binary_data_size")
    if size is not None:
        pixels = _from_bytes(tensor, rest, size, dims)
    elif len(rest):
        raise RefusedError.bad(
            f"{len(rest)} bytes after the JSON: wanted binary_data_size to say of what"
        )
    else:
        pixels = _from_json(tensor, dims)
    return torch.from_numpy(pixels).reshape(dims)


def _dims(given: list[int], n_visible: int, shape: tuple[int, int] | None) -> tuple[int, int, int]:
    """(B, H, W) of a tensor's shape."""
    height, width = shape or (1, n_visible)
    match given:
        case [count, n] if n == n_visible:
            pass
        case [count, h, w] | [count, 1, h, w] if (h, w) == shape or (
            shape is None and h * w == n_visible and h > 0
        ):
            height, width = h, w
        case _:
            some = f"[B, {height}, {width}], [B, 1, {height}, {width}] or " if shape else ""
            raise RefusedError.bad(f"shape {_cut(given)}: wanted {some}[B, {n_visible}]")
    if count < 1:
        raise RefusedError.bad(f"shape {_cut(given)}: wanted at least one image")
    return count, height, width


def _from_bytes(
    tensor: Input, rest: memoryview, size: Scalar, dims: tuple[int, int, int]
) -> NDArray[Any]:
    """(B H W,) little-endian."""
    dtype = _TYPES[tensor.datatype]
    if size != len(rest) or bytes(tensor.data):
        raise RefusedError.bad(
            f"binary_data_size = {str(size)[:20]}, no data: got {len(rest)} bytes after the JSON"
        )
    if (wanted := dims[0] * dims[1] * dims[2] * dtype.itemsize) != len(rest):
        raise RefusedError.bad(f"{len(rest)} bytes after the JSON: wanted {wanted} for the shape")
    return np.frombuffer(rest, dtype).copy()  # torch wants to be able to write


def _from_json(tensor: Input, dims: tuple[int, int, int]) -> NDArray[Any]:
    """(B H W,), flat or nested."""
    integers = tensor.datatype == "UINT8"
    text = _flat(tensor.data, dims)
    try:
        values = _decoder(list[int] if integers else list[float])(text if integers else plain(text))
        found = np.array(values, np.int64 if integers else np.float64)
    except (msgspec.MsgspecError, OverflowError) as error:
        raise RefusedError.bad(
            f"data: wanted {'whole ' if integers else ''}numbers, flat or nested: {error}"
        ) from error
    if not len(found):
        raise RefusedError.bad("data: got 0 numbers, wanted 1")
    if not integers:
        # A number beyond float32 is out of range, not infinite.
        return found.clip(-_MOST, _MOST).astype(np.float32)
    if not (found.min() >= 0 and found.max() <= 255):
        raise RefusedError.bad(f"data: UINT8 is 0 to 255, got {found.min()} to {found.max()}")
    return found.astype(np.uint8)


def _flat(data: msgspec.Raw, dims: tuple[int, int, int]) -> bytes:
    """The text of data as one list; it is JSON, and has as many places as there are numbers.

    Brackets and commas tell: without what stands between them they are those of zeros.
    """
    count, height, width = dims
    wanted = count * height * width
    if (size := len(memoryview(data))) > _ROOM * (wanted + 4):
        raise RefusedError.bad(f"data: {size} bytes for {wanted} numbers")
    text = bytes(data)
    frame = text.translate(None, _NO_FRAME)
    nestings = [(), (wanted,), (count, height * width), dims, (count, 1, height, width)]
    depth = len(frame) - len(frame.lstrip(b"["))
    if not 1 <= depth < len(nestings):
        raise RefusedError.bad("data: wanted numbers, flat or nested like the shape")
    if frame != _framing(nestings[depth]):
        found = frame.count(b",") + 1
        raise RefusedError.bad(
            f"data: {found} numbers, wanted {wanted}, flat or nested like the shape"
        )
    return text if depth == 1 else b"[" + text.translate(None, b"[]") + b"]"


def _framing(dims: tuple[int, ...]) -> bytes:
    """The brackets and commas of nested lists."""
    found = b"[" + b"," * (dims[-1] - 1) + b"]"
    for size in reversed(dims[:-1]):
        found = b"[" + b",".join([found] * size) + b"]"
    return found


def plain(text: bytes) -> bytes:
    """JSON numbers, those below 1e-99 about that: zero as float32, and slow to read as float64."""
    return _TINY.sub(b"e-99", text) if b"e-" in text or b"E-" in text else text


@cache
def _decoder(kind: Any) -> Callable[[Any], Any]:
    return msgspec.json.Decoder(kind).decode


def _cut(given: list[int]) -> str:
    return str(given[:8])[:80]
