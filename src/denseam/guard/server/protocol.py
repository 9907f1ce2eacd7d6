"""The Open Inference Protocol, version 2, with JSON tensors and the binary tensor extension.

    https://github.com/kserve/open-inference-protocol

A request has one input, ``images``: FP32 in [0, 1] or UINT8, of shape [B, H, W], [B, 1, H, W] or
[B, N], N = H W. Its data are JSON numbers, flat or nested, row by row; or, with the extension,
little-endian bytes after the JSON. NaN is no JSON: it can only come as bytes.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NoReturn

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denseam.guard.server.refusals import RefusedError

__all__ = ["BINARY", "InferRequest", "Input", "Output", "decode"]

BINARY = "inference-header-content-length"
"""The header that says how many bytes of a body are JSON; what follows are tensors."""

_TYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1")}
_MOST = float(np.finfo(np.float32).max)
_TEXT = 128  # characters of anything that a client calls something

Scalar = str | float | int | bool | None


class Input(msgspec.Struct):
    """A tensor that is sent."""

    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw = msgspec.Raw()
    parameters: dict[str, Scalar] = {}


class Output(msgspec.Struct):
    """A tensor that is asked for."""

    name: str
    parameters: dict[str, Scalar] = {}


class InferRequest(msgspec.Struct):
    """The JSON of an inference."""

    inputs: list[Input]
    id: str | None = None
    outputs: list[Output] | None = None
    parameters: dict[str, Scalar] = {}

    @property
    def source(self) -> str | None:
        """Who sent it, in the client's own words: the parameter ``source``."""
        return self.text("source", self.parameters.get("source"))

    def text(self, what: str, value: Scalar) -> str | None:
        """A client's own words, short enough and printable.

        Raises:
            RefusedError: 400 when they are not.
        """
        fine = isinstance(value, str) and len(value) <= _TEXT and value.isprintable()
        if value is not None and not fine:
            _bad(f"{what}: wanted at most {_TEXT} printable characters")
        return None if value is None else str(value)

    def binary(self, output: str) -> bool:
        """Whether an output is wanted as bytes."""
        for asked in self.outputs or ():
            if asked.name == output and "binary_data" in asked.parameters:
                return asked.parameters["binary_data"] is True
        return self.parameters.get("binary_data_output") is True


_request = msgspec.json.Decoder(InferRequest)


def decode(
    body: bytes, header: str | None, n_visible: int, shape: tuple[int, int] | None
) -> tuple[InferRequest, Tensor]:
    """The request of a body, and its images.

    Args:
        body: the whole body.
        header: the value of the header ``BINARY``, where there is one.
        n_visible: N.
        shape: (H, W) of an image; None where any with H W = N will do.

    Returns:
        The request, and images (B, H, W), uint8 or float32 in [0, 1]; values are not checked.

    Raises:
        RefusedError: 400 for anything else.
    """
    length = len(body) if header is None else _length(header, len(body))
    try:
        request = _request.decode(memoryview(body)[:length])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        _bad(f"the body is not the JSON of an inference request: {error}")
    request.text("id", request.id)
    if [tensor.name for tensor in request.inputs] != ["images"]:
        _bad('inputs: wanted one tensor, named "images"')
    (tensor,) = request.inputs
    pixels = _pixels(tensor, memoryview(body)[length:])
    height, width = _size(tensor.shape, n_visible, shape)
    return request, torch.from_numpy(pixels).reshape(-1, height, width)


def _pixels(tensor: Input, rest: memoryview) -> NDArray[Any]:
    """The data of a tensor, (B * N,)."""
    if tensor.datatype not in _TYPES:
        _bad(f"datatype {tensor.datatype[:20]!r}: wanted {' or '.join(_TYPES)}")
    dtype, size = _TYPES[tensor.datatype], tensor.parameters.get("binary_data_size")
    if size is None:
        if len(rest):
            _bad(f"{len(rest)} bytes after the JSON: wanted binary_data_size to say of what")
        found = _numbers(tensor, dtype)
    else:
        if size != len(rest) or len(rest) % dtype.itemsize or bytes(tensor.data):
            _bad(f"binary_data_size = {size}, no data: got {len(rest)} bytes after the JSON")
        found = np.frombuffer(rest, dtype).copy()  # torch wants to be able to write
    if any(n < 0 for n in tensor.shape) or len(found) != math.prod(tensor.shape):
        _bad(f"shape {tensor.shape[:8]}: got {len(found)} numbers")
    return found


def _numbers(tensor: Input, dtype: np.dtype[Any]) -> NDArray[Any]:
    text = bytes(tensor.data)
    start = text[:64].translate(None, b" \t\r\n")
    depth = len(start) - len(start.lstrip(b"["))
    integers = tensor.datatype == "UINT8"
    try:
        values = _decoder(min(depth, 5), integers)(text)
        for _ in range(depth - 1):
            values = [value for row in values for value in row]
        found = np.array(values, np.int64 if integers else np.float64)
    except (msgspec.MsgspecError, RecursionError, OverflowError) as error:
        _bad(f"data: wanted {'whole ' if integers else ''}numbers, flat or nested: {error}")
    if integers:
        if len(found) and not (found.min() >= 0 and found.max() <= 255):
            _bad(f"data: UINT8 is 0 to 255, got {found.min()} to {found.max()}")
        return found.astype(dtype)
    # A number beyond float32 is out of range, not infinite.
    return found.clip(-_MOST, _MOST).astype(dtype)


@cache
def _decoder(depth: int, integers: bool) -> Callable[[bytes], Any]:
    kind: Any = int if integers else float
    for _ in range(max(depth, 1)):
        kind = list[kind]
    return msgspec.json.Decoder(kind).decode


def _size(given: list[int], n_visible: int, shape: tuple[int, int] | None) -> tuple[int, int]:
    """(H, W) of a tensor's images."""
    height, width = shape or (1, n_visible)
    match given:
        case [count, n] if n == n_visible:
            pass
        case [count, h, w] | [count, 1, h, w] if (h, w) == shape or (
            shape is None and h * w == n_visible
        ):
            height, width = h, w
        case _:
            some = f"[B, {height}, {width}], [B, 1, {height}, {width}] or " if shape else ""
            _bad(f"shape {given[:8]}: wanted {some}[B, {n_visible}]")
    if count < 1:
        _bad(f"shape {given}: wanted at least one image")
    return height, width


def _length(header: str, most: int) -> int:
    if not (header.isascii() and header.isdecimal() and len(header) < 12 and int(header) <= most):
        _bad(f"{BINARY}: wanted a number of bytes up to {most}")
    return int(header)


def _bad(message: str) -> NoReturn:
    raise RefusedError(400, "bad_request", message)
