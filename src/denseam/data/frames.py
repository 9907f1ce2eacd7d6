"""Tables and sets of other libraries: data frames, bunches of scikit-learn, Parquet, datasets.

Nothing here imports pandas or polars: a frame is what has ``columns``. Files of Parquet and Arrow
take pyarrow.
"""

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseam.data.assembly import Arrays, Source
from denseam.data.columns import Columns, table
from denseam.data.folders import one_size
from denseam.data.pictures import pages
from denseam.errors import DenseAMError, FileFormatError, InputError, MissingPackageError


def is_frame(value: Any) -> bool:
    """Return whether a value is a data frame, of pandas, polars or pyarrow."""
    return hasattr(value, "columns") and hasattr(value, "__getitem__") and hasattr(value, "shape")


def is_bunch(value: Any) -> bool:
    """Return whether a value is a data set as scikit-learn returns it: ``data`` and ``target``."""
    return isinstance(value, Mapping) and {"data", "target"} <= value.keys()


def from_frame(frame: Any, label: str | None, name: str) -> Source:
    """Return the rows of a data frame as examples and labels."""
    return table(name, "frame", {"all": _frame_columns(frame)}, label)


def from_bunch(bunch: Mapping[str, Any]) -> Source:
    """Return a data set of scikit-learn; pictures where it has ``images``.

    Raises:
        InputError: where the target is missing.
    """
    target = bunch["target"]
    if target is None:
        raise InputError("the bunch has no target: wanted data and target")
    images, data = bunch.get("images"), bunch["data"]
    if images is not None:
        examples, kind = np.asarray(images), "pictures"
    elif is_frame(data):
        columns = {**_frame_columns(data), "target": np.asarray(target)}
        return table("bunch", "bunch", {"all": columns}, "target")
    else:
        examples, kind = np.asarray(data.toarray() if hasattr(data, "toarray") else data), None
    names = bunch.get("target_names")
    labels = np.asarray(target)
    whole = labels.dtype.kind in "iu" and names is not None and len(names) > int(labels.max())
    names = [str(each) for each in names] if names is not None and whole else []
    features = bunch.get("feature_names")
    return Source(
        "bunch", "bunch", {"all": Arrays(examples, labels)},
        feature_names=[str(each) for each in features] if features is not None and not kind else [],
        class_names=names, kind="pictures" if kind else "features",
    )  # fmt: skip


def parquet(path: Path, parts: Mapping[str, Sequence[Path]], label: str | None) -> Source:
    """Return Parquet files as examples and labels; a part may lie in several files.

    Raises:
        MissingPackageError: when pyarrow is not installed.
        FileFormatError: when a file is damaged.
    """
    arrow = _pyarrow()

    def read(file: Path) -> Any:
        return import_module("pyarrow.parquet").ParquetFile(file).read()

    tables = {
        what: _joined(arrow, [_read(file, read) for file in files]) for what, files in parts.items()
    }
    return _from_tables(path, "parquet", tables, label)


def arrow_folder(folder: Path, label: str | None) -> Source:
    """Return a data set that ``datasets`` has saved to disk.

    Raises:
        MissingPackageError: when pyarrow is not installed.
        FileFormatError: when a file is damaged or missing.
    """
    arrow = _pyarrow()
    splits, here = [folder], {path.name for path in folder.iterdir()}
    if (folder / "dataset_dict.json").is_file():
        names = _json(folder / "dataset_dict.json").get("splits")
        splits = [folder / name for name in names or () if isinstance(name, str) and name in here]
        if not splits:
            raise FileFormatError(f"{folder}: dataset_dict.json names no splits that are there")

    def read(file: Path) -> Any:
        source = arrow.py_buffer(file.read_bytes())  # not mapped: the file may change
        try:
            rows = arrow.ipc.open_stream(source).read_all()
        except arrow.ArrowInvalid:
            rows = arrow.ipc.open_file(source).read_all()
        rows.validate(full=True)  # damage would end the process, not the reading
        return rows

    tables = {}
    for split in splits:
        state = _json(split / "state.json")
        listed = state.get("_data_files")
        names = (
            [each.get("filename") for each in listed if isinstance(each, dict)]
            if (isinstance(listed, list))
            else []
        )
        if not names or not all(isinstance(name, str) and Path(name).name for name in names):
            raise FileFormatError(f"{split}: state.json names no files of data")
        files = [split / Path(name).name for name in names]
        tables[split.name if len(splits) > 1 else "all"] = _joined(
            arrow, [_read(file, read) for file in files]
        )
    return _from_tables(folder, "datasets", _known_parts(tables), label)


