"""Readers of tables and archives take damaged files: their own errors, no hang, no growth."""

from pathlib import Path

import pytest

from denseam import data

from .fuzz import KINDS, fuzz, peak_mib


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_of_every_kind_are_read(tmp_path: Path, kind: str) -> None:
    if kind in ("parquet", "arrow"):
        pytest.importorskip("pyarrow")
    for name, contents in KINDS[kind]().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(contents)
    assert data.load(tmp_path / next(iter(KINDS[kind]())).split("/")[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_damaged_files_are_read_or_refused(tmp_path: Path, kind: str, count: int) -> None:
    if kind in ("parquet", "arrow"):
        pytest.importorskip("pyarrow")
    before = peak_mib()
    read, longest = fuzz(kind, count, 1, tmp_path)
    assert read < count
    assert longest < 20
    assert peak_mib() - before < 300
