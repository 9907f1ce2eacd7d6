"""Answers: their forms, which the API's description is made from, and how they are put together."""

import base64
import struct
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response
from torch import Tensor

from denseam.data.pixels import to_bytes
from denseam.explanation import ClassVotes
from denseam.guard import Guard, Verdicts
from denseam.guard.samples import Samples
from denseam.guard.server.protocol import BINARY, OUTPUTS, OutputName, Question
from denseam.guard.server.quarantine.items import ItemView
from denseam.guard.server.refusals import RefusedError
from denseam.guard.server.tensors import Parameters
from denseam.model import DenseAM
from denseam.version import __version__

VERSION = "1"
"""The only version of the model that a server has: paths may name it."""

_VOTERS = 8  # memories of an explanation
_DTYPES = {"INT64": "<i8", "BOOL": "?", "FP64": "<f8"}
_True = Annotated[bool, Meta(extra_json_schema={"const": True})]
_Shape = list[Annotated[int, Meta(ge=-1)]]
_encode = msgspec.json.Encoder().encode


class Json(Response):
    """An answer in JSON; what is not finite becomes null."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return _encode(content)


class Error(msgspec.Struct):
    """A reason why there is no other answer."""

    error: str


class Live(msgspec.Struct):
    """A sign of life."""

    live: _True


class Ready(msgspec.Struct):
    """The state of the server; waiting counts items that are not in the database yet."""

    ready: _True
    quarantine: Literal["ok", "database_away", "none"]
    waiting: int


class Server(msgspec.Struct):
    """A server; the name of its model is an addition to the protocol."""

    name: str
    version: str
    extensions: list[str]
    models: list[str]


class TensorInfo(msgspec.Struct):
    """A tensor as it is described."""

    name: str
    datatype: str
    shape: _Shape


class Model(msgspec.Struct):
    """A guard as it is described."""

    name: str
    versions: list[str]
    platform: str
    inputs: Annotated[list[TensorInfo], Meta(min_length=1, max_length=1)]
    outputs: list[TensorInfo]
    parameters: dict[str, Any]


class ModelReady(msgspec.Struct):
    """A model that can infer."""

    name: str
    ready: bool


class OutputTensor(msgspec.Struct):
    """A tensor of verdicts; without data its bytes come after the JSON."""

    name: OutputName
    datatype: Annotated[str, Meta(extra_json_schema={"enum": sorted(set(OUTPUTS.values()))})]
    shape: _Shape
    data: Sequence[Any] | UnsetType = UNSET
    parameters: Parameters | UnsetType = UNSET


class InferResponse(msgspec.Struct):
    """The verdicts on images."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | UnsetType = UNSET
    parameters: Parameters | UnsetType = UNSET


class Explanation(msgspec.Struct):
    """The memories that voted for one image (H, W)."""

    active: bool
    shape: list[int]
    votes: list[dict[str, Any]]


class Items(msgspec.Struct):
    """A page of the quarantine; waiting counts items that are not in the database yet."""

    items: list[ItemView]  # type: ignore[valid-type]
    total: int
    waiting: int


def infer_response(
    question: Question, model: str, verdicts: Verdicts, ids: Sequence[str], *, kept: bool
) -> Response:
    """Return the answer to an inference.

    Args:
        question: of the client.
        model: the name of the model.
        verdicts: B of them.
        ids: B ids in the quarantine, "" for an image that is not there.
        kept: whether everything that was to go there did.
    """
    columns = {
        **verdicts.columns,
        "reason": [reason or "" for reason in verdicts.reasons],
        "quarantine_id": ids,
    }
    outputs: list[OutputTensor] = []
    tail = b""
    for name in [output.name for output in question.outputs or ()] or OUTPUTS:
        tensor = OutputTensor(name, OUTPUTS[name], [len(verdicts)])
        if question.binary(name):
            data = _bytes(columns[name], OUTPUTS[name])
            tensor.parameters = {"binary_data_size": len(data)}
            tail += data
        else:
            tensor.data = columns[name]
        outputs.append(tensor)
    answer = InferResponse(model, VERSION, outputs, UNSET if question.id is None else question.id)
    if not kept:
        answer.parameters = {"quarantined": False}
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


def server_metadata(model: str) -> Server:
    """Describe a server of one model."""
    return Server("denseam", __version__, ["binary_tensor_data"], [model])


def metadata(guard: Guard, name: str, max_batch: int) -> Model:
    """Describe a guard."""
    height, width = guard.image_shape or (1, guard.n_visible)
    return Model(
        name,
        [VERSION],
        platform="denseam_guard",
        inputs=[TensorInfo("images", "FP32", [-1, height, width])],
        outputs=[TensorInfo(output, datatype, [-1]) for output, datatype in OUTPUTS.items()],
        parameters={
            "units": "FP32 in [0, 1], or UINT8",
            "datatypes": ["FP32", "UINT8"],
            "max_batch": max_batch,
            "guard": guard.to_json(),
        },
    )


def explanation(guard: Guard, images: Tensor) -> Explanation:
    """Name the memories that make the energy of the detector's label.

    An image with pixels that no image has is shown to no memory, so none votes for it.

    Args:
        guard: whose detector is asked.
        images: (1, H, W), uint8 or float32 in [0, 1].

    Raises:
        RefusedError: 404 when the detector has no memories; 400 for another number of images.
    """
    network = getattr(guard.detector, "network", None)
    if not isinstance(network, DenseAM):
        raise RefusedError(
            404, "no_memories", "the detector of this guard has no memories that vote"
        )
    if len(images) != 1:
        raise RefusedError.bad(f"{len(images)} images: wanted one")
    shape = list(images.shape[1:])
    samples = Samples.of(images, guard.n_visible, guard.image_shape)
    if not samples.all_valid:
        return Explanation(False, shape, [])
    explained = network.explain(samples.visible.to(network.memories), _VOTERS)
    votes = [_votes(votes) for votes in (explained.predicted, explained.other) if votes is not None]
    return Explanation(explained.active, shape, votes)


def _votes(votes: ClassVotes) -> dict[str, Any]:
    grey = to_bytes(votes.visible).cpu()
    described = votes.to_json()
    for memory, pixels in zip(described["memories"], grey, strict=True):
        memory["image"] = base64.b64encode(pixels.numpy().tobytes()).decode()
    return described
