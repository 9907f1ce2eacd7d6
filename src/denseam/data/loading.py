"""Load examples by name, or from the files, folders, frames and bunches that people have."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, get_args, overload

import numpy as np

from denseam.checks import choice, whole
from denseam.data import setfiles
from denseam.data.archives import npy_names, read_npy_folder, read_npz
from denseam.data.assembly import Arrays, Kind, Source, assemble
from denseam.data.columns import table
from denseam.data.examples import Dataset, Examples
from denseam.data.featureset import FeatureSet
from denseam.data.folders import LARGEST, picture_folder
from denseam.data.formats import read_idx
from denseam.data.frames import arrow_folder, from_bunch, from_frame, is_bunch, is_frame, parquet
from denseam.data.imageset import ImageSet
from denseam.data.known import load_known
from denseam.data.pictures import SUFFIXES
from denseam.data.pixels import Scale
from denseam.data.registry import KNOWN, ROLES, KnownName
from denseam.data.textfiles import read_text
from denseam.errors import DataUnavailableError, FileFormatError, InputError
from denseam.files import there_is
from denseam.spelling import suggestion

What: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | Any
# train-images-idx3-ubyte, t10k-labels.idx1-ubyte.gz, emnist-letters-test-images-idx3-ubyte
_IDX_NAME = re.compile(
    r"(?:(?P<prefix>.+)-)?(?P<part>train|t10k|test)-(?P<kind>images|labels)"
    r"(?:[-.]idx\d(?:-\w+)?)?(?P<gz>\.gz)?"
)
_PARQUET = (".parquet", ".pq")
_TEXT = (".csv", ".tsv", ".txt", ".data", ".dat", ".tab")
_PACKED = (".gz", ".bz2", ".xz")
_PICKLE = "which is not loaded, as that could run code: save arrays by numpy.savez"
_OTHERS = {
    ".mat": "a file of MATLAB: load it with scipy.io.loadmat and save its arrays by numpy.savez",
    **dict.fromkeys((".h5", ".hdf5"), "an HDF5 file: save its arrays by numpy.savez"),
    **dict.fromkeys((".pkl", ".pickle"), f"a pickle, {_PICKLE}"),
    **dict.fromkeys((".pt", ".pth"), f"a file of PyTorch, {_PICKLE}"),
    **dict.fromkeys((".zip", ".tar"), "an archive: unpack it and give its folder"),
    **dict.fromkeys((".xlsx", ".xls"), "a file of Excel: save the sheet as CSV"),
    ".json": "a JSON file: wanted a table, such as CSV",
}


@overload
def load(name_or_path: KnownName, *, scale: None = None) -> Dataset[ImageSet]: ...
@overload
def load(
    name_or_path: What,
    *,
    scale: Scale | None = None,
    label: str | None = None,
    kind: Kind | None = None,
    largest: int = LARGEST,
) -> Dataset | Examples: ...
def load(
    name_or_path: What,
    *,
    scale: Scale | None = None,
    label: str | None = None,
    kind: Kind | None = None,
    largest: int = LARGEST,
) -> Dataset | Examples:
    """Return a training and a test set, or one set where the source has no test examples.

    The metadata ``notes`` of the sets say what was taken for what: units of pixels, the column of
    labels, files that were left out.

    Args:
        name_or_path: a known name, such as ``mnist`` (`denseam data` lists them); a data frame, or
            a bunch of scikit-learn; or a path of

            * a folder of pictures, ``CLASS/…``, or ``train/CLASS/…`` and ``test/CLASS/…``;
            * a table: CSV, TSV or Parquet; or a folder with one for training and one for test;
            * an ``.npz`` file (X and y; x_train, y_train, x_test, y_test; or their like);
            * a folder of such arrays as ``.npy`` files, or of IDX files;
            * a data set that ``datasets`` saved to disk;
            * a set that ``ImageSet.save`` or ``FeatureSet.save`` wrote.

            Known names come first: write ``./mnist`` for a folder of that name.
        scale: units of pixels, see :meth:`ImageSet.from_arrays`; found from the training pictures
            by default. Known sets and saved sets have theirs.
        label: the column of labels of a table; one with a usual name by default, else the last.
        kind: "pictures" or "features", where rows of numbers could be either.
        largest: the longer side of pictures by class, in pixels: larger ones are made smaller.

    Returns:
        A :class:`Dataset` with ``.train`` and ``.test``, or an :class:`ImageSet` or
        :class:`FeatureSet`, whose ``split`` makes a data set. ``mnist`` is unpacked once per
        process and then shared.

    Raises:
        InputError: when the name is unknown, or the data are not usable.
        FileFormatError: when a file is truncated, garbled or not the right one.
        DataUnavailableError: when the set is not on this machine and cannot be fetched; the message
            says which files to put where.
        MissingPackageError: for a file that takes a package that is not installed.
        SaveError: when it has to be fetched into a folder that cannot be written.

    >>> load("mnist").test
    ImageSet('mnist test', 10000x28x28 uint8, 10 classes)
    >>> load({"data": [[0.0, 1.5], [2.5, 0.5]], "target": ["cat", "dog"]}).class_names
    ('cat', 'dog')
    """
    if isinstance(name_or_path, str) and name_or_path in KNOWN:
        _refuse(name_or_path, scale)
        return load_known(KNOWN[name_or_path])
    kind = kind and choice("kind", kind, get_args(Kind))
    scale = scale and choice("scale", scale, get_args(Scale))
    if isinstance(name_or_path, Dataset | Examples):
        return name_or_path
    if not isinstance(name_or_path, str | os.PathLike):
        return _assembled("data", _source_of(name_or_path, label), scale, kind)
    path = Path(name_or_path)
    try:
        if there_is(path) and path.is_dir():
            largest = whole("largest", largest)
            return _assembled(path, _folder(path, label, largest), scale, kind)
        if there_is(path) and path.is_file():
            source = _file(path, label)
            if isinstance(source, Source):
                return _assembled(path, source, scale, kind)
            _refuse(path, scale)
            return _saved_set(source, path)
    except OSError as error:
        if isinstance(error, DataUnavailableError):
            raise
        raise DataUnavailableError(f"{path}: cannot be read: {error.strerror}") from error
    if path.suffix or len(path.parts) > 1:
        raise DataUnavailableError(f"{path}: no such folder, .npz file or image set file, or table")
    hint = suggestion(str(path), KNOWN) or (
        f"; known are {', '.join(KNOWN)}, or give the path of a folder of pictures or IDX files, "
        "of a table, an .npz file or an image set file"
    )
    raise InputError(f"no image set is called {str(path)!r}{hint}")


def _assembled(
    path: str | Path, source: Source, scale: Scale | None, kind: Kind | None
) -> Dataset | Examples:
    try:
        return assemble(source, scale=scale, kind=kind)
    except InputError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise InputError(f"{path}: {error}") from error


def _source_of(value: Any, label: str | None) -> Source:
    """Return a data frame, a bunch, or a pair of arrays as a source.

    Raises:
        InputError: for anything else.
    """
    if is_bunch(value):
        return from_bunch(value)
    if is_frame(value):
        return from_frame(value, label, "frame")
    if isinstance(value, tuple) and len(value) == 2:
        return Source("arrays", "arrays", {"all": Arrays(np.asarray(value[0]), value[1])})
    raise InputError(
        "load takes a name, a path, a data frame, a bunch of scikit-learn or a pair (X, y), got "
        f"{type(value).__name__}"
    )


def _saved_set(fields: dict[str, Any], path: Path) -> Examples:
    try:
        return FeatureSet(**fields) if "features" in fields else ImageSet(**fields)
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error


def _refuse(what: str | Path, scale: Scale | None) -> None:
    if scale is not None:
        raise InputError(f"{what} has known units; scale is for floating pixels by path")


# ---- files ---------------------------------------------------------------------------------------


def _suffix(path: Path) -> str:
    """Return the suffix in lower case, of a compressed file that of its contents."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _PACKED:
        return suffixes[-2] if len(suffixes) > 1 else ".txt"
    return suffixes[-1] if suffixes else ""