def _known_parts(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return train and test of the splits, or the only one."""
    if len(tables) == 1:
        return {"all": next(iter(tables.values()))}
    test = next((name for name in ("test", "validation", "valid", "val") if name in tables), None)
    if "train" not in tables or test is None:
        raise InputError(f"wanted the splits train and test, got {', '.join(tables)}")
    return {"train": tables["train"], "test": tables[test]}


def _from_tables(path: Path, reader: str, tables: Mapping[str, Any], label: str | None) -> Source:
    first = next(iter(tables.values()))
    kinds = _feature_kinds(first)
    parts = {what: {name: _column(path, each[name], kinds.get(name)) for name in each.column_names}
             for what, each in tables.items()}  # fmt: skip
    source = table(path, reader, parts, label)
    if any(kind.get("_type") == "Image" for kind in kinds.values()):
        source.kind = "pictures"
    return source


def _feature_kinds(table: Any) -> dict[str, dict[str, Any]]:
    """Return what ``datasets`` notes about each column: its type, and names of classes."""
    try:
        text = (table.schema.metadata or {}).get(b"huggingface", b"{}")
        features = json.loads(text).get("info", {}).get("features", {})
    except (ValueError, AttributeError):
        return {}
    return {name: kind for name, kind in features.items() if isinstance(kind, dict)}


def _column(path: Path, column: Any, kind: Mapping[str, Any] | None) -> NDArray[Any]:
    """Return a column of Arrow as numbers (M, ...), texts, or pictures."""
    kind = kind or {}
    values = column.to_pylist() if _is_nested(column) else None
    if values and isinstance(values[0], dict) and "bytes" in values[0]:
        return _pictures(path, values)
    if values is None and str(column.type) in ("binary", "large_binary"):
        return _pictures(path, [{"bytes": each} for each in column.to_pylist()])
    if values is None:
        try:
            array = column.to_numpy()
        except (ValueError, NotImplementedError):
            array = np.array(column.to_pylist(), dtype=object)
        names = kind.get("names")
        if (
            names
            and array.dtype.kind in "iu"
            and len(array)
            and 0 <= array.min() <= array.max() < len(names)
        ):
            return np.asarray(np.array(names, str)[array])
        return _plain(array)
    return _stacked(values, str(path))


def _is_nested(column: Any) -> bool:
    return any(word in str(column.type) for word in ("list", "struct", "extension"))


def _pictures(path: Path, values: Sequence[Mapping[str, Any] | None]) -> NDArray[Any]:
    """Return encoded pictures of one size, (M, H, W) or (M, 3, H, W)."""
    read = []
    for row, value in enumerate(values, 1):
        data = (value or {}).get("bytes")
        if data is None:
            raise FileFormatError(f"{path}: row {row} has no picture in it")
        read.append(next(iter(pages(data, name=f"{path}, row {row}"))).numpy())
    return one_size(read, [])


def _stacked(values: Sequence[Any], what: str) -> NDArray[Any]:
    """Return nested lists of equal lengths as numbers (M, ...).

    Raises:
        InputError: where lengths differ, or an element is no number.
    """
    try:
        array = np.array(values)
    except ValueError as error:
        raise InputError(f"{what}: lists of different lengths are no examples: {error}") from error
    if array.dtype.kind not in "iufb":
        raise InputError(f"{what}: a column holds {array.dtype} in lists; wanted numbers")
    return array


def _frame_columns(frame: Any) -> Columns:
    names = getattr(frame, "column_names", None) or list(frame.columns)
    return {str(name): _plain(np.asarray(_series(frame[name]))) for name in names}


def _series(series: Any) -> Any:
    return series.to_numpy() if hasattr(series, "to_numpy") else series


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of objects as numbers, strings, or (M, ...) where they are lists."""
    if array.dtype.kind in "mM":
        return array.astype(str)
    if array.dtype.kind != "O" or not len(array):
        return array
    if isinstance(array[0], list | tuple | np.ndarray):
        return _stacked([np.asarray(each).tolist() for each in array], "data frame")
    if all(isinstance(each, bool | np.bool_) for each in array):
        return array.astype(bool)
    if all(isinstance(each, int | float | np.number) for each in array):
        return array.astype(np.float64)
    return np.array(["" if _is_missing(each) else str(each) for each in array])


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value  # noqa: PLR0124


def _joined(arrow: Any, tables: Sequence[Any]) -> Any:
    return tables[0] if len(tables) == 1 else arrow.concat_tables(tables, promote_options="default")


def _read(file: Path, read: Any) -> Any:
    try:
        return read(file)
    except DenseAMError:
        raise
    except FileNotFoundError as error:
        raise FileFormatError(f"{file} is missing") from error
    except Exception as error:  # pyarrow has many errors, and raises others
        reason = f"{error}".splitlines()[0] if f"{error}" else type(error).__name__
        raise FileFormatError(f"{file}: not a whole file: {reason}") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: not a readable description: {error}") from error
    if not isinstance(value, dict):
        raise FileFormatError(f"{path}: not a readable description")
    return value


def _pyarrow() -> Any:
    try:
        return import_module("pyarrow.ipc") and import_module("pyarrow")
    except ImportError as error:
        raise MissingPackageError(
            "Parquet files and saved datasets need pyarrow: pip install 'denseam[tables]'"
        ) from error
