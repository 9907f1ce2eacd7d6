"""A classifier at a URL that speaks the Open Inference Protocol (version 2, REST, JSON)."""

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from denseam.checks import number
from denseam.errors import AnswerError, EndpointError
from denseam.guard.answers import to_labels
from denseam.guard.blocks import in_turn
from denseam.guard.members.base import Member
from denseam.guard.members.layout import Input, answer
from denseam.guard.saving import Saved

_TYPES: dict[str, type[np.generic]] = {"FP32": np.float32, "FP64": np.float64, "UINT8": np.uint8}
_ANSWERS: dict[str, type[np.generic]] = {
    **_TYPES, "FP16": np.float16, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
}  # fmt: skip
KEY = "DENSEAM_ENDPOINT_KEY"
"""Environment variable of the endpoints' key, which is in no file and no message."""

_LIMIT = 64 * 2**20  # bytes of an answer
_CHUNK = 256  # images in a request


class Endpoint(Member):
    """``POST URL/infer``, after ``GET URL`` has said how images are wanted.

    Where the environment has ``DENSEAM_ENDPOINT_KEY``, both requests carry that key, as in
    ``Authorization: Bearer KEY``, which follows no redirection.

    Args:
        classifier: the URL of the model, as http://host:8000/v2/models/NAME; ``/infer`` at its end
            is left out.
        timeout: seconds for an answer.
        options: as for every `Member`.

    Raises:
        EndpointError: when it does not answer, or not as the protocol says; also when the guard is
            made, because the shape of its input has to be known.
    """

    kind = "endpoint"
    restorable: ClassVar[bool] = True

    def __init__(self, classifier: str, *, timeout: float = 10.0, **options: Any) -> None:
        self.url = classifier.rstrip("/").removesuffix("/infer")
        self.timeout = number("timeout", timeout, above=0, unit="seconds")
        self.input, self.datatype = self._described(self._call(self.url))
        self.takes = self.input.takes
        super().__init__(classifier, **options)

    @classmethod
    def serves(cls, classifier: object) -> bool:
        return isinstance(classifier, str) and classifier.startswith(("http://", "https://"))

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "url": self.url}

    @classmethod
    def restore(cls, saved: Saved) -> object:
        return saved.facts["classifier"]["url"]

    def _labels(self, images: Tensor) -> Tensor:
        starts, size = range(0, len(images), self.input.batch or _CHUNK), self.input.batch
        plan = [size or min(_CHUNK, len(images) - start) for start in starts]
        (answers,) = in_turn(self._columns, images.cpu(), plan, self._black)
        return to_labels(answers, len(images))

    def _ask(self, images: Any) -> Any:
        images = self.input.arranged(np.asarray(images))
        request = {
            "name": self.input.name,
            "shape": list(images.shape),
            "datatype": self.datatype,
            "data": images.reshape(-1).tolist(),
        }
        reply = self._call(f"{self.url}/infer", {"inputs": [request]})
        try:
            return _array(answer([(each["name"], each) for each in reply["outputs"]]))
        except AnswerError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise EndpointError(
                f"{self.url}: an answer without whole outputs: {error!r}"
            ) from error

    def _described(self, facts: Any) -> tuple[Input, str]:
        try:
            (first,) = facts["inputs"]
            dims = tuple(int(d) for d in first["shape"])
            datatype = str(first["datatype"])
            return Input(str(first["name"]), dims, np.dtype(_TYPES[datatype])), datatype
        except (KeyError, TypeError, ValueError) as error:
            raise EndpointError(
                f"{self.url}: wanted a model of one input, FP32, FP64 or UINT8, got {_cut(facts)}"
            ) from error

    def _call(self, url: str, value: Any = None) -> Any:
        body = None if value is None else json.dumps(value, allow_nan=False).encode()
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310
        if key := os.environ.get(KEY, "").strip():
            if not (key.isascii() and key.isprintable()):
                raise EndpointError(f"{KEY} holds characters that no header takes")
            request.add_unredirected_header("Authorization", f"Bearer {key}")
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as reply:  # noqa: S310
                text = reply.read(_LIMIT + 1)
        except urllib.error.HTTPError as error:
            raise EndpointError(f"{url} answered {error.code}: {_said(error)}") from error
        # Refused, no such host, timed out, not HTTP at all.
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise EndpointError(f"{url} does not answer: {reason}") from error
        if len(text) > _LIMIT:
            raise EndpointError(f"{url}: an answer of more than {_LIMIT} bytes")
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise EndpointError(f"{url}: the answer is not JSON: {_cut(text[:200])}") from error


def _array(output: Mapping[str, Any]) -> NDArray[Any]:
    """Return an output in its own datatype.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: when it is not whole, or other numbers.
    """
    data, datatype = np.asarray(output["data"]), output["datatype"]
    if datatype not in _ANSWERS or data.dtype.kind not in "biuf":
        raise TypeError(f"{datatype} {data.dtype}: wanted {', '.join(_ANSWERS)}")
    with np.errstate(all="ignore"):  # what does not fit is not equal
        numbers = data.astype(_ANSWERS[datatype])
    if numbers.dtype.kind != "f" and not np.array_equal(numbers, data):
        raise ValueError(f"numbers that are no {datatype}")
    return numbers.reshape(output["shape"])


def _said(error: urllib.error.HTTPError) -> str:
    """Return the beginning of a refusal's text, where it comes."""
    try:
        with error:
            return _cut(error.read(1000).decode(errors="replace"))
    except (OSError, ValueError, http.client.HTTPException) as failure:
        return f"its text does not come: {failure}"


def _cut(value: Any) -> str:
    return repr(value)[:200]