def _file(path: Path, label: str | None) -> Source | dict[str, Any]:
    """Return the contents of a file, as its suffix says, or its first bytes where that is odd.

    Raises:
        FileFormatError: for a file of another kind.
    """
    suffix = _suffix(path)
    if suffix == ".safetensors":
        return setfiles.read_safetensors(path)
    if suffix in _OTHERS:
        raise FileFormatError(f"{path} is {_OTHERS[suffix]}")
    if suffix in SUFFIXES:
        raise FileFormatError(f"{path} is one picture: wanted a folder of pictures by class")
    if suffix in (".npz", ".npy"):
        return read_npz(path)
    with path.open("rb") as file:
        start = file.read(4)
    if suffix in _PARQUET or start == b"PAR1":
        return parquet(path, {"all": [path]}, label)
    if start.startswith(b"PK") and suffix not in _TEXT:
        return read_npz(path)
    return table(path, "text", {"all": read_text(path)}, label)


# ---- folders -------------------------------------------------------------------------------------


def _folder(folder: Path, label: str | None, largest: int) -> Source:
    """Return the contents of a folder.

    Raises:
        DataUnavailableError: for a folder without anything that is read.
    """
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if not names:
        raise DataUnavailableError(f"{folder} is empty: wanted pictures by class, {_WANTED}")
    if any(_IDX_NAME.fullmatch(name) for name in names):
        return _idx_folder(folder)
    if {"dataset_dict.json", "state.json"} & set(names):
        return arrow_folder(folder, label)
    arrays = npy_names(folder)
    if arrays:
        return read_npy_folder(folder, arrays)
    source = _tables(folder, label) or picture_folder(folder, largest)
    if source is None:
        raise DataUnavailableError(_strange(folder, names))
    return source


