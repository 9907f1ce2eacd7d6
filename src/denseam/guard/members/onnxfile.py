"""ONNX files as classifiers, run by onnxruntime."""

import hashlib
import re
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from denseam.checks import whole
from denseam.errors import DataUnavailableError, FileFormatError, InputError, MissingPackageError
from denseam.guard.answers import to_labels
from denseam.guard.blocks import Blocks
from denseam.guard.members.base import Member
from denseam.guard.members.layout import Input, answer
from denseam.guard.saving import Saved

_TYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}

# In an ONNX file: key "location" and its value, the name of a file of weights, in protobuf's bytes.
_LOCATION = re.compile(rb"\x0a\x08location\x12(?:([\x00-\x7f])|([\x80-\xff])([\x01-\x7f]))")


class OnnxFile(Member):
    """A graph of one input; its output "label" or else its first one, labels or scores.

    By default it is shown uint8 images where it wants bytes, images in [-1, 1] where its input is
    called "visible", and images in [0, 1] elsewhere.

    Args:
        classifier: the file.
        threads: of onnxruntime.
        options: as for every `Member`.

    Raises:
        MissingPackageError: without onnxruntime.
        DataUnavailableError, FileFormatError: when there is no such file, or of another format.
        InputError: for a graph of several inputs, or other numbers.
    """

    kind = "onnx"
    restorable: ClassVar[bool] = True

    def __init__(self, classifier: str | Path, *, threads: int = 1, **options: Any) -> None:
        self.path = Path(classifier).absolute()
        self.digests = _digests(self.path)
        self.session = _session(self.path, whole("threads", threads))
        first, *others = self.session.get_inputs()
        if others or first.type not in _TYPES or len(first.shape) not in (2, 3, 4):
            raise InputError(
                f"{classifier}: wanted one input of images, floating or uint8, got "
                + ", ".join(f"{i.name} {i.type} {i.shape}" for i in (first, *others))
            )
        dims = tuple(d if isinstance(d, int) else None for d in first.shape)
        self.input = Input(first.name, dims, np.dtype(_TYPES[first.type]))
        self.takes = self.input.takes
        super().__init__(classifier, **options)
        self._blocks = Blocks(self._columns, black=self._black, size=self.input.batch)

    @classmethod
    def serves(cls, classifier: object) -> bool:
        return isinstance(classifier, str | Path) and str(classifier).endswith(".onnx")

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "file": str(self.path), **self.digests}

    @classmethod
    def restore(cls, saved: Saved) -> object:
        facts = saved.facts["classifier"]
        path = Path(facts["file"])
        if not path.exists():
            raise DataUnavailableError(f"{saved.file}: its classifier {path} is no longer there")
        now = _digests(path)
        if now["sha256"] != facts["sha256"]:
            raise FileFormatError(f"{path} is not the classifier that {saved.file} was made with")
        for name, digest in facts.get("weights", {}).items():  # 0.1 did not know of other files
            if now.get("weights", {}).get(name) != digest:
                changed = "has changed" if (path.parent / name).exists() else "is no longer there"
                raise FileFormatError(
                    f"{path.parent / name} {changed}: {path.name} is not the classifier that "
                    f"{saved.file} was made with"
                )
        return path

    def _labels(self, images: Tensor) -> Tensor:
        (answers,) = self._blocks(images.cpu())
        return to_labels(answers, len(images))

    def _ask(self, images: Any) -> Any:
        outputs = self.session.run(None, {self.input.name: self.input.arranged(np.asarray(images))})
        names = [output.name for output in self.session.get_outputs()]
        return answer(list(zip(names, outputs, strict=True)))


def _digests(path: Path) -> dict[str, Any]:
    """Return the SHA-256 of an ONNX file, and those of the weights that it keeps in other files.

    Raises:
        DataUnavailableError: when there is no such file.
    """
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise DataUnavailableError(f"{path}: no such ONNX file ({error.strerror})") from error
    weights = {}
    for match in _LOCATION.finditer(contents):
        short, low, high = match.groups()
        length = short[0] if short else low[0] - 128 + 128 * high[0]
        name = contents[match.end() : match.end() + length].decode(errors="replace")
        beside = path.parent / name
        if name not in weights and "\0" not in name and beside.is_file():
            with beside.open("rb") as opened:
                weights[name] = hashlib.file_digest(opened, "sha256").hexdigest()
    digests: dict[str, Any] = {"sha256": hashlib.sha256(contents).hexdigest()}
    return {**digests, "weights": weights} if weights else digests


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
