"""Image sets are written whole or not at all, and only where the format holds them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from denseam import files
from denseam.data import setfiles
from denseam.errors import InputError, SaveError

from .sets import FORMATS, made, parts, read


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"set{request.param}"


@pytest.mark.parametrize(("name", "said"), [("a.pt", r"got \.pt"), ("a", "got no suffix")])
def test_other_suffixes_are_refused(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=rf"saved as \.safetensors or \.npz, {said}"):
        made().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


CIRCULAR: list[Any] = []
CIRCULAR.append(CIRCULAR)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metadata": {"x": float("nan")}}, "not JSON compliant"),
        ({"metadata": {"x": [float("inf")]}}, "not JSON compliant"),
        ({"metadata": {"x": torch.zeros(1)}}, "Tensor is not JSON serializable"),
        ({"metadata": {"x": np.float32(1)}}, "float32 is not JSON serializable"),
        ({"metadata": {(1, 2): 3}}, "keys must be"),
        ({"metadata": {"x": CIRCULAR}}, "Circular"),
        ({"metadata": [1]}, "must be JSON"),
        ({"name": Path("x")}, "Path is not JSON serializable"),
        ({"name": 5}, "name must be of type str, got int"),
    ],
)
def test_what_is_no_json_is_refused(path: Path, options: Any, said: str) -> None:
    path.write_bytes(b"old")
    with pytest.raises(InputError, match=said):
        made(**options).save(path)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_bottomless_metadata_are_refused(path: Path) -> None:
    deep: list[Any] = []
    for _ in range(10**5):
        deep = [deep]
    with pytest.raises(InputError, match="must be JSON: maximum recursion depth"):
        made(metadata={"x": deep}).save(path)


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file of this process grows past ``limit`` bytes; Python ignores SIGXFSZ."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [0, 1000, 20000])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(path: Path, limit: int) -> None:
    made(1).save(path)
    with full_disk(limit), pytest.raises(SaveError, match=f"{path.name} could not be written"):
        made(101, (13, 17)).save(path)
    assert parts(read(path)) == parts(made(1))
    assert list(path.parent.iterdir()) == [path]


def test_places_that_cannot_be_written_are_a_save_error(path: Path) -> None:
    path.write_bytes(b"old")
    for place in (
        path.parent / "none" / path.name,
        path / path.name,
        path.with_stem("x" * 300),
        path.with_stem("nul\0"),
        path.with_stem("surrogate\ud800"),
    ):
        with pytest.raises(SaveError, match="could not be written"):
            made().save(place)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_what_safetensors_refuses_is_a_save_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> bytes:
        raise safetensors.SafetensorError("header too large")  # past 100 MB of metadata

    monkeypatch.setattr(safetensors.torch, "save", refuse)
    with pytest.raises(SaveError, match="could not be written: header too large"):
        made().save(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_save_error(path: Path) -> None:
    path.parent.chmod(0o555)
    with pytest.raises(SaveError, match="Permission denied"):
        made().save(path)
    path.parent.chmod(0o755)


def test_the_old_file_stands_until_the_new_one_is_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(1).save(path)
    old = path.read_bytes()
    seen = []

    def watched(target: Path, contents: bytes) -> None:
        with files._replacement(target) as file:
            file.write(contents)
            file.flush()
            seen.append(path.read_bytes() == old)

    monkeypatch.setattr(files, "write_bytes", watched)
    monkeypatch.setattr(setfiles, "write_bytes", watched)
    made(5).save(path)
    assert seen == [True]
    assert parts(read(path)) == parts(made(5))
