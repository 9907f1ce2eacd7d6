"""Arrays of NumPy: ``.npz`` archives, and ``.npy`` files that lie side by side in a folder."""

import io
import lzma
import math
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseam.data import setfiles
from denseam.data.assembly import Arrays, Source
from denseam.errors import FileFormatError

# What zipfile and NumPy raise over a damaged file. A spoilt byte may ask for a password
# (RuntimeError), another compression, an array larger than the memory, or a header that is
# no Python (TokenError, SyntaxError).
_DAMAGE = (
    *(ValueError, TypeError, LookupError, OSError, EOFError, RuntimeError, MemoryError),
    *(OverflowError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, TokenError, SyntaxError),
    ArithmeticError,
)
_EXAMPLES = (
    *("x", "images", "image", "img", "imgs", "data", "features", "feature", "inputs", "input"),
    *("embeddings", "embedding", "samples", "pixels", "examples", "arr0"),
)
_LABELS = (
    *("y", "labels", "label", "target", "targets", "classes", "class", "t", "lab", "arr1"),
    *("species", "outputs", "output"),
)
_PARTS = {
    "train": "train", "training": "train", "tr": "train", "test": "test", "testing": "test",
    "te": "test", "tst": "test", "val": "val", "valid": "val", "validation": "val", "dev": "val",
}  # fmt: skip
_WANTED = "wanted the arrays x_train, y_train, x_test, y_test, or X and y"
_OBJECTS = (
    "it holds objects of Python, which are not loaded, as that could run code: save text as "
    "strings (y.astype(str)) and numbers as numbers"
)
_Read = Callable[[], NDArray[Any]]


def read_npz(path: Path) -> Source | dict[str, Any]:
    """Return the arrays of an ``.npz`` file, or the fields of a set that was saved to it.

    Raises:
        FileFormatError: when it is damaged, no ``.npz`` file, or without the arrays of a set.
    """
    with _damage(path, ".npz file of numbers"):
        with path.open("rb") as file:
            start = file.read(6)
        if not start.startswith(b"PK"):
            raise ValueError(_seen(start))
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():  # is each what the directory says?
                archive.open(member).close()
            members = {
                member.removesuffix(".npy"): member
                for member in archive.namelist()
                if not member.endswith("/")
            }
            if setfiles.TEXT in members:
                return setfiles.read_npz(archive, path)
            readers = {
                name: _member(archive, member)
                for name, member in members.items()
                if member.endswith(".npy")
            }
            return _source(path, "npz", readers, list(members))
    raise AssertionError  # for type checkers: _damage passes no error over


def npy_names(folder: Path) -> list[str]:
    """Return the names of the .npy files of a folder."""
    return sorted(
        path.name for path in folder.iterdir()
        if path.suffix.lower() == ".npy" and not path.name.startswith(".")
    )  # fmt: skip


def read_npy_folder(folder: Path, names: Iterable[str]) -> Source:
    """Return the arrays of ``X.npy`` and ``y.npy``, or their like, in a folder.

    Raises:
        FileFormatError: when one is damaged, or they are not the arrays of a set.
    """
    with _damage(folder, "folder of .npy files"):
        readers = {Path(name).stem: _file(folder / name) for name in names}
        return _source(folder, "npy", readers, list(names))
    raise AssertionError


def _source(path: Path, reader: str, readers: Mapping[str, _Read], present: list[str]) -> Source:
    """Return the examples and labels among named arrays, read; others are left unread."""
    roles: dict[str, dict[str, str]] = {}
    for name in readers:
        role = _role(name)
        if role is not None:
            part, what = role
            roles.setdefault(part, {}).setdefault(what, name)
    whole = {part: role for part, role in roles.items() if len(role) == 2}
    if "train" in roles or "test" in roles or not whole:
        _check_roles(path, roles, present)
    notes = []
    if "val" in whole:
        if "test" in whole or "train" not in whole:
            notes.append(f"the validation arrays {_pair(whole.pop('val'))} are not used")
        else:
            whole["test"] = whole.pop("val")
            notes.append("the validation arrays are taken to test on")
    if "train" in whole:
        whole.pop("", None)
    parts = {
        part or "all": Arrays(readers[role["examples"]](), readers[role["labels"]]())
        for part, role in sorted(whole.items(), key=lambda each: each[0] != "train")
    }
    return Source(
        path.resolve().name, reader, parts, notes,
        feature_names=_strings(readers, "feature_names"),
        class_names=_strings(readers, "class_names") or _strings(readers, "target_names"),
    )  # fmt: skip


