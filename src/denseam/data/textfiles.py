"""Tables as text: CSV, TSV and their like. Delimiter, header and encoding are found."""

import codecs
import csv
import io
import re
from pathlib import Path

import numpy as np

from denseam.data.columns import Columns
from denseam.data.formats import unpack
from denseam.errors import DataUnavailableError, FileFormatError

_DELIMITERS = (",", ";", "\t", "|")
_SAMPLE = 100  # lines that are looked at
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip


def read_text(path: Path) -> Columns:
    """Return the columns of a text file, plain or compressed; cells of text are strings.

    Raises:
        FileFormatError: when it is no table: empty, binary, or with lines of different lengths.
        DataUnavailableError: when it cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataUnavailableError(f"{path}: cannot be read: {error.strerror}") from error
    text = _decoded(unpack(data, str(path)), path)
    lines = text.lstrip("\n").split("\n", _SAMPLE)[:_SAMPLE]
    delimiter = _delimiter(lines)
    if delimiter == " ":
        text = re.sub(r"[ \t]+", " ", re.sub(r"(?m)^[ \t]+|[ \t]+$", "", text))
        lines = text.lstrip("\n").split("\n", _SAMPLE)[:_SAMPLE]
    sample = [row for row in _rows(io.StringIO("\n".join(lines)), delimiter, path) if row]
    if not sample:
        raise FileFormatError(f"{path} is empty: wanted a table")
    header = _has_header(sample)
    names = _names(sample[0] if header else [], len(sample[-1]))
    quick = _numbers(text, delimiter, header=header, columns=len(names))
    if quick is not None:
        return {name: quick[:, i] for i, name in enumerate(names)}
    return _texts(text, delimiter, names, header=header, path=path)


def _decoded(data: bytes, path: Path) -> str:
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # any bytes; older programs on Windows write its like
    odd = sum(not (c.isprintable() or c in "\r\n\t\f") for c in text[:4096])
    if odd > 0.02 * len(text[:4096]):
        raise FileFormatError(f"{path} is not text: it starts with {data[:8].hex(' ')!r}")
    text = text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    return re.sub(r"\A(?:#[^\n]*\n)*# ?(?=[^\n]*\n)", "", text)  # numpy.savetxt marks its header


def _delimiter(lines: list[str]) -> str:
    """Return what most lines have in equal numbers; white space where nothing else is there."""
    best, found = 0.0, " "
    for delimiter in _DELIMITERS:
        counts = [line.count(delimiter) for line in lines if line.strip()]
        if any(counts):
            usual = max(set(counts), key=counts.count)
            score = counts.count(usual) / len(counts) * (usual > 0)
            if score > best + 1e-9:
                best, found = score, delimiter
    alone = all(" " not in line.strip() for line in lines)
    return "," if found == " " and alone else found


def _rows(text: io.StringIO, delimiter: str, path: Path) -> "list[list[str]]":
    try:
        return [row for row in csv.reader(text, delimiter=delimiter, skipinitialspace=True) if row]
    except csv.Error as error:
        raise FileFormatError(f"{path}: not a table: {error}") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().replace(",", "."))
    except ValueError:
        return False
    return True


def _has_header(rows: list[list[str]]) -> bool:
    """Return whether the first row names the columns.

    It has texts above numbers, texts throughout, or the numbers 0, 1, 2 of pandas.
    """
    first, rest = rows[0], rows[1:]
    bare = first[1:] if not first[0].strip() else first
    if len(bare) > 1 and bare == [str(i) for i in range(len(bare))]:
        return True  # pandas, for columns without names
    texts = [bool(cell.strip()) and not _is_number(cell) for cell in first]
    if not rest:
        return all(texts)
    for i, text in enumerate(texts):
        cells = [row[i] for row in rest if i < len(row) and row[i].strip()]
        if text and cells and sum(map(_is_number, cells)) > len(cells) / 2:
            return True
    return all(texts)


def _names(header: list[str], count: int) -> list[str]:
    """Return a name for each column: those of the header, each once, or column numbers from 1."""
    if not header:
        return [f"column {i}" for i in range(1, count + 1)]
    names: list[str] = []
    for name in (cell.strip() for cell in header):
        number, unique = 2, name
        while unique in names:
            unique, number = f"{name} ({number})", number + 1
        names.append(unique)
    return names


def _numbers(text: str, delimiter: str, *, header: bool, columns: int) -> np.ndarray | None:
    """Return a table of numbers, (M, columns); None where a cell is none."""
    if not text.partition("\n")[2 if header else 0].strip():
        return None
    try:
        numbers = np.loadtxt(
            io.StringIO(text), np.float64, comments=None, delimiter=delimiter,
            skiprows=int(header), quotechar='"', ndmin=2,
        )  # fmt: skip
    except ValueError:
        return None
    return numbers if numbers.shape[0] and numbers.shape[1] == columns else None


def _texts(text: str, delimiter: str, names: list[str], *, header: bool, path: Path) -> Columns:
    rows = _rows(io.StringIO(text), delimiter, path)[int(header) :]
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    for number, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise FileFormatError(
                f"{path}: row {number} has {len(row)} cells, wanted {len(names)}"
                f" ({', '.join(names[:6])}{', ...' if len(names) > 6 else ''})"
            )
    if not rows:
        raise FileFormatError(f"{path}: a header without rows")
    return {name: np.array([row[i] for row in rows], str) for i, name in enumerate(names)}
