"""Saved models of every kind."""

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from denseam.baselines import NETWORKS, Binarised
from denseam.classifier import Classifier, check_device
from denseam.errors import DataUnavailableError, FileFormatError
from denseam.files import load_tensors, there_is
from denseam.model import DenseAM
from denseam.trained_on import TrainedOn

__all__ = ["describe_model", "load", "restore"]


def load(path: str | Path, *, device: torch.device | str = "cpu") -> Classifier:
    """Read a model written by ``save``: a ``DenseAM``, or one of ``denseam.baselines``.

    Args:
        path: the file, or the folder of a finished training run.
        device: where to put its memories.

    Raises:
        DataUnavailableError: when there is no such file.
        FileFormatError: when it is truncated, garbled or not a denseam model.
    """
    path = Path(path)
    if not there_is(path):
        raise DataUnavailableError(f"there is no file {path}")
    if path.is_dir():
        path = path / "model.safetensors"
        if not path.exists() and (path.parent / "checkpoint.safetensors").exists():
            raise DataUnavailableError(
                f"{path.parent}: the training run there has not finished; the command that began "
                "it goes on with it"
            )
    tensors, settings = load_tensors(path, "model")
    return restore(tensors, settings, path).to(check_device(device))


def restore(tensors: Mapping[str, Tensor], settings: Mapping[str, Any], file: Path) -> Classifier:
    """Return the network whose tensors and settings were read from a file.

    Raises:
        FileFormatError: when they are not whole, or of a kind that this version does not know.
    """
    kind = settings.get("network", DenseAM.kind)
    if kind not in NETWORKS:
        raise FileFormatError(f"{file} holds a network of kind {kind!r}: update denseam to read it")
    try:
        model = NETWORKS[kind].restore(tensors, settings)
        if "binarised_at" in settings:
            model = Binarised(model, threshold=settings["binarised_at"])
        if "trained_on" in settings:
            model.trained_on = TrainedOn.from_json(settings["trained_on"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileFormatError(f"{file} is not a whole denseam model file: {error!r}") from error
    return model


def describe_model(model: nn.Module) -> dict[str, Any]:
    """Return a model's identity as plain JSON values: its kind and the SHA-256 of its numbers."""
    sha = hashlib.sha256()
    for name, value in sorted(
        {**dict(model.named_parameters()), **dict(model.named_buffers())}.items()
    ):
        sha.update(f"{name} {tuple(value.shape)} {value.dtype} ".encode())
        sha.update(value.detach().cpu().contiguous().numpy().tobytes())
    facts: dict[str, Any] = {"type": type(model).__name__}
    if isinstance(model, DenseAM) and model.kind == DenseAM.kind and math.isfinite(model.power):
        facts |= {"power": model.power, "temperature": model.temperature}
        facts["n_memories"] = model.n_memories
    elif isinstance(model, Classifier):
        facts |= model.settings()
    return {**facts, "sha256": sha.hexdigest()}
