"""Tables: find the column of labels, and make numbers of the others."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from denseam.data.assembly import Arrays, Source
from denseam.errors import InputError

Columns = Mapping[str, NDArray[Any]]
"""A table: (M, ...) numbers, or (M,) strings or objects, by the names of columns."""

_LABEL_NAMES = (
    *("label", "labels", "target", "targets", "class", "classes", "y", "species", "category"),
    *("classlabel", "classname", "outcome", "diagnosis", "variety", "output"),
)
_MOST_CATEGORIES = 32  # of a column of texts that becomes numbers
_MISSING = {"", "na", "n/a", "nan", "null", "none", "?", "-", "<na>", "#n/a", "missing"}
_TRUTHS = {"true": 1.0, "false": 0.0}
_PIXEL = re.compile(r"(?:pixel|pix|px|p)[ _.-]?\d+|\d+x\d+", re.IGNORECASE)


def table(path: str | Path, reader: str, parts: Mapping[str, Columns], label: str | None) -> Source:
    """Return tables of one or more parts as examples and labels.

    Columns of numbers are features. A column of texts with few different values becomes a column
    of 0 and 1 for each of them; one with many is left out, and so is one that counts the rows.

    Args:
        path: for messages.
        reader: what kind of source it is.
        parts: tables with the same columns.
        label: the name of the column of labels; by default one with a usual name, else the last.

    Raises:
        InputError: for a table without labels or numbers, and for cells that are missing.
    """
    name = Path(path).resolve().name
    notes: list[str] = []
    first = next(iter(parts.values()))
    for what, columns in parts.items():
        if set(columns) != set(first):
            odd = sorted(set(columns) ^ set(first))
            raise InputError(f"{path}: not every part has the column {odd[0]!r} ({what})")
    chosen = _label_column(path, [*first], label, notes)
    names = [column for column in first if column != chosen]
    joint = {column: _joined([columns[column] for columns in parts.values()]) for column in names}
    wide = [column for column, values in joint.items() if values.ndim > 1]
    if len(wide) == 1 and len(names) > 1 and joint[wide[0]][0].size > 16:
        others = ", ".join(column for column in names if column not in wide)
        notes.append(f"column {wide[0]!r} holds the examples; left out: {others}")
        joint = {wide[0]: joint[wide[0]]}
    lengths = [len(columns[chosen]) for columns in parts.values()]
    values, feature_names, kind = _examples(path, joint, notes, lengths)
    cut = np.split(values, np.cumsum(lengths)[:-1])
    rows = {
        what: Arrays(each, _labels(columns[chosen], chosen, path))
        for each, (what, columns) in zip(cut, parts.items(), strict=True)
    }
    return Source(name, reader, rows, notes, feature_names=feature_names, kind=kind)


def _label_column(path: str | Path, names: list[str], label: str | None, notes: list[str]) -> str:
    if label is not None:
        match = [name for name in names if name == label] or [
            name for name in names if name.strip().lower() == label.strip().lower()
        ]
        if not match:
            raise InputError(f"{path}: no column {label!r}; it has {_listed(names)}")
        return match[0]
    if len(names) < 2:
        raise InputError(
            f"{path}: one column ({_listed(names)}): wanted features and a column of labels"
        )
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in reversed(names)}
    usual = [plain[name] for name in _LABEL_NAMES if name in plain]
    chosen = usual[0] if usual else names[-1]
    why = "" if usual else ", the last one"
    notes.append(f"labels are column {chosen!r}{why} (another by --label, label=)")
    return chosen


def _labels(column: NDArray[Any], name: str, path: str | Path) -> NDArray[Any]:
    if column.dtype.kind != "U":
        return column
    missing = [row for row, cell in enumerate(column) if cell.strip().lower() in _MISSING]
    if missing:
        raise InputError(
            f"{path}: row {missing[0] + 1} has no label in column {name!r}: fill it in, or leave "
            f"out the row; {len(missing)} such in all"
        )
    numbers = _numbers(column)
    return np.char.strip(column) if numbers is None or np.isnan(numbers).any() else numbers


def _examples(
    path: str | Path, columns: Columns, notes: list[str], lengths: Sequence[int]
) -> tuple[NDArray[Any], list[str], Any]:
    """Return the examples (M, ...), the names of features, and the kind where it is clear."""
    if len(columns) == 1:
        (values,) = columns.values()
        if values.ndim > 1:
            return values, [], "pictures" if values.ndim > 2 else "features"
    made: dict[str, NDArray[Any]] = {}
    dropped: list[str] = []
    for name, values in columns.items():
        made.update(_features(path, name, values, dropped, lengths))
    if dropped:
        notes.append(f"left out: {'; '.join(dropped)}")
    if not made:
        raise InputError(f"{path}: no column of numbers among {_listed([*columns])}")
    grid = np.stack([*made.values()], axis=1)
    side = round(len(made) ** 0.5)
    if len(made) == side * side >= 16 and all(_PIXEL.fullmatch(name.strip()) for name in made):
        notes.append(f"columns {next(iter(made))} ... are the pixels of {side} x {side} pictures")
        return grid, [], "pictures"
    return grid, [*made], "features"


def _features(
    path: str | Path, name: str, values: NDArray[Any], dropped: list[str], lengths: Sequence[int]
) -> dict[str, NDArray[Any]]:
    """Return the columns of numbers that a column becomes; none where it is left out."""
    if values.ndim > 1:
        flat = values.reshape(len(values), -1)
        return {f"{name}[{i}]": flat[:, i] for i in range(flat.shape[1])}
    if values.dtype.kind in "iufb":
        numbers = values.astype(np.float64)
    else:
        texts = values.astype(str)
        parsed = _numbers(texts)
        if parsed is None:
            return _categories(name, texts, dropped)
        numbers = parsed
        bad = np.flatnonzero(~np.isfinite(numbers))
        if len(bad):
            cell = texts[bad[0]].strip()
            what = "empty" if cell == "" else repr(cell)
            raise InputError(
                f"{path}: row {bad[0] + 1}, column {name!r} is {what}: fill it in, or leave out "
                f"the row; {len(bad)} such in all"
            )
    if _counts_rows(name, numbers, lengths):
        dropped.append(f"{name!r}, which counts the rows")
        return {}
    return {name: numbers}


def _categories(name: str, texts: NDArray[Any], dropped: list[str]) -> dict[str, NDArray[Any]]:
    distinct = np.unique(texts)
    if len(distinct) > min(_MOST_CATEGORIES, max(2, len(texts) // 2)):
        dropped.append(f"{name!r}, {len(distinct)} different texts")
        return {}
    return {f"{name}={value}": (texts == value).astype(np.float64) for value in distinct}


def _numbers(texts: NDArray[Any]) -> NDArray[Any] | None:
    """Return texts as numbers, NaN where one is none; None where fewer than half are numbers."""
    try:
        return texts.astype(np.float64)
    except ValueError:
        numbers = np.array([_number(text) for text in texts])
    real = int(np.isfinite(numbers).sum())
    blank = sum(text.strip().lower() in _MISSING for text in texts)
    return numbers if real and 2 * real > len(texts) - blank else None


def _number(text: str) -> float:
    plain = text.strip().lower()
    if plain in _TRUTHS:
        return _TRUTHS[plain]
    for spelling in (plain, plain.replace(",", ".")):  # 5,1 where cells end with ;
        try:
            return float(spelling)
        except ValueError:
            continue
    return float("nan")


def _counts_rows(name: str, numbers: NDArray[Any], lengths: Sequence[int]) -> bool:
    """Return whether a column without a name, or called index or id, counts the rows."""
    plain = re.sub(r"[^a-z]", "", name.lower())
    if plain not in ("", "unnamed", "index", "id", "row", "rownames", "levelO", "indexlevel"):
        return False
    steps = np.concatenate([np.diff(each) for each in np.split(numbers, np.cumsum(lengths)[:-1])])
    return bool(len(steps)) and bool((steps == 1).all() or (plain == "id" and _distinct(numbers)))


def _distinct(numbers: NDArray[Any]) -> bool:
    return len(np.unique(numbers)) == len(numbers)


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if len(parts) == 1:
        return parts[0]
    if len({part.shape[1:] for part in parts}) > 1:
        raise InputError(f"examples have shapes {', '.join(str(part.shape) for part in parts)}")
    return np.concatenate(parts)


def _listed(names: Iterable[str]) -> str:
    names = [*names]
    return ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
