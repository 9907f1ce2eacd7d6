"""A network as an ONNX file, for programs that have neither Python nor PyTorch.

The graph is built node by node from the formulas in ``graph.py``. The kernels of
``denseam.kernels`` cannot be traced, and no exporter is needed.
"""

import math
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from denseam.baselines import Binarised
from denseam.checks import image_shape
from denseam.classifier import HEADS, Classifier, HeadName
from denseam.data.arrays import square
from denseam.errors import InputError, MissingPackageError
from denseam.files import write_bytes
from denseam.interop.graph import build
from denseam.onnx_graph import OnnxGraph
from denseam.saved import describe_model
from denseam.version import __version__

InputName = Literal["images", "visible"]

_OPSET, _IR = 18, 8  # of 2022: onnxruntime reads them from 1.14 on
_LIMIT = 2**31 - 2**20  # bytes: the most that protobuf writes to one file


def export_onnx(
    model: Classifier,
    path: str | Path,
    head: HeadName = "log_energy",
    *,
    takes: InputName = "images",
    shape: tuple[int, int] | None = None,
) -> None:
    """Write what ``ImageClassifier(model, head)`` computes to an ONNX file, atomically.

    The graph takes a batch of any size, in the model's dtype:

        images   (B, 1, H, W) in [0, 1], or visible (B, N) in [-1, 1]
        logits   (B, C): of the head; finite for finite images
        label    (B,) int64: the model's ``predict``, whatever the head

    Logits of "log_energy" are those of ``ImageClassifier``: the logarithm of each class's share of
    the energies, so differences of log-energies are exact. The file's metadata name the model:
    ``denseam`` (the version), ``network``, ``power``, ``temperature``, ``head``, ``sha256`` (of the
    memories, as in image sets).

    Args:
        model: a ``DenseAM`` or one of ``denseam.baselines``, on any device, up to 2 GB; nearest
            neighbours are as large as their training images.
        path: the file.
        head: "log_energy", "energy_gap" or "tanh".
        takes: input of the graph, images or visible.
        shape: (H, W) of images; by default a square, or (1, N) where N is no square number.

    Raises:
        InputError: for other values, or a shape that does not have N pixels.
        MissingPackageError: when onnx is not installed.
        SaveError: when the file cannot be written; what stood there is untouched.
    """
    if not isinstance(model, Classifier):
        raise InputError(f"model: wanted a network of denseam, got {type(model).__name__}")
    if head not in HEADS:
        raise InputError(f"head = {head!r}: wanted {' or '.join(map(repr, HEADS))}")
    if takes not in get_args(InputName):
        raise InputError(f"takes = {takes!r}: wanted {' or '.join(map(repr, get_args(InputName)))}")
    if model.memories.dtype not in (torch.float32, torch.float64):
        raise InputError(f"memories are {model.memories.dtype}: wanted float32 or float64")
    size = model.memories.numel() * model.memories.element_size()
    if size > _LIMIT:
        raise InputError(f"memories of {size / 1e9:.1f} GB: an ONNX file holds up to 2 GB")
    pixels: tuple[int, ...] = (model.n_inputs,)
    if takes == "images":
        n_pixels = model.n_inputs
        shape = shape or square(n_pixels) or (1, n_pixels)
        pixels = (1, *image_shape("shape", shape, n_pixels))
    need_onnx()
    graph = OnnxGraph(model.memories.dtype)
    build(graph, model, head, takes)
    write_bytes(Path(path), _serialised(graph, model, takes, pixels, _facts(model, head)))


def need_onnx() -> None:
    """Check that ONNX files can be written.

    Raises:
        MissingPackageError: when onnx is not installed.
    """
    try:
        import onnx  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingPackageError("ONNX files need onnx: pip install 'denseam[onnx]'") from error


def _serialised(
    graph: OnnxGraph, model: Classifier, takes: str, pixels: tuple[int, ...], facts: dict[str, Any]
) -> bytes:
    """Return the contents of the file, checked."""
    import onnx  # noqa: PLC0415
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    floating = TensorProto.DOUBLE if graph.dtype is torch.float64 else TensorProto.FLOAT
    proto = helper.make_graph(
        [helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes)
         for kind, inputs, outputs, attributes in graph.nodes],
        "denseam",
        [helper.make_tensor_value_info(takes, floating, ["batch", *pixels])],
        [helper.make_tensor_value_info("logits", floating, ["batch", model.n_classes]),
         helper.make_tensor_value_info("label", TensorProto.INT64, ["batch"])],
        [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
    )  # fmt: skip
    model_proto = helper.make_model(
        proto,
        producer_name="denseam",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", _OPSET)],
        ir_version=_IR,
        doc_string=f"{model!r}",
    )
    helper.set_model_props(model_proto, {name: str(value) for name, value in facts.items()})
    onnx.checker.check_model(model_proto, full_check=True)
    contents: bytes = model_proto.SerializeToString(deterministic=True)
    return contents


def _facts(model: Classifier, head: str) -> dict[str, Any]:
    inner = model.network if isinstance(model, Binarised) else model
    facts = {
        "denseam": __version__,
        "network": inner.kind,
        **({"power": model.power} if math.isfinite(model.power) else {}),
        "temperature": model.temperature,
        "head": head,
        "sha256": describe_model(inner)["sha256"],
    }
    return facts | ({"binarised_at": model.threshold} if isinstance(model, Binarised) else {})