_WANTED = (
    "CLASS/picture.png, tables (train.csv and test.csv), arrays (X.npy and y.npy) or "
    f"IDX files ({', '.join(ROLES)})"
)


def _strange(folder: Path, names: list[str]) -> str:
    flat = [name for name in names if Path(name).suffix.lower() in SUFFIXES]
    if flat:
        return (
            f"{folder} holds {len(flat)} pictures, such as {flat[0]}, whose class is unknown: put "
            "them into a folder for each class, CLASS/picture.png"
        )
    shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
    return (
        f"{folder} holds nothing that is read: no IDX file for {', '.join(ROLES)}; wanted "
        f"{_WANTED}; found {shown}"
    )


def _tables(folder: Path, label: str | None) -> Source | None:
    """Return the tables of a folder: training and test, or a single one."""
    files = sorted(
        path for place in (folder, folder / "data") if place.is_dir() for path in place.iterdir()
        if path.is_file() and not path.name.startswith(".")
    )  # fmt: skip
    for suffixes, is_text in ((_PARQUET, False), ((".csv", ".tsv", ".tab"), True)):
        mine = [path for path in files if _suffix(path) in suffixes]
        parts: dict[str, list[Path]] = {}
        for what, stems in (("train", ("train",)), ("test", ("test", "val"))):
            for stem in stems:
                parts.setdefault(what, [each for each in mine if each.name.startswith(stem)])
                if parts[what]:
                    break
                parts.pop(what)
        if len(parts) < 2 and len(mine) == 1:
            parts = {"all": mine}
        if len(parts) == 2 or "all" in parts:
            if not is_text:
                return parquet(folder, parts, label)
            texts = {what: read_text(paths[0]) for what, paths in parts.items()}
            return table(folder, "text", texts, label)
        if mine:
            raise InputError(
                f"{folder} holds the tables {', '.join(path.name for path in mine[:6])}: give one "
                "of them, or name two train and test"
            )
    return None


def _idx_folder(folder: Path) -> Source:
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
    parts = {
        part: Arrays(arrays[f"{part}-images"], arrays[f"{part}-labels"])
        for part in ("train", "test")
    }
    return Source(folder.resolve().name, "idx", parts, kind="pictures")


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
