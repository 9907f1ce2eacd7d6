"""A classifier at a URL that speaks the Open Inference Protocol (version 2, REST, JSON)."""

import json
import urllib.error
import urllib.request
from typing import Any

import numpy as np
import torch
from torch import Tensor

from denseam.errors import EndpointError
from denseam.guard.layout import Input, answer
from denseam.guard.members import Member

__all__ = ["Endpoint"]

_TYPES = {"FP32": np.float32, "FP64": np.float64, "UINT8": np.uint8}
_LIMIT = 64 * 2**20  # bytes of an answer
_CHUNK = 256  # images in a request


class Endpoint(Member):
    """``POST URL/infer``, after ``GET URL`` has said how images are wanted.

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
        self.url, self.timeout = url.rstrip("/").removesuffix("/infer"), timeout
        self.input, self.datatype = self._described(self._call(self.url))
        if more.get("takes") is None:
            more["takes"] = self.input.takes
        super().__init__(**more)

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "url": self.url}

    def _labels(self, visible: Tensor) -> Tensor:
        ask = super()._labels
        return torch.cat([ask(part) for part in torch.split(visible, self.input.batch or _CHUNK)])

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
            outputs = [
                (each["name"], np.asarray(each["data"]).reshape(each["shape"]))
                for each in found["outputs"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise EndpointError(
                f"{self.url}: an answer without whole outputs: {error!r}"
            ) from error
        return answer(outputs)

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
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as reply:  # noqa: S310
                text = reply.read(_LIMIT + 1)
        except urllib.error.HTTPError as error:
            with error:
                said = _cut(error.read(1000).decode(errors="replace"))
            raise EndpointError(f"{url} answered {error.code}: {said}") from error
        except (OSError, ValueError) as error:  # refused, no such host, timed out
            reason = getattr(error, "reason", error)
            raise EndpointError(f"{url} does not answer: {reason}") from error
        if len(text) > _LIMIT:
            raise EndpointError(f"{url}: an answer of more than {_LIMIT} bytes")
        try:
            return json.loads(text)
        except ValueError as error:
            raise EndpointError(f"{url}: the answer is not JSON: {_cut(text[:200])}") from error


def _cut(value: Any) -> str:
    return repr(value)[:200]
