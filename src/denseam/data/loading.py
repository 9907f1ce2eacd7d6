"""Load images by name, or by the path of a folder, an ``.npz`` or a ``.safetensors`` file."""

import lzma
import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from denseam.data import setfiles
from denseam.data.examples import Dataset, Examples
from denseam.data.featureset import FeatureSet
from denseam.data.formats import read_idx
from denseam.data.imageset import ImageSet
from denseam.data.known import load_known
from denseam.data.pixels import Scale
from denseam.data.registry import KNOWN, ROLES, KnownName
from denseam.errors import DataUnavailableError, FileFormatError, InputError
from denseam.files import there_is
from denseam.spelling import suggestion

__all__ = ["load"]

_NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")
# What zipfile and NumPy raise over a damaged file. A spoilt byte may ask for a password
# (RuntimeError), another compression, an array larger than the memory, or a header that is
# no Python (TokenError, SyntaxError).
_DAMAGE = (
    *(ValueError, TypeError, LookupError, OSError, EOFError, RuntimeError, MemoryError),
    *(OverflowError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, TokenError, SyntaxError),
)
# train-images-idx3-ubyte, t10k-labels.idx1-ubyte.gz, emnist-letters-test-images-idx3-ubyte
_IDX_NAME = re.compile(
    r"(?:(?P<prefix>.+)-)?(?P<part>train|t10k|test)-(?P<kind>images|labels)"
    r"(?:[-.]idx\d(?:-\w+)?)?(?P<gz>\.gz)?"
)


@overload
def load(name_or_path: KnownName, *, scale: None = None) -> Dataset[ImageSet]: ...
@overload
def load(
    name_or_path: str | os.PathLike[str], *, scale: Scale | None = None
) -> Dataset | Examples: ...
def load(name_or_path: str | os.PathLike[str], *, scale: Scale | None = None) -> Dataset | Examples:
    """Return a training and a test set, or one image set from the file that it was saved to.

    Args:
        name_or_path: a known name (``mnist``, ``fashion-mnist``, ``kmnist``, ``emnist-letters``,
            ``usps``), or the path of a folder of IDX files, of an ``.npz`` file with x_train,
            y_train, x_test and y_test, or of an image set file (``.safetensors`` or ``.npz``, see
            :meth:`ImageSet.save`). Known names come first: write ``./mnist`` for a folder of that
            name.
        scale: units of floating pixels by path, see :meth:`ImageSet.from_arrays`. Known sets and
            image set files have theirs.

    Returns:
        A :class:`Dataset` with ``.train`` and ``.test``; for an image set file the
        :class:`ImageSet`. ``mnist`` is unpacked once per process and then shared.

    Raises:
        InputError: when the name is unknown, or the data are not usable.
        FileFormatError: when a file is truncated, garbled or not the right one.
        DataUnavailableError: when the set is not on this machine and cannot be fetched; the message
            says which files to put where.
        SaveError: when it has to be fetched into a folder that cannot be written.

    >>> load("mnist").test
    ImageSet('mnist test', 10000x28x28 uint8, 10 classes)
    """
    if isinstance(name_or_path, str) and name_or_path in KNOWN:
        _refuse_scale(name_or_path, scale)
        return load_known(KNOWN[name_or_path])
    if not isinstance(name_or_path, str | os.PathLike):
        raise InputError(f"load takes a name or a path, got {type(name_or_path).__name__}")
    path = Path(name_or_path)
    if there_is(path) and path.is_dir():
        return _load_folder(path, scale)
    if there_is(path) and path.is_file():
        return _load_file(path, scale)
    if path.suffix or len(path.parts) > 1:
        raise DataUnavailableError(f"{path}: no such folder, .npz file or image set file")
    hint = suggestion(str(path), KNOWN) or (
        f"; known are {', '.join(KNOWN)}, or give the path of a folder of IDX files, of an .npz "
        "file or of an image set file"
    )
    raise InputError(f"no image set is called {str(path)!r}{hint}")


def _load_file(path: Path, scale: Scale | None) -> Dataset | Examples:
    if path.suffix.lower() != ".safetensors":
        return _load_npz(path, scale)
    _refuse_scale(path, scale)
    return _image_set(setfiles.read_safetensors(path), path)


