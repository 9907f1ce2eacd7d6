"""A classifier at a URL that speaks the Open Inference Protocol (version 2, REST, JSON)."""

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from denseam.checks import number
from denseam.errors import AnswerError, EndpointError
from denseam.guard.blocks import in_batches
from denseam.guard.layout import Input, answer
from denseam.guard.members import Member

__all__ = ["Endpoint"]

_TYPES: dict[str, type[np.generic]] = {"FP32": np.float32, "FP64": np.float64, "UINT8": np.uint8}
_ANSWERS: dict[str, type[np.generic]] = {
    **_TYPES, "FP16": np.float16, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
}  # fmt: skip
KEY = "DENSEAM_ENDPOINT_KEY"
"""Variable of the key that endpoints are asked with; it is in no file and no message."""

_LIMIT = 64 * 2**20  # bytes of an answer
_CHUNK = 256  # images in a request


class Endpoint(Member):
    """``POST URL/infer``, after ``GET URL`` has said how images are wanted.

    Where the environment has ``DENSEAM_ENDPOINT_KEY``, both are asked with that key, as in
    ``Authorization: Bearer KEY``, which follows no redirection.

    Args:
        url: of the model, as http://host:8000/v2/models/NAME; ``/infer`` at its end is left out.
        timeout: seconds for an answer.
        more: as for every `Member`.

    Raises:
        EndpointError: when it does not answer, or not as the protocol says. When the guard is
            made, too: the shape of its input has to be known.
    """

    kind = "endpoint"

    def __init__(self, url: str, *, timeout: float = 10.0, **more: Any) -> None:
        self.url = url.rstrip("/").removesuffix("/infer")
        self.timeout = number("timeout", timeout, above=0, unit="seconds")
        self.input, self.datatype = self._described(self._call(self.url))
        if more.get("takes") is None:
            more["takes"] = self.input.takes
        super().__init__(**more)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "url": self.url}

    def _labels(self, visible: Tensor) -> Tensor:
        ask = super()._labels
        if self.input.batch is not None:
            return in_batches(ask, visible, self.input.batch)
        return torch.cat([ask(part) for part in torch.split(visible, _CHUNK)])

    def _ask(self, shown_images: Any) -> Any:
        images = self.input.arranged(np.asarray(shown_images))
        request = {
            "name": self.input.name,
            "shape": list(images.shape),
            "datatype": self.datatype,
            "data": images.reshape(-1).tolist(),
        }
        found = self._call(f"{self.url}/infer", {"inputs": [request]})
        try:
            return _array(answer([(each["name"], each) for each in found["outputs"]]))
        except AnswerError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise EndpointError(
                f"{self.url}: an answer without whole outputs: {error!r}"
            ) from error

    def _described(self, facts: Any) -> tuple[Input, str]:
        try:
            (given,) = facts["inputs"]
            dims = tuple(int(d) for d in given["shape"])
            datatype = str(given["datatype"])
            return Input(str(given["name"]), dims, np.dtype(_TYPES[datatype])), datatype
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
    """An output in its own datatype.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: when it is not whole, or other numbers.
    """
    found, datatype = np.asarray(output["data"]), output["datatype"]
    if datatype not in _ANSWERS or found.dtype.kind not in "biuf":
        raise TypeError(f"{datatype} {found.dtype}: wanted {', '.join(_ANSWERS)}")
    with np.errstate(all="ignore"):  # what does not fit is not equal
        made = found.astype(_ANSWERS[datatype])
    if made.dtype.kind != "f" and not np.array_equal(made, found):
        raise ValueError(f"numbers that are no {datatype}")
    return made.reshape(output["shape"])


def _said(error: urllib.error.HTTPError) -> str:
    """How the text of a refusal begins, where it comes."""
    try:
        with error:
            return _cut(error.read(1000).decode(errors="replace"))
    except (OSError, ValueError, http.client.HTTPException) as failure:
        return f"its text does not come: {failure}"


def _cut(value: Any) -> str:
    return repr(value)[:200]
