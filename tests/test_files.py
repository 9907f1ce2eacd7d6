"""Files are whole or not there, and whatever is wrong with one is one error of ours."""

import json
import os
import pickle
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

import denseam
from denseam import files
from denseam.errors import DataUnavailableError, DenseAMError, FileFormatError, SaveError

FACTS = {"kind": "model", "version": 1, "power": 3.0, "temperature": 2.0, "n_visible": 5}
MEMORIES = torch.linspace(-1, 1, 21).reshape(3, 7)


def write(
    path: Path, facts: Any = FACTS, tensors: dict[str, Tensor] | None = None, key: str = "denseam"
) -> Path:
    text = facts if isinstance(facts, str) else json.dumps(facts)
    tensors = {"memories": MEMORIES} if tensors is None else tensors
    path.write_bytes(safetensors.torch.save(tensors, metadata={key: text}))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.safetensors"


def test_the_file_that_the_others_spoil_is_read(path: Path) -> None:
    model = denseam.load(write(path))
    assert torch.equal(model.memories, MEMORIES)
    assert (model.n_visible, model.n_classes, model.power, model.temperature) == (5, 2, 3, 2)


# ---- bad files -------------------------------------------------------------------------------


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(DataUnavailableError, match=str(path)):
        denseam.load(path)
    with pytest.raises(FileNotFoundError):
        denseam.load(path.parent)
    with pytest.raises(DataUnavailableError):
        denseam.load(write(path) / "below")


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    write(tmp_path / "checkpoint.safetensors")
    with pytest.raises(DataUnavailableError, match="has not finished"):
        denseam.load(tmp_path)


def test_a_folder_in_place_of_the_file_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(FileFormatError, match=str(path)):
        denseam.load(path.parent)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 60, -1, -40])
def test_a_truncated_file_is_refused(path: Path, keep: int) -> None:
    whole = write(path).read_bytes()
    path.write_bytes(whole[:keep])
    with pytest.raises(FileFormatError, match="truncated"):
        denseam.load(path)


@pytest.mark.parametrize(
    "contents",
    [
        b"\x00" * 1000,
        b"\xff" * 1000,
        b"memories",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 9) + b"not json!",
        struct.pack("<Q", 5) + b'"\xff\xfe"x',
    ],
)
def test_a_garbled_file_is_refused(path: Path, contents: bytes) -> None:
    path.write_bytes(contents)
    with pytest.raises(FileFormatError, match=str(path)):
        denseam.load(path)


def test_no_single_spoilt_byte_of_the_header_is_a_foreign_error(path: Path) -> None:
    whole = bytearray(write(path).read_bytes())
    (length,) = struct.unpack("<Q", whole[:8])
    for position in range(8 + length):
        spoilt = bytearray(whole)
        spoilt[position] ^= 0x15
        path.write_bytes(spoilt)
        with suppress(DenseAMError):  # a digit may have changed: nobody can tell
            denseam.load(path)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ("{", "not a whole denseam model file"),
        ("[1]", "another program"),
        ("null", "another program"),
        ("[" * 10**5, "not a whole denseam model file"),
        ('{"kind": "model", "version": ' + "9" * 5000 + "}", "not a whole denseam model file"),
        ({**FACTS, "kind": "checkpoint"}, "wanted a denseam model file, found checkpoint"),
        ({**FACTS, "version": 2}, "format version 2.*reads up to 1.*newer"),
        ({**FACTS, "version": "1"}, "version '1'"),
        ({**FACTS, "version": None}, "version None"),
        ({k: v for k, v in FACTS.items() if k != "version"}, "version None"),
        ({k: v for k, v in FACTS.items() if k != "power"}, "power"),
        ({k: v for k, v in FACTS.items() if k != "n_visible"}, "n_visible"),
        ({**FACTS, "power": 0.5}, r"power = 0\.5"),
        ({**FACTS, "power": "3"}, "power = '3'"),
        ({**FACTS, "power": True}, "power = True"),
        ({**FACTS, "power": 10**400}, r"wanted a number >= 1 and <= 1e\+06"),
        ({**FACTS, "temperature": float("nan")}, "temperature = nan"),
        ({**FACTS, "n_visible": float("inf")}, "infinity"),
        ({**FACTS, "n_visible": 7}, "n_classes = 0"),
        ({**FACTS, "n_visible": -1}, "n_visible = -1"),
        ({**FACTS, "n_visible": None}, "not a whole denseam model file"),
    ],
)
def test_impossible_facts_are_refused(path: Path, facts: Any, message: str) -> None:
    with pytest.raises(FileFormatError, match=message):
        denseam.load(write(path, facts))


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weights": MEMORIES}, "memories"),
        ({"memories": MEMORIES[0]}, "not a whole denseam model file"),
        ({"memories": MEMORIES[:0]}, "n_memories = 0"),
        ({"memories": MEMORIES.long()}, "int64"),
        ({"memories": MEMORIES.to(torch.complex64)}, "complex64"),
        ({"memories": torch.full((3, 7), torch.nan)}, "NaN or infinite"),
        ({"memories": torch.full((3, 7), -torch.inf)}, "NaN or infinite"),
    ],
)
def test_impossible_memories_are_refused(
    path: Path, tensors: dict[str, Tensor], message: str
) -> None:
    with pytest.raises(FileFormatError, match=message):
        denseam.load(write(path, tensors=tensors))


def test_a_safetensors_file_of_another_program_is_refused(path: Path) -> None:
    with pytest.raises(FileFormatError, match="another program"):
        denseam.load(write(path, key="format"))
    path.write_bytes(safetensors.torch.save({"memories": MEMORIES}))
    with pytest.raises(FileFormatError, match="another program"):
        denseam.load(path)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


