"""Images of a request, decoded as its shape says.

The event loop does this, so no part is decoded before its length is known to fit.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any

import msgspec
import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray
from torch import Tensor

from denseam.guard.server.refusals import RefusedError

_TYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}
LARGEST = float(np.finfo(np.float32).max)
"""A number beyond float32 is out of range, not infinite."""

_PART = 16 << 10  # bytes of JSON that may be in a part that holds no pixels
_ROOM = 256  # bytes of JSON for a number, with indentation and brackets of its own
_NO_FRAME = bytes(set(range(256)) - set(b"[],"))
_TINY = re.compile(rb"[eE]-0*[1-9]\d\d+")

Scalar = str | float | int | bool | None
Parameters = dict[str, Scalar]


_SHAPE = {
    "type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 4,
}  # fmt: skip
_DATA = {
    "type": ["array", "null"],
    "description": "Numbers, flat or nested, row by row; left out where they are bytes.",
}
_SIZE = {"type": ["integer", "null"], "description": "Bytes of this tensor after the JSON."}
_PARAMETERS = {
    "type": ["object", "null"], "properties": {"binary_data_size": _SIZE},
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}  # fmt: skip


class Input(msgspec.Struct):
    """A tensor that is sent; its parts are decoded later."""

    name: Annotated[str, Meta(extra_json_schema={"const": "images"})]
    datatype: Annotated[str, Meta(extra_json_schema={"enum": list(_TYPES)})]
    shape: Annotated[msgspec.Raw, Meta(extra_json_schema=_SHAPE)]
    data: Annotated[msgspec.Raw, Meta(extra_json_schema=_DATA)] = msgspec.field(
        default_factory=msgspec.Raw
    )
    parameters: Annotated[msgspec.Raw, Meta(extra_json_schema=_PARAMETERS)] = msgspec.field(
        default_factory=msgspec.Raw
    )


def decode_part(name: str, text: msgspec.Raw, kind: Any) -> Any:
    """Decode a part of a request that holds no pixels; return None where it is not there.

    Raises:
        RefusedError: 400 when it is of another kind, or too long.
    """
    if not (size := len(memoryview(text))):
        return None
    if size > _PART:
        raise RefusedError.bad(f"{name}: {size} bytes, wanted at most {_PART}")
    try:
        return _decoder(kind)(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError.bad(f"{name}: {error}") from error


def images_of(
    tensor: Input, rest: memoryview, n_visible: int, shape: tuple[int, int] | None, max_batch: int
) -> Tensor:
    """Return images (B, H, W), uint8 or float32; their values are not checked.

    Args:
        tensor: from the JSON.
        rest: the bytes after the JSON.
        n_visible: N.
        shape: (H, W) of an image; None allows any with H W = N.
        max_batch: the largest B that is allowed.

    Raises:
        RefusedError: 400 for anything else.
    """
    if tensor.datatype not in _TYPES:
        raise RefusedError.bad(f"datatype {tensor.datatype[:20]!r}: wanted {' or '.join(_TYPES)}")
    dims = dims_of(decode_part("shape", tensor.shape, list[int]), n_visible, shape)
    if dims[0] > max_batch:
        many = f"{str(dims[0])[:20]} images: wanted at most {max_batch}"
        raise RefusedError(400, "too_many", many)
    parameters = decode_part("parameters", tensor.parameters, Parameters | None) or {}
    if (data := bytes(tensor.data)) == b"null":
        data = b""
    if (size := parameters.get("binary_data_size")) is not None:
        pixels = _from_bytes(rest, _TYPES[tensor.datatype], dims, size, data)
    elif len(rest):
        raise RefusedError.bad(
            f"{len(rest)} bytes after the JSON: wanted binary_data_size to say of what"
        )
    else:
        pixels = _from_json(data, tensor.datatype == "UINT8", dims)
    return torch.from_numpy(pixels).reshape(dims)


def dims_of(
    sizes: list[int], n_visible: int, shape: tuple[int, int] | None
) -> tuple[int, int, int]:
    """Return (B, H, W) of a tensor's shape.

    Raises:
        RefusedError: 400 for another shape.
    """
    height, width = shape or (1, n_visible)
    match sizes:
        case [count, n] if n == n_visible:
            pass
        case [count, h, w] | [count, 1, h, w] if (h, w) == shape or (
            shape is None and h * w == n_visible and h > 0
        ):
            height, width = h, w
        case _:
            images = f"[B, {height}, {width}], [B, 1, {height}, {width}] or " if shape else ""
            raise RefusedError.bad(f"shape {_cut(sizes)}: wanted {images}[B, {n_visible}]")
    if count < 1:
        raise RefusedError.bad(f"shape {_cut(sizes)}: wanted at least one image")
    return count, height, width


def _from_bytes(
    rest: memoryview, dtype: np.dtype[Any], dims: tuple[int, int, int], size: Scalar, data: bytes
) -> NDArray[Any]:
    """Return (B H W,) from little-endian bytes."""
    if size != len(rest) or data:
        raise RefusedError.bad(
            f"binary_data_size = {str(size)[:20]}, no data: got {len(rest)} bytes after the JSON"
        )
    if (needed := dims[0] * dims[1] * dims[2] * dtype.itemsize) != len(rest):
        raise RefusedError.bad(f"{len(rest)} bytes after the JSON: wanted {needed} for the shape")
    return np.frombuffer(rest, dtype).copy()  # torch wants to be able to write


def _from_json(data: bytes, integers: bool, dims: tuple[int, int, int]) -> NDArray[Any]:
    """Return (B H W,) from numbers that are flat or nested."""
    text = _flat(data, dims)
    try:
        numbers = _decoder(list[int] if integers else list[float])(
            text if integers else plain(text)
        )
        values = np.array(numbers, np.int64 if integers else np.float64)
    except (msgspec.MsgspecError, OverflowError) as error:
        raise RefusedError.bad(
            f"data: wanted {'whole ' if integers else ''}numbers, flat or nested: {error}"
        ) from error
    if not len(values):
        raise RefusedError.bad("data: got 0 numbers, wanted 1")
    if not integers:
        return values.clip(-LARGEST, LARGEST).astype(np.float32)
    if not (values.min() >= 0 and values.max() <= 255):
        raise RefusedError.bad(f"data: UINT8 is 0 to 255, got {values.min()} to {values.max()}")
    return values.astype(np.uint8)


def _flat(data: bytes, dims: tuple[int, int, int]) -> bytes:
    """Return nested data as the text of one list with as many places as the shape has numbers.

    Brackets and commas are enough to compare: they have to be those of nested zeros.
    """
    count, height, width = dims
    total = count * height * width
    if len(data) > _ROOM * (total + 4):
        raise RefusedError.bad(f"data: {len(data)} bytes for {total} numbers")
    frame = data.translate(None, _NO_FRAME)
    nestings = [(), (total,), (count, height * width), dims, (count, 1, height, width)]
    depth = len(frame) - len(frame.lstrip(b"["))
    if not 1 <= depth < len(nestings):
        raise RefusedError.bad("data: wanted numbers, flat or nested like the shape")
    if frame != _framing(nestings[depth]):
        numbers = frame.count(b",") + 1
        raise RefusedError.bad(
            f"data: {numbers} numbers, wanted {total}, flat or nested like the shape"
        )
    return data if depth == 1 else b"[" + data.translate(None, b"[]") + b"]"


def _framing(dims: tuple[int, ...]) -> bytes:
    """Return the brackets and commas of nested lists."""
    text = b"[" + b"," * (dims[-1] - 1) + b"]"
    for size in reversed(dims[:-1]):
        text = b"[" + b",".join([text] * size) + b"]"
    return text


def plain(text: bytes) -> bytes:
    """Return JSON numbers with those below 1e-99 set to about that.

    They are zero as float32, and slow to read as float64.
    """
    return _TINY.sub(b"e-99", text) if b"e-" in text or b"E-" in text else text


@cache
def _decoder(kind: Any) -> Callable[[Any], Any]:
    return msgspec.json.Decoder(kind).decode


def _cut(sizes: list[int]) -> str:
    return str(sizes[:8])[:80]