def _image_set(fields: dict[str, Any], path: Path) -> ImageSet | FeatureSet:
    try:
        return FeatureSet(**fields) if "features" in fields else ImageSet(**fields)
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error


def _refuse_scale(what: str | Path, scale: Scale | None) -> None:
    if scale is not None:
        raise InputError(f"{what} has known units; scale is for floating pixels by path")


def _load_folder(folder: Path, scale: Scale | None) -> Dataset:
    paths = _find_idx(folder)
    arrays = {role: read_idx(path) for role, path in paths.items()}
    # EMNIST's own files hold each image transposed, and count the letters from 1.
    stem = paths["train-images"].name
    if stem.startswith("emnist-"):
        for role in ("train-images", "test-images"):
            if arrays[role].ndim == 3:
                arrays[role] = arrays[role].transpose(0, 2, 1)
    if stem.startswith("emnist-letters-"):
        for role in ("train-labels", "test-labels"):
            arrays[role] = arrays[role].astype(np.int64) - 1
    return _dataset(folder, [arrays[role] for role in ROLES], scale)


def _find_idx(folder: Path) -> dict[str, Path]:
    """Return the four IDX files of a folder by role; of a file and its .gz, the plain one."""
    candidates: dict[str, dict[str, Path]] = {role: {} for role in ROLES}
    for path in sorted(folder.iterdir()):
        match = _IDX_NAME.fullmatch(path.name)
        if match and path.is_file():
            part = "train" if match["part"] == "train" else "test"
            # The plain file sorts before its .gz and stays.
            stem = path.name.removesuffix(".gz")
            candidates[f"{part}-{match['kind']}"].setdefault(stem, path)
    missing = [role for role, paths in candidates.items() if not paths]
    if missing:
        raise DataUnavailableError(
            f"{folder}: no IDX file for {', '.join(missing)}; wanted {', '.join(ROLES)}, named "
            "like train-images-idx3-ubyte or t10k-labels-idx1-ubyte.gz"
        )
    for role, paths in candidates.items():
        if len(paths) > 1:
            raise InputError(f"{folder}: more than one file for {role}: {', '.join(paths)}")
    return {role: next(iter(paths.values())) for role, paths in candidates.items()}


def _load_npz(path: Path, scale: Scale | None) -> Dataset | Examples:
    try:
        with path.open("rb") as file:  # np.load leaves a file of its own open when it fails
            contents = _read_npz(np.load(file, allow_pickle=False), path)
    except _DAMAGE as error:
        if isinstance(error, FileFormatError):
            raise
        # Pickled objects end here too: they are refused, never loaded.
        raise FileFormatError(f"{path}: not a readable .npz file of numbers: {error}") from error
    if isinstance(contents, Examples):
        _refuse_scale(path, scale)
        return contents
    return _dataset(path, contents, scale)


def _read_npz(bundle: Any, path: Path) -> list[NDArray[Any]] | Examples:
    if not isinstance(bundle, np.lib.npyio.NpzFile):
        raise FileFormatError(f"{path}: one array (.npy); wanted an .npz file")
    with bundle:
        if setfiles.TEXT in bundle and bundle.zip is not None:
            return _image_set(setfiles.read_npz(bundle.zip, path), path)
        missing = [key for key in _NPZ_KEYS if key not in bundle]
        if missing:
            raise FileFormatError(
                f"{path}: no {', '.join(missing)}; wanted the arrays {', '.join(_NPZ_KEYS)}, "
                f"or a file of ImageSet.save; found {', '.join(bundle) or 'none'}"
            )
        return [bundle[key] for key in _NPZ_KEYS]


def _dataset(path: Path, arrays: Sequence[NDArray[Any]], scale: Scale | None) -> Dataset:
    """Make a data set of x_train, y_train, x_test, y_test; training labels fix the classes."""
    name = path.resolve().name
    metadata = {"source": name}
    try:
        train = ImageSet.from_arrays(
            arrays[0], arrays[1], name=f"{name} train", scale=scale, metadata=metadata
        )
        test = ImageSet.from_arrays(
            arrays[2],
            arrays[3],
            name=f"{name} test",
            scale=scale,
            n_classes=train.n_classes,
            metadata=metadata,
        )
        return Dataset(name, train, test)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
