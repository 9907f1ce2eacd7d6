"""Sets of examples as files: ``.safetensors``, or ``.npz`` for NumPy.

Both hold the arrays ``images`` or ``features``, ``labels`` and one ``fact:NAME`` for each fact, bit
for bit, and under the key ``denseam`` one JSON text with the rest. Damage is noticed: safetensors
files carry sums of their own, zip files a CRC of every member. Nothing is ever unpickled.
"""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray
from torch import Tensor

from denseam.data.arrays import to_tensor
from denseam.data.validate import check_class_names
from denseam.errors import FileFormatError, InputError, SaveError
from denseam.files import FORMAT_VERSION, checked_facts, load_tensors, save_tensors, write_bytes

_ARRAYS = {"image set": "images", "feature set": "features"}
"""The array with the examples, by the kind of set."""
_A = {"image set": "an image set", "feature set": "a feature set"}
TEXT = "denseam"
"""The array that an ``.npz`` file has if it is one of ours."""
_FACT = "fact:"
_FIELDS = {"name": str, "n_classes": int, "class_names": list, "metadata": dict, "facts": list}
_MORE = {"feature_names": list}  # of feature sets
_SUM = "description_sha256"


Fields = dict[str, Any]
"""The arguments of ``ImageSet`` or ``FeatureSet``, by name."""


def write(kind: str, fields: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the fields of a set of a kind to ``path``, in the format of its suffix.

    Raises:
        InputError: on another suffix, or where the format cannot hold what is in the set.
        SaveError: when the file cannot be written; what stood there is untouched.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in (".safetensors", ".npz"):
        raise InputError(
            f"{target}: {_A[kind]} is saved as .safetensors or .npz, got {suffix or 'no suffix'}"
        )
    description = _describe(kind, fields)
    array = _ARRAYS[kind]
    tensors = {array: fields[array], "labels": fields["labels"].clone()}
    # Copies: safetensors refuses tensors that share memory, and a fact may be the labels.
    tensors |= {_FACT + name: value.clone() for name, value in fields["facts"].items()}
    contents = _to_npz(kind, tensors, description) if suffix == ".npz" else None
    try:
        if contents is None:
            save_tensors(target, kind, tensors, description)
        else:
            write_bytes(target, contents)
    except (ValueError, safetensors.SafetensorError) as error:  # a NUL in the path, say
        raise SaveError(f"{target} could not be written: {error}") from error


def read_safetensors(path: Path) -> Fields:
    """Return the fields of the set in a ``.safetensors`` file.

    Raises:
        DataUnavailableError: when there is no such file.
        FileFormatError: when it is truncated, garbled or something else.
    """
    tensors, description = load_tensors(path, *_ARRAYS)
    # Copies: what was read is a view of the file, and would follow whatever becomes of it.
    return _fields(path, {name: value.clone() for name, value in tensors.items()}, description)


def read_npz(archive: zipfile.ZipFile, path: Path) -> Fields:
    """Return the fields of the set in an open ``.npz`` file; ``path`` is for messages.

    Raises:
        FileFormatError: when it is garbled or something else. Damage that zipfile and NumPy
            notice is raised as they raise it.
    """
    arrays = {member.removesuffix(".npy"): _array(archive, member) for member in archive.namelist()}
    text = arrays.pop(TEXT)
    facts = json.loads(text.item()) if text.dtype.kind == "U" and text.ndim == 0 else None
    tensors = {name: to_tensor(value, name) for name, value in arrays.items()}
    return _fields(path, tensors, checked_facts(path, [*_ARRAYS], facts))


def _describe(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON beside the tensors, read back once: it is what a reader will get."""
    try:
        values = {
            **{key: fields[key] for key in ("name", "n_classes")},
            **{key: list(fields[key]) for key in ("class_names", "facts")},
            "metadata": dict(fields["metadata"]),
        }
        if kind == "feature set":
            values["feature_names"] = list(fields["feature_names"])
        description: dict[str, Any] = json.loads(json.dumps(values, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"name and metadata of {_A[kind]} must be JSON: {error}") from error
    _check_fields(description)
    return {**description, _SUM: _sum(description)}


def _sum(description: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the text: the sum in a safetensors file is of the numbers alone."""
    summed = {key: description[key] for key in (*_FIELDS, *_MORE) if key in description}
    return hashlib.sha256(json.dumps(summed).encode()).hexdigest()


def _fields(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> Fields:
    try:
        _check_fields(description)
        check_class_names(description["class_names"], description["n_classes"])
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error
    if description.get(_SUM) not in (None, _sum(description)):
        raise FileFormatError(f"{path}: the description in it is not the one that was written")
    facts = {name: f"{_FACT}{name}" for name in description["facts"]}
    array = _ARRAYS[description["kind"]]
    arrays = [array, "labels", *facts.values()]
    if set(arrays) != set(tensors):
        raise FileFormatError(f"{path}: wanted the arrays {_list(arrays)}, found {_list(tensors)}")
    return {
        **{key: description[key] for key in ("name", "n_classes", "metadata")},
        "class_names": tuple(description["class_names"]),
        **{key: tuple(description[key]) for key in _MORE if key in description},
        array: tensors[array],
        "labels": tensors["labels"],
        "facts": {name: tensors[array] for name, array in facts.items()},
    }


def _check_fields(description: Mapping[str, Any]) -> None:
    more = {key: kind for key, kind in _MORE.items() if key in description}
    for key, kind in {**_FIELDS, **more}.items():
        actual = type(description.get(key))
        if actual is not kind:
            raise InputError(f"{key} must be of type {kind.__name__}, got {actual.__name__}")


def _to_npz(kind: str, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> bytes:
    text = json.dumps({"kind": kind, "version": FORMAT_VERSION, **description})
    arrays = {name: _to_array(name, value) for name, value in tensors.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{TEXT: np.array(text), **arrays})  # type: ignore[arg-type]
    return buffer.getvalue()


def _to_array(name: str, value: Tensor) -> NDArray[Any]:
    try:
        return value.detach().cpu().contiguous().numpy()
    except TypeError as error:
        dtype = str(value.dtype).removeprefix("torch.")
        raise InputError(
            f"{name} is {dtype}, which .npz files do not have: save as .safetensors, or convert"
        ) from error


def _array(archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    # The whole member first: its CRC is checked before anything is made of it.
    contents = io.BytesIO(archive.read(member))
    return np.lib.format.read_array(contents, allow_pickle=False)


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
