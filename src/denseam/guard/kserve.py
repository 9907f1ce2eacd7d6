"""A guard as a model of KServe: python -m denseam.guard.kserve --model_dir FOLDER

KServe's server speaks the Open Inference Protocol over REST and gRPC, and Kubernetes starts as many
of them as there is work for. Verdicts are those of ``denseam guard serve``; limits, keys and
micro-batches are KServe's, and there is no quarantine. The options are KServe's, see --help.
"""

import argparse
import asyncio
from pathlib import Path
from typing import Any

import kserve
import numpy as np
import torch
from kserve import InferInput, InferOutput, InferRequest, InferResponse
from kserve.errors import InferenceError, InvalidInput
from kserve.model_server import parser as kserve_options
from torch import Tensor

from denseam.errors import AnswerError, InputError
from denseam.guard import Guard, Verdicts
from denseam.guard.server.answers import TensorInfo, metadata
from denseam.guard.server.refusals import RefusedError
from denseam.guard.server.tensors import LARGEST, dims_of

Numbers = np.ndarray[Any, np.dtype[Any]]
_DTYPES = {"INT64": np.int64, "BOOL": np.bool_, "FP64": np.float64, "BYTES": np.object_}


class GuardModel(kserve.Model):  # type: ignore[misc] # KServe says nothing of types
    """A calibrated guard for KServe's server.

    Args:
        name: of the model, in paths such as ``/v2/models/NAME/infer``.
        guard: a calibrated one, its file, or the folder with ``guard.safetensors``, which ``load``
            reads.
        max_batch: images of a request.
    """

    def __init__(self, name: str, guard: Guard | str | Path, *, max_batch: int = 256) -> None:
        super().__init__(name)
        self._source, self.max_batch = guard, max_batch

    def load(self) -> bool:
        """Read the guard, and look at a black image so that the first request does not wait.

        Raises:
            InputError: for a guard that is not calibrated.
            DataUnavailableError, FileFormatError: as ``Guard.load``.
        """
        source = self._source
        self.guard = source if isinstance(source, Guard) else Guard.load(source)
        self.guard.threshold  # noqa: B018 (an error here, not at the first image)
        self.guard.prepare()
        self._about = metadata(self.guard, self.name, self.max_batch)
        self.ready = True
        return self.ready

    def get_input_types(self) -> list[dict[str, Any]]:
        """Describe the input."""
        return [_as_dict(tensor) for tensor in self._about.inputs]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Describe the outputs."""
        there = (tensor for tensor in self._about.outputs if tensor.name != "quarantine_id")
        return [_as_dict(tensor) for tensor in there]

    async def predict(
        self, payload: InferRequest, headers: dict[str, str] | None = None
    ) -> InferResponse:
        """Return verdicts on images (B, H, W), (B, 1, H, W) or (B, N).

        Args:
            payload: one input, "images": FP32 in [0, 1], or UINT8.
            headers: of the request.

        Raises:
            InvalidInput: 400 for anything else; gRPC says INVALID_ARGUMENT.
            InferenceError: 500 when a member of the guard answers what cannot be used.
        """
        images = self._images(payload)
        try:
            verdicts = await asyncio.to_thread(self.guard.predict, images)
        except InputError as error:
            raise InvalidInput(str(error)) from error
        except AnswerError as error:
            raise InferenceError(str(error)) from error
        return InferResponse(
            payload.id or "", self.name, self._outputs(verdicts, binary=payload.use_binary_outputs),
            use_binary_outputs=payload.use_binary_outputs,
            requested_outputs=payload.request_outputs,
        )  # fmt: skip

    def _images(self, payload: InferRequest) -> Tensor:
        """Return images (B, H, W), uint8 or float32 in [0, 1]; their values are not checked."""
        tensors: list[InferInput] = getattr(payload, "inputs", [])
        if [tensor.name for tensor in tensors] != ["images"]:
            raise InvalidInput('inputs: wanted one tensor, named "images", by protocol version 2')
        tensor = tensors[0]
        try:
            dims = dims_of(list(tensor.shape), self.guard.n_visible, self.guard.image_shape)
            if dims[0] > self.max_batch:
                raise InvalidInput(f"{dims[0]} images: wanted at most {self.max_batch}")
            return torch.tensor(_pixels(tensor).reshape(dims))
        except (RefusedError, ValueError, TypeError) as error:
            raise InvalidInput(str(error)) from error

    def _outputs(self, verdicts: Verdicts, *, binary: bool) -> list[InferOutput]:
        columns = {**verdicts.columns, "reason": [reason or "" for reason in verdicts.reasons]}
        outputs = []
        for about in self.get_output_types():
            output = InferOutput(about["name"], [len(verdicts)], about["datatype"])
            column: Numbers = np.array(columns[about["name"]], _DTYPES[about["datatype"]])
            output.set_data_from_numpy(column, binary_data=binary)
            outputs.append(output)
        return outputs


def _as_dict(tensor: TensorInfo) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def _pixels(tensor: InferInput) -> Numbers:
    """Return numbers of any shape, uint8 or float32."""
    whole = {"UINT8": True, "FP32": False}.get(tensor.datatype)
    if whole is None:
        raise InvalidInput(f"datatype {tensor.datatype[:20]!r}: wanted FP32 or UINT8")
    if tensor.data is None or not len(tensor.data):  # little-endian bytes, if anything
        raw: Numbers = tensor.as_numpy()
        return raw
    numbers = np.array(tensor.data)
    if numbers.dtype.kind not in ("iu" if whole else "iuf"):
        raise InvalidInput(f"data: wanted {'whole ' if whole else ''}numbers, flat or nested")
    if not whole:
        return numbers.clip(-LARGEST, LARGEST).astype(np.float32)
    if numbers.size and not (numbers.min() >= 0 and numbers.max() <= 255):
        raise InvalidInput(f"data: UINT8 is 0 to 255, got {numbers.min()} to {numbers.max()}")
    return numbers.astype(np.uint8)


def main() -> None:
    """Serve the guard of a folder until told to stop."""
    options = argparse.ArgumentParser(description=__doc__, parents=[kserve_options])
    options.add_argument("--model_dir", default="/mnt/models", help="with guard.safetensors")
    args = options.parse_args()
    model = GuardModel(args.model_name, args.model_dir)
    model.load()
    kserve.ModelServer().start([model])


if __name__ == "__main__":
    main()
