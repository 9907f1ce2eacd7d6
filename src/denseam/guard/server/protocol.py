"""The Open Inference Protocol, version 2, with JSON tensors and the binary tensor extension.

    https://github.com/kserve/open-inference-protocol

A request has one input, ``images``: FP32 in [0, 1] or UINT8, of shape [B, H, W], [B, 1, H, W] or
[B, N], N = H W. Its data are JSON numbers, flat or nested, row by row; or, with the extension,
little-endian bytes after the JSON. NaN is no JSON: it can only come as bytes.
"""

import msgspec
from torch import Tensor

from denseam.guard.server.refusals import RefusedError
from denseam.guard.server.tensors import Input, Scalar, images_of, short

__all__ = ["BINARY", "OUTPUTS", "InferRequest", "Output", "decode"]

BINARY = "inference-header-content-length"
"""The header that says how many bytes of a body are JSON; what follows are tensors."""

OUTPUTS = {
    "label": "INT64", "accepted": "BOOL", "score": "FP64", "p_value": "FP64",
    "detector_label": "INT64", "classifier_label": "INT64", "reason": "BYTES",
    "quarantine_id": "BYTES",
}  # fmt: skip
"""Each has the shape [B]. A score that is infinite is null in JSON, which has no infinity; a reason
is "" where there is none, and so is the id of an image that is not in the quarantine."""

_TEXT = 128  # characters of anything that a client calls something


class Output(msgspec.Struct):
    """A tensor that is asked for."""

    name: str
    parameters: dict[str, Scalar] = {}


class InferRequest(msgspec.Struct):
    """What is asked about the images, looked through: nothing of it is refused later."""

    id: str | None = None
    outputs: list[Output] | None = None
    parameters: dict[str, Scalar] = {}

    @property
    def source(self) -> str | None:
        """Who sent it, in the client's own words: the parameter ``source``."""
        given = self.parameters.get("source")
        return given if isinstance(given, str) else None

    def binary(self, output: str) -> bool:
        """Whether an output is wanted as bytes."""
        for asked in self.outputs or ():
            if asked.name == output and "binary_data" in asked.parameters:
                return asked.parameters["binary_data"] is True
        return self.parameters.get("binary_data_output") is True


class _Body(msgspec.Struct):
    """The JSON of an inference, the parts of which are not decoded yet."""

    inputs: tuple[Input]
    id: msgspec.Raw = msgspec.Raw()
    outputs: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()


_body = msgspec.json.Decoder(_Body)


def decode(
    body: bytes,
    header: str | None,
    n_visible: int,
    shape: tuple[int, int] | None,
    *,
    max_batch: int = 256,
) -> tuple[InferRequest, Tensor]:
    """The request of a body, and its images.

    Args:
        body: the whole body.
        header: the value of the header ``BINARY``, where there is one.
        n_visible: N.
        shape: (H, W) of an image; None where any with H W = N will do.
        max_batch: the most images.

    Returns:
        The request, and images (B, H, W), uint8 or float32 in [0, 1]; values are not checked.

    Raises:
        RefusedError: 400 for anything else.
    """
    length = len(body) if header is None else _length(header, len(body))
    try:
        given = _body.decode(memoryview(body)[:length])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError.bad(
            f"the body is not the JSON of an inference request: {error}"
        ) from error
    (tensor,) = given.inputs
    if tensor.name != "images":
        raise RefusedError.bad('inputs: wanted one tensor, named "images"')
    asked = _asked(given)
    return asked, images_of(tensor, memoryview(body)[length:], n_visible, shape, max_batch)


def _asked(given: _Body) -> InferRequest:
    """All but the images."""
    found = InferRequest(
        short("id", given.id, str | None),
        short("outputs", given.outputs, list[Output] | None),
        short("parameters", given.parameters, dict[str, Scalar], {}),
    )
    for what, value in (("id", found.id), ("source", found.parameters.get("source"))):
        fine = isinstance(value, str) and len(value) <= _TEXT and value.isprintable()
        if value is not None and not fine:
            raise RefusedError.bad(f"{what}: wanted at most {_TEXT} printable characters")
    names = [output.name for output in found.outputs or ()]
    if unknown := [name for name in names if name not in OUTPUTS]:
        raise RefusedError.bad(f"outputs {unknown[0][:64]!r}: wanted {list(OUTPUTS)}")
    if len(set(names)) < len(names):
        raise RefusedError.bad("outputs: wanted each once")
    return found


def _length(header: str, most: int) -> int:
    if not (header.isascii() and header.isdecimal() and len(header) < 12 and int(header) <= most):
        raise RefusedError.bad(f"{BINARY}: wanted a number of bytes up to {most}")
    return int(header)