def test_pickles_are_refused_and_never_run(path: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(Bomb(marker)))
    assert marker.exists()  # the bomb works
    marker.unlink()
    path.write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(FileFormatError):
        denseam.load(path)
    torch.save({"memories": Bomb(marker)}, path)
    with pytest.raises(FileFormatError):
        denseam.load(path)
    with pytest.raises(FileFormatError):
        denseam.load(tmp_path)
    assert not marker.exists()


# ---- writing ---------------------------------------------------------------------------------


def model() -> denseam.DenseAM:
    return denseam.DenseAM(784, 10, 20, 3, 2.0)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


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


@pytest.mark.parametrize("limit", [0, 1000, 60000])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(path: Path, limit: int) -> None:
    old = write(path).read_bytes()
    with full_disk(limit), pytest.raises(SaveError, match=str(path)):
        model().save(path)
    assert path.read_bytes() == old
    assert names(path.parent) == [path.name]


def test_a_full_disk_leaves_no_new_file(path: Path) -> None:
    with full_disk(1000), pytest.raises(OSError, match="could not be written"):
        model().save(path)
    assert names(path.parent) == []


def test_places_that_cannot_be_written_are_a_save_error(path: Path, tmp_path: Path) -> None:
    write(path)
    (tmp_path / "folder").mkdir()
    for place in (tmp_path / "none" / "m", path / "m", tmp_path / "folder", tmp_path / ("x" * 300)):
        with pytest.raises(SaveError, match="could not be written"):
            model().save(place)
    assert names(tmp_path) == ["folder", path.name]
    assert names(tmp_path / "folder") == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_save_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(SaveError, match="Permission denied"):
        model().save(tmp_path / "model")
    tmp_path.chmod(0o755)


def test_an_error_while_writing_leaves_the_old_file(path: Path) -> None:
    path.write_bytes(b"old")
    with suppress(ZeroDivisionError), files._replacement(path) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert names(path.parent) == [path.name]


def test_until_the_block_ends_the_old_file_stands(path: Path) -> None:
    path.write_bytes(b"old")
    with files._replacement(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_a_written_file_has_the_permissions_of_any_other(path: Path) -> None:
    mask = os.umask(0o027)
    try:
        files.write_bytes(path, b"x")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_json_makes_the_round_trip_and_is_refused_when_it_is_none(path: Path) -> None:
    value = {"a": [1, 2.5, None, "ä"], "b": {}}
    files.write_json(path, value)
    assert files.read_json(path) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(path, {"a": float("nan")})
    assert files.read_json(path) == value
    for contents in (b"{", b"\xff", b""):
        path.write_bytes(contents)
        with pytest.raises(FileFormatError, match="not a whole JSON file"):
            files.read_json(path)


def test_tensors_make_the_round_trip_with_their_facts(path: Path) -> None:
    tensors = {"a": torch.randn(3, 2), "b": torch.randn(2, 3, dtype=torch.float64).T}
    files.save_tensors(path, "checkpoint", tensors, {"epochs": 3})
    found, facts = files.load_tensors(path, "checkpoint")
    assert facts == {"kind": "checkpoint", "version": files.FORMAT_VERSION, "epochs": 3}
    assert set(found) == {"a", "b"}
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype is tensor.dtype
    with pytest.raises(FileFormatError, match="wanted a denseam model file, found checkpoint"):
        denseam.load(path)


def test_a_flipped_bit_among_the_numbers_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    files.save_tensors(path, "model", {"memories": torch.ones(5, 7)}, {})
    contents = bytearray(path.read_bytes())
    contents[-3] ^= 1
    path.write_bytes(contents)
    with pytest.raises(FileFormatError, match="not the ones that were written"):
        files.load_tensors(path, "model")


@pytest.mark.parametrize("words", range(8))
def test_tensors_begin_where_products_are_fast(tmp_path: Path, words: int) -> None:
    """Wherever they lie in the file: its head has another length every time."""
    path = tmp_path / "file.safetensors"
    tensors = {"a": torch.arange(3.0), "b": torch.arange(7.0, dtype=torch.float64)}
    files.save_tensors(path, "model", tensors, {"more": "x" * 8 * words})
    found, _ = files.load_tensors(path, "model")
    for name, tensor in tensors.items():
        assert torch.equal(found[name], tensor)
        assert found[name].data_ptr() % 64 == 0


def test_the_mask_of_the_process_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It belongs to all threads: what another one writes meanwhile would get it."""

    def refuse(mask: int) -> int:
        raise AssertionError(f"umask {mask:o}")

    monkeypatch.setattr(os, "umask", refuse)
    files.write_bytes(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_name_that_is_too_long_is_no_file(tmp_path: Path) -> None:
    for name in ("x" * 300, tmp_path / ("x" * 300), "x\0y", tmp_path / ("x" * 300) / "y"):
        assert not files.there_is(name)
        with pytest.raises(DataUnavailableError, match="there is no file"):
            denseam.load(name)
    assert files.there_is(tmp_path)


def test_whoever_waits_for_a_file_that_goes_lets_nobody_in_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One holder ends between the other's open and its lock: filelock before 3.24 let two in."""
    fcntl = pytest.importorskip("fcntl")
    place, real = tmp_path / "lock", fcntl.flock
    first, second, third = (files.held_if_free(place) for _ in range(3))
    assert first.__enter__()

    def flock(descriptor: int, operation: int) -> None:
        if operation & fcntl.LOCK_EX:
            monkeypatch.setattr(fcntl, "flock", real)
            first.__exit__(None, None, None)
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    holders = [second.__enter__(), third.__enter__()]
    assert sum(holders) == 1
    for each in (second, third):
        each.__exit__(None, None, None)
