"""A guard as one safetensors file: networks inside, other members by where they are."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from denseam.classifier import check_device
from denseam.errors import (
    DataUnavailableError,
    DenseAMError,
    FileFormatError,
    InputError,
    SaveError,
)
from denseam.files import load_tensors, save_tensors
from denseam.guard import conformal
from denseam.guard.detector import Memories
from denseam.guard.guard import Guard
from denseam.guard.members import Member, Network
from denseam.saved import restore

__all__ = ["FILE", "load", "place", "save"]

FILE = "guard.safetensors"
_KIND, _SUM = "guard", "description_sha256"
_SCORES = "calibration.scores"
_SAVED = ("network", "onnx", "endpoint")  # kinds of members that a file can bring back


def place(path: Path) -> Path:
    """The file of a guard: the path itself, or ``guard.safetensors`` in that folder."""
    return path if path.suffix == ".safetensors" else path / FILE


def save(guard: Guard, path: Path) -> None:
    """Write a guard; see ``Guard.save``."""
    file = place(path)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SaveError(f"{file.parent} cannot be made: {error.strerror or error}") from error
    tensors, facts = {_SCORES: guard._calibration}, _facts(guard)  # noqa: SLF001
    if isinstance(guard.detector, Memories):
        tensors |= {f"score.{key}": value for key, value in guard.detector.score.tensors().items()}
    for name, member in (("detector", guard.detector), ("classifier", guard.classifier)):
        if isinstance(member, Memories | Network):
            saved = member.network.tensors()
            # Copies: safetensors refuses tensors that share memory, and both may be one network.
            tensors |= {f"{name}.{key}": value.clone() for key, value in saved.items()}
    save_tensors(file, _KIND, tensors, {"guard": facts, _SUM: _sum(facts)})


def load(
    path: Path,
    *,
    detector: object | None,
    classifier: object | None,
    preprocess: Callable[[Tensor], Any] | None,
    device: torch.device | str,
) -> Guard:
    """Read a guard; see ``Guard.load``."""
    file, where = place(path), check_device(device)
    if not file.exists():
        raise DataUnavailableError(f"there is no guard {file}")
    tensors, outside = load_tensors(file, _KIND)
    facts = outside.get("guard")
    if not isinstance(facts, dict) or outside.get(_SUM) != _sum(facts):
        raise FileFormatError(f"{file}: the description in it is not the one that was written")
    try:
        members = [
            restore(_inside(tensors, name), facts[name]["settings"], file).to(where)
            if given is None and facts[name]["kind"] == "network"
            else _elsewhere(name, given, facts[name], file)
            for name, given in (("detector", detector), ("classifier", classifier))
        ]
        other = classifier is not None and facts["classifier"]["kind"] in _SAVED
        return _rebuilt(facts, tensors, members, preprocess, other=other)
    except DenseAMError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileFormatError(f"{file} is not a whole guard: {error!r}") from error


def _facts(guard: Guard) -> dict[str, Any]:
    detector, classifier = guard.detector, guard.classifier
    inner = detector.network.settings() if isinstance(detector, Memories) else None
    network = classifier.network.settings() if isinstance(classifier, Network) else None
    return {
        "score": detector.score.settings() if isinstance(detector, Memories) else None,
        "target_rejection": guard.target_rejection,
        "n_visible": guard.n_visible,
        "image_shape": guard.image_shape and list(guard.image_shape),
        "detector": {**detector.describe(), "settings": inner},
        "classifier": {
            **classifier.describe(),
            "settings": network,
            "preprocessed": classifier.preprocess is not None,
        },
    }


def _rebuilt(
    facts: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    members: list[Any],
    preprocess: Callable[[Tensor], Any] | None,
    *,
    other: bool,
) -> Guard:
    """The guard of its members; ``other`` where the classifier takes the place of a saved one."""
    detector, classifier = members
    shape = facts["image_shape"]
    more: dict[str, Any] = {}
    if facts["score"] is not None:
        more = {"score": facts["score"]["name"], "beta_sm": facts["score"]["beta_sm"]}
    if not isinstance(classifier, Member):
        more["preprocess"] = preprocess
        if not other:
            more["takes"] = facts["classifier"]["takes"]
            if facts["classifier"]["preprocessed"] and preprocess is None:
                raise InputError(
                    "the guard's classifier had a preprocessing: hand it to load again"
                )
    guard = Guard(
        detector, classifier,
        image_shape=None if shape is None else (int(shape[0]), int(shape[1])),
        n_visible=facts["n_visible"], **more,
    )  # fmt: skip
    found = guard.detector.describe()
    if any(found.get(key) != facts["detector"].get(key) for key in ("kind", "sha256")):
        raise InputError("detector: not the one that the guard was calibrated with")
    if isinstance(guard.detector, Memories):
        guard.detector.score.restore(facts["score"], _inside(tensors, "score"))
    if facts["target_rejection"] is not None:
        guard.target_rejection = conformal.check_rate(facts["target_rejection"])
        guard._calibration = tensors[_SCORES].double().sort().values  # noqa: SLF001
        guard.threshold  # noqa: B018 (an error here, not at the first image)
    return guard


def _inside(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Those of one part of the guard, under their own names."""
    start = f"{name}."
    return {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}


def _elsewhere(name: str, given: object | None, facts: Mapping[str, Any], file: Path) -> object:
    """A member that was handed over, or is found where the file says."""
    if given is not None:
        return given
    if facts["kind"] == "onnx":
        path = Path(facts["file"])
        if not path.exists():
            raise DataUnavailableError(f"{file}: its classifier {path} is no longer there")
        if hashlib.sha256(path.read_bytes()).hexdigest() != facts["sha256"]:
            raise FileFormatError(f"{path} is not the classifier that {file} was made with")
        return path
    if facts["kind"] == "endpoint":
        return facts["url"]
    raise InputError(
        f"{file}: its {name}, a {facts['kind']}, could not be saved: pass {name}=... to Guard.load"
    )


def _sum(facts: Mapping[str, Any]) -> str:
    """SHA-256 of the description: the sum in a safetensors file is of the numbers alone."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
