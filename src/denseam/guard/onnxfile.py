"""ONNX files as classifiers, run by onnxruntime."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from denseam.checks import whole
from denseam.errors import DataUnavailableError, FileFormatError, InputError, MissingPackageError
from denseam.guard.answers import to_labels
from denseam.guard.blocks import Blocks, in_batches, places_agree
from denseam.guard.layout import Input, answer
from denseam.guard.members import Member

__all__ = ["OnnxFile"]

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}


class OnnxFile(Member):
    """A graph of one input; its output "label" or else its first one, labels or scores.

    Unless told otherwise it is shown uint8 images where it wants bytes, images in [-1, 1] where its
    input is called "visible", and images in [0, 1] elsewhere.

    Args:
        path: the file.
        threads: of onnxruntime.
        more: as for every `Member`.

    Raises:
        MissingPackageError: without onnxruntime.
        DataUnavailableError, FileFormatError: when there is no such file, or it is none.
        InputError: for a graph of several inputs, or other numbers.
    """

    kind = "onnx"

    def __init__(self, path: str | Path, *, threads: int = 1, **more: Any) -> None:
        self.path = Path(path).absolute()
        try:
            contents = self.path.read_bytes()
        except OSError as error:
            raise DataUnavailableError(f"{path}: no such ONNX file ({error.strerror})") from error
        self.sha256 = hashlib.sha256(contents).hexdigest()
        self.session = _session(self.path, whole("threads", threads))
        given, *others = self.session.get_inputs()
        if others or given.type not in _TYPES or len(given.shape) not in (2, 3, 4):
            raise InputError(
                f"{path}: wanted one input of images, floating or uint8, got "
                + ", ".join(f"{i.name} {i.type} {i.shape}" for i in (given, *others))
            )
        dims = tuple(d if isinstance(d, int) else None for d in given.shape)
        self.input = Input(given.name, dims, np.dtype(_TYPES[given.type]))
        if more.get("takes") is None:
            more["takes"] = self.input.takes
        super().__init__(**more)
        self._blocks = Blocks(self._answers)
        self._together: bool | None = None  # of a fixed batch: not found out yet

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "file": str(self.path), "sha256": self.sha256}

    def _labels(self, visible: Tensor) -> Tensor:
        size = self.input.batch
        if size is None:
            (found,) = self._blocks(visible)
            return to_labels(found, len(visible))
        if self._together is None:
            self._together = places_agree(self._batch, visible.shape[1], size)
        found = in_batches(self._batch, visible, size, together=self._together)
        return to_labels(found, len(visible))

    def _batch(self, whole: Tensor) -> Tensor:
        return self._answers(whole)[0]

    def _ask(self, shown_images: Any) -> Any:
        images = self.input.arranged(np.asarray(shown_images))
        found = self.session.run(None, {self.input.name: images})
        names = [output.name for output in self.session.get_outputs()]
        return answer(list(zip(names, found, strict=True)))


def _session(path: Path, threads: int) -> Any:
    try:
        import onnxruntime  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise MissingPackageError(
            "a classifier in an ONNX file needs onnxruntime: pip install 'denseam[guard]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # its own pool would fight with PyTorch's
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # its errors have no common class
        raise FileFormatError(f"{path} is not a whole ONNX file: {error}") from error
