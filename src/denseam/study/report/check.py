"""What must be true of results before a page is made of them."""

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from typing import Any

from denseam.errors import InputError

__all__ = ["VERDICTS", "check"]

VERDICTS = ("reproduced", "better", "not reproduced", "cannot be compared")

_KEYS: dict[str, tuple[str, ...]] = {
    "dataset": ("name", "digest", "n_train", "n_test"),
    "environment": (
        *("date", "processor", "cores", "memory_gib", "system", "versions", "threads", "seed"),
    ),
    "models": (
        *("name", "power", "temperature", "n_memories", "digest", "source", "epochs", "seed"),
        *("command", "seeds"),
    ),
    "stages": ("name", "title", "seconds", "key", "command", "reused"),
    "rows": ("id", "stage", "what", "value", "low", "high", "count", "unit", "command"),
    "claims": ("id", "where", "claim", "paper", "rows", "beside", "verdict", "note"),
    "tables": ("id", "title", "stage", "caption", "columns", "rows"),
    "figures": ("id", "title", "caption", "stage", "command", "file"),
}
_IDENTITY = {"models": "name", "stages": "name"}  # the others have an id


def check(results: Mapping[str, Any], pictures: Mapping[str, bytes]) -> None:
    """Say what is wrong with results, if anything is.

    Raises:
        InputError: for a missing part, a repeated or unknown id, an unknown verdict, a number that
            is none, or a figure without its picture.
    """
    _need("results", results, ("denseam", "title", "command", "quick", "quick_note", *_KEYS))
    for part, keys in _KEYS.items():
        if isinstance(results[part], Mapping):
            _need(part, results[part], keys)
            continue
        for i, entry in enumerate(results[part]):
            _need(f"{part}[{i}]", entry, keys)
        _check_distinct(part, [e[_IDENTITY.get(part, "id")] for e in results[part]])
    _check_date(results["environment"]["date"])
    for row in results["rows"]:
        _check_number(row)
    _check_references(results)
    for figure in results["figures"]:
        if figure["id"] not in pictures:
            raise InputError(
                f"figure {figure['id']!r} has no picture; pictures given: {_listed(pictures)}"
            )


def _check_references(results: Mapping[str, Any]) -> None:
    """Everything that is named exists."""
    rows = {row["id"] for row in results["rows"]}
    stages = {stage["name"] for stage in results["stages"]}
    for part in ("rows", "tables", "figures"):
        for entry in results[part]:
            if entry["stage"] not in stages:
                raise InputError(
                    f"{part}: {entry['id']!r} is of stage {entry['stage']!r}, which is not among "
                    f"the stages: {_listed(stages)}"
                )
    for claim in results["claims"]:
        if claim["verdict"] not in VERDICTS:
            raise InputError(
                f"claim {claim['id']!r}: verdict {claim['verdict']!r}, wanted one of "
                f"{', '.join(VERDICTS)}"
            )
        _check_known(f"claim {claim['id']!r}", [*claim["rows"], *claim["beside"]], rows)
    for table in results["tables"]:
        _check_table(table, rows)
    for model in results["models"]:
        for seed in model["seeds"]:
            _need(f"model {model['name']!r}, seeds", seed, ("seed", "epochs", "error_row"))
        named = [seed["error_row"] for seed in model["seeds"] if seed["error_row"] is not None]
        _check_known(f"model {model['name']!r}, seeds", named, rows)


def _check_table(table: Mapping[str, Any], rows: set[str]) -> None:
    """Cells are rows, nothing, or words; as many as there are columns, less one for the heads."""
    where = f"table {table['id']!r}"
    lengths = set()
    for i, line in enumerate(table["rows"]):
        _need(f"{where}, row {i}", line, ("head", "cells"))
        lengths.add(len(line["cells"]))
        for cell in line["cells"]:
            if isinstance(cell, Mapping):
                _need(f"{where}, row {i}", cell, ("text",))
            elif cell is not None:
                _check_known(where, [cell], rows)
    if not lengths <= {len(table["columns"]) - 1}:
        raise InputError(
            f"{where}: {len(table['columns'])} columns, and rows of {_listed(lengths)} cells"
        )


def _check_number(row: Mapping[str, Any]) -> None:
    where = f"row {row['id']!r}"
    if row["value"] is None or (row["low"] is None) != (row["high"] is None):
        raise InputError(
            f"{where}: value {row['value']}, interval {row['low']} to {row['high']}; wanted a "
            "number, and both ends of the interval or neither"
        )
    for key in ("value", "low", "high", "count"):
        number = row[key]
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if number is not None and not (is_number and math.isfinite(number)):
            raise InputError(f"{where}: {key} is {number!r}, wanted a finite number")
    if row["low"] is not None and row["low"] > row["high"]:
        raise InputError(f"{where}: the interval runs from {row['low']} down to {row['high']}")


def _check_date(date: str) -> None:
    try:
        dt.datetime.fromisoformat(date)
    except (TypeError, ValueError) as error:
        raise InputError(f"environment: date {date!r}, wanted ISO 8601") from error


def _check_distinct(part: str, ids: list[str]) -> None:
    for i, name in enumerate(ids):
        if not isinstance(name, str) or not name or name.split() != [name]:
            raise InputError(f"{part}: id {name!r}, wanted a word without blanks")
        if name in ids[:i]:
            raise InputError(f"{part}: the id {name!r} occurs twice")


def _check_known(where: str, named: Iterable[str], rows: set[str]) -> None:
    for name in named:
        if name not in rows:
            raise InputError(f"{where} names the row {name!r}, which is not among the results")


def _need(where: str, entry: Any, keys: Iterable[str]) -> None:
    if not isinstance(entry, Mapping):
        raise InputError(f"{where}: {entry!r}, wanted a mapping with {', '.join(keys)}")
    missing = [key for key in keys if key not in entry]
    if missing:
        raise InputError(f"{where} lacks {', '.join(missing)}")


def _listed(names: Iterable[Any]) -> str:
    return ", ".join(str(name) for name in sorted(names)) or "none"
