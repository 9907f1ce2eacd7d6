"""The Open Inference Protocol, version 2, with JSON tensors and the binary tensor extension.

    https://github.com/kserve/open-inference-protocol

A request has one input, ``images``: FP32 in [0, 1] or UINT8, of shape [B, H, W], [B, 1, H, W] or
[B, N], N = H W. Its data are JSON numbers, flat or nested, row by row; or, with the extension,
little-endian bytes after the JSON. NaN is no JSON: it can only come as bytes. An optional member
may be null.
"""

from typing import Annotated, get_type_hints

import msgspec
from msgspec import Meta
from torch import Tensor

from denseam.guard.server.refusals import RefusedError
from denseam.guard.server.tensors import Input, Parameters, decode_part, images_of

BINARY = "inference-header-content-length"
"""The header that says how many bytes of a body are JSON; what follows are tensors."""

OUTPUTS = {
    "label": "INT64", "accepted": "BOOL", "score": "FP64", "p_value": "FP64",
    "detector_label": "INT64", "classifier_label": "INT64", "reason": "BYTES",
    "quarantine_id": "BYTES",
}  # fmt: skip
"""Each has the shape [B]. A score that is infinite is null in JSON, which has no infinity; a reason
is "" where there is none, and so is the id of an image that is not in the quarantine."""

_LONGEST = 128  # characters of an id or a source
_Text = Annotated[str, Meta(max_length=_LONGEST)]
_SOURCE = {
    "type": ["string", "null"],
    "maxLength": _LONGEST,
    "description": "Who sends it, for the quarantine.",
}
OutputName = Annotated[str, Meta(extra_json_schema={"enum": list(OUTPUTS)})]


class Output(msgspec.Struct):
    """A tensor that a client asks for."""

    name: OutputName
    parameters: Parameters | None = None


class Question(msgspec.Struct, kw_only=True):
    """A request without its images, checked: nothing of it is refused later."""

    id: _Text | None = None
    outputs: Annotated[list[Output], Meta(max_length=len(OUTPUTS))] | None = None
    parameters: (
        Annotated[Parameters, Meta(extra_json_schema={"properties": {"source": _SOURCE}})] | None
    ) = None

    @property
    def source(self) -> str | None:
        """Return the parameter ``source``: the client's name for itself."""
        source = (self.parameters or {}).get("source")
        return source if isinstance(source, str) else None

    def binary(self, name: str) -> bool:
        """Return whether an output is to be sent as bytes."""
        for output in self.outputs or ():
            if output.name == name and "binary_data" in (output.parameters or {}):
                return (output.parameters or {})["binary_data"] is True
        return (self.parameters or {}).get("binary_data_output") is True


class InferRequest(Question, kw_only=True):
    """A question about images, as the API describes it."""

    inputs: Annotated[list[Input], Meta(min_length=1, max_length=1)]


class _Body(msgspec.Struct):
    """The JSON of an inference with parts that are not decoded yet."""

    inputs: tuple[Input]
    id: msgspec.Raw = msgspec.Raw()
    outputs: msgspec.Raw = msgspec.Raw()
    parameters: msgspec.Raw = msgspec.Raw()


_decode_body = msgspec.json.Decoder(_Body).decode
_PARTS = get_type_hints(Question, include_extras=True)


def decode(
    body: bytes,
    header: str | None,
    n_visible: int,
    shape: tuple[int, int] | None,
    *,
    max_batch: int = 256,
) -> tuple[Question, Tensor]:
    """Return the question of a body, and its images.

    Args:
        body: the whole body.
        header: the value of the header ``BINARY``, where there is one.
        n_visible: N.
        shape: (H, W) of an image; None allows any with H W = N.
        max_batch: the largest B that is allowed.

    Returns:
        The question, and images (B, H, W), uint8 or float32 in [0, 1]; values are not checked.

    Raises:
        RefusedError: 400 for anything else.
    """
    length = len(body) if header is None else _length(header, len(body))
    try:
        parts = _decode_body(memoryview(body)[:length])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError.bad(
            f"the body is not the JSON of an inference request: {error}"
        ) from error
    (tensor,) = parts.inputs
    if tensor.name != "images":
        raise RefusedError.bad('inputs: wanted one tensor, named "images"')
    question = _question(parts)
    return question, images_of(tensor, memoryview(body)[length:], n_visible, shape, max_batch)


def _question(body: _Body) -> Question:
    question = Question(
        **{name: decode_part(name, getattr(body, name), kind) for name, kind in _PARTS.items()}
    )
    source = (question.parameters or {}).get("source")
    for name, text in (("id", question.id), ("source", source)):
        fine = isinstance(text, str) and len(text) <= _LONGEST and text.isprintable()
        if text is not None and not fine:
            raise RefusedError.bad(f"{name}: wanted at most {_LONGEST} printable characters")
    names = [output.name for output in question.outputs or ()]
    if unknown := [name for name in names if name not in OUTPUTS]:
        raise RefusedError.bad(f"outputs {unknown[0][:64]!r}: wanted {list(OUTPUTS)}")
    if len(set(names)) < len(names):
        raise RefusedError.bad("outputs: wanted each once")
    return question


def _length(header: str, most: int) -> int:
    if not (header.isascii() and header.isdecimal() and len(header) < 12 and int(header) <= most):
        raise RefusedError.bad(f"{BINARY}: wanted a number of bytes up to {most}")
    return int(header)