def _role(name: str) -> tuple[str, str] | None:
    """Return the part ("train", "test", "val" or "") and "examples" or "labels", from a name."""
    words = re.findall(r"[a-z]+|\d+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    parts = [_PARTS[word] for word in words if word in _PARTS]
    rest = "".join(word for word in words if word not in _PARTS)
    if not parts:  # xtrain, ytest
        match = re.fullmatch(r"(x|y)(train|test|val)", rest)
        if match:
            rest, parts = match[1], [match[2]]
    kind = "examples" if rest in _EXAMPLES else "labels" if rest in _LABELS else None
    return (parts[0] if parts else "", kind) if kind and len(parts) < 2 else None


def _check_roles(path: Path, roles: Mapping[str, Mapping[str, str]], present: list[str]) -> None:
    """Raise FileFormatError unless training and test arrays are all there."""
    spelled = {"examples": "x", "labels": "y"}
    test = "val" if "val" in roles and "test" not in roles else "test"
    missing = [
        f"{spelled[what]}_{part}" for part in ("train", test) for what in ("examples", "labels")
        if what not in roles.get(part, {})
    ]  # fmt: skip
    if not missing:
        return
    if not roles.keys() & {"train", "test"}:
        missing = [name for name, what in (("X", "examples"), ("y", "labels"))
                   if what not in roles.get("", {})]  # fmt: skip
    raise FileFormatError(
        f"{path}: no {', '.join(missing)}; {_WANTED}, or a file of ImageSet.save; found "
        f"{', '.join(present[:12]) or 'none'}{', ...' if len(present) > 12 else ''}"
    )


def _pair(role: Mapping[str, str]) -> str:
    return " and ".join(role.values())


def _strings(readers: Mapping[str, _Read], name: str) -> list[str]:
    """Return an array of names, if there is one of them."""
    if name not in readers:
        return []
    values = readers[name]()
    return (
        [str(value) for value in values] if values.ndim == 1 and values.dtype.kind in "US" else []
    )


def _member(archive: zipfile.ZipFile, member: str) -> _Read:
    return lambda: _array(io.BytesIO(archive.read(member)), member)


def _file(path: Path) -> _Read:
    return lambda: _array(io.BytesIO(path.read_bytes()), path.name)


def _array(contents: io.BytesIO, what: str) -> NDArray[Any]:
    """Return the array in the bytes of a .npy file; nothing is unpickled."""
    version = np.lib.format.read_magic(contents)
    read = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
    if version[0] in read:
        shape, _, dtype = read[version[0]](contents)
        if dtype.hasobject:
            raise ValueError(f"{what}: {_OBJECTS}")
        size = math.prod(shape) * dtype.itemsize
        there = len(contents.getbuffer()) - contents.tell()
        if not 0 <= size <= there:
            raise ValueError(f"{what}: shape {shape} takes {size} bytes, there are {there}")
    contents.seek(0)
    return np.lib.format.read_array(contents, allow_pickle=False)


@contextmanager
def _damage(path: Path, what: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of NumPy, on headers of other versions
            yield
    except FileFormatError:
        raise
    except _DAMAGE as error:
        reason = _OBJECTS if "allow_pickle" in str(error) else str(error)
        raise FileFormatError(f"{path}: not a readable {what}: {reason}") from error


def _seen(start: bytes) -> str:
    """Return what the first bytes of a file look like, and what to do."""
    known = {
        b"\x93NUMPY": "it is one array, .npy; put examples and labels, X.npy and y.npy, into a "
        "folder and give that",
        b"PAR1": "it is a Parquet file; call it .parquet",
        b"\x89PNG": "it is a picture; wanted a folder of pictures by class",
        b"\xff\xd8": "it is a picture; wanted a folder of pictures by class",
        b"\x80": "it is a pickle, which is not loaded, as that could run code: save arrays by "
        "numpy.savez",
        b"\x1f\x8b": "it is compressed by gzip",
        b"\x89HDF": "it is an HDF5 file; save its arrays by numpy.savez",
    }
    for magic, text in known.items():
        if start.startswith(magic):
            return text
    if not start:
        return "it is empty"
    if all(32 <= byte < 127 or byte in b"\r\n\t" for byte in start):
        return "it is text; if it is a table, call it .csv"
    return f"it starts with {start.hex(' ')!r}"
