"""Verdicts as tensors of the Open Inference Protocol, and what it says of a model."""

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from starlette.responses import Response

from denseam.guard import Guard, Verdicts
from denseam.guard.server.protocol import BINARY, OUTPUTS, InferRequest
from denseam.version import __version__

__all__ = ["Json", "infer_response", "metadata", "server_metadata"]

_DTYPES = {"INT64": "<i8", "BOOL": "?", "FP64": "<f8"}
_encode = msgspec.json.Encoder().encode


class Json(Response):
    """An answer in JSON; what is not finite becomes null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return _encode(content)


def infer_response(
    request: InferRequest, name: str, verdicts: Verdicts, ids: Sequence[str], *, kept: bool
) -> Response:
    """The answer to an inference.

    Args:
        request: what was asked.
        name: of the model.
        verdicts: B of them.
        ids: B ids in the quarantine, "" for an image that is not there.
        kept: whether all that was to go there did.
    """
    columns = {
        **verdicts.columns,
        "reason": [reason or "" for reason in verdicts.reasons],
        "quarantine_id": ids,
    }
    wanted = [output.name for output in request.outputs or ()] or list(OUTPUTS)
    outputs: list[dict[str, Any]] = []
    tail = b""
    for output in wanted:
        tensor = {"name": output, "datatype": OUTPUTS[output], "shape": [len(verdicts)]}
        if request.binary(output):
            data = _bytes(columns[output], OUTPUTS[output])
            outputs.append({**tensor, "parameters": {"binary_data_size": len(data)}})
            tail += data
        else:
            outputs.append({**tensor, "data": columns[output]})
    answer: dict[str, Any] = {"model_name": name, "outputs": outputs}
    if request.id is not None:
        answer["id"] = request.id
    if not kept:
        answer["parameters"] = {"quarantined": False}
    if not tail:
        return Json(answer)
    head = _encode(answer)
    headers = {BINARY: str(len(head))}
    return Response(head + tail, headers=headers, media_type="application/octet-stream")


def _bytes(column: Sequence[Any], datatype: str) -> bytes:
    if datatype == "BYTES":
        texts = [text.encode() for text in column]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array(column, _DTYPES[datatype]).tobytes()


def server_metadata(model: str) -> dict[str, Any]:
    """What ``/v2`` says; the name of its model is an addition to the protocol."""
    extensions = ["binary_tensor_data"]
    return {
        "name": "denseam", "version": __version__, "extensions": extensions, "models": [model],
    }  # fmt: skip


def metadata(guard: Guard, name: str, max_batch: int) -> dict[str, Any]:
    """What ``/v2/models/{name}`` says."""
    height, width = guard.image_shape or (1, guard.n_visible)
    return {
        "name": name,
        "platform": "denseam_guard",
        "inputs": [{"name": "images", "datatype": "FP32", "shape": [-1, height, width]}],
        "outputs": [
            {"name": output, "datatype": datatype, "shape": [-1]}
            for output, datatype in OUTPUTS.items()
        ],
        "parameters": {
            "units": "FP32 in [0, 1], or UINT8",
            "datatypes": ["FP32", "UINT8"],
            "max_batch": max_batch,
            "guard": guard.to_json(),
        },
    }
