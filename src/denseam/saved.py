"""Saved models of every kind."""

from pathlib import Path

import torch

from denseam.baselines import NETWORKS, Binarised
from denseam.classifier import Classifier, check_device
from denseam.errors import DataUnavailableError, FileFormatError
from denseam.files import load_tensors, there_is
from denseam.model import DenseAM

__all__ = ["load"]


def load(path: str | Path, *, device: torch.device | str = "cpu") -> Classifier:
    """Read a model written by ``save``: a ``DenseAM``, or one of ``denseam.baselines``.

    Args:
        path: the file, or the folder of a finished training run.
        device: where its memories are to live.

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
    kind = settings.get("network", DenseAM.kind)
    if kind not in NETWORKS:
        raise FileFormatError(f"{path} holds a network of kind {kind!r}: update denseam to read it")
    try:
        model = NETWORKS[kind].restore(tensors, settings)
        if "binarised_at" in settings:
            model = Binarised(model, threshold=settings["binarised_at"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileFormatError(f"{path} is not a whole denseam model file: {error!r}") from error
    return model.to(check_device(device))
