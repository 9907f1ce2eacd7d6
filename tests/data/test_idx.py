"""IDX files survive a round trip, and damaged ones are recognised."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from denseam.data import idx
from denseam.errors import (
    DataUnavailableError,
    DenseAMError,
    FileFormatError,
    InputError,
    SaveError,
)

ANY_ARRAY = hnp.arrays(
    st.sampled_from(["u1", "i1", "<i2", ">i2", "<i4", ">i4", "<f4", ">f4", "<f8"]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@SHARED_FOLDER
@given(array=ANY_ARRAY, name=st.sampled_from(["a-idx", "a-idx.gz"]))
def test_round_trip(tmp_path: Path, array: np.ndarray, name: str) -> None:
    idx.write(tmp_path / name, array)
    back = idx.read(tmp_path / name)
    assert back.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back, array)
    assert back.dtype.isnative


def test_known_bytes(tmp_path: Path) -> None:
    idx.write(tmp_path / "a", np.array([[1, 2], [3, 4]], np.int16))
    assert (tmp_path / "a").read_bytes() == bytes.fromhex(
        "00000b02 00000002 00000002 0001000200030004".replace(" ", "")
    )
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["a"]


def test_equal_arrays_give_equal_gzip_files(tmp_path: Path) -> None:
    for name in ("a.gz", "b.gz"):
        idx.write(tmp_path / name, np.arange(9, dtype=np.uint8))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert (tmp_path / "a.gz").read_bytes()[4:8] == bytes(4)  # the time of writing


WHOLE = idx.header(np.zeros((3, 4), np.uint8)) + bytes(12)
DAMAGED = {
    "empty": (b"", "not an IDX file"),
    "text": (b"hello world", "not an IDX file"),
    "unknown type": (b"\0\0\x07\1" + bytes(8), "not an IDX file"),
    "header": (WHOLE[:9], "within the header"),
    "truncated": (WHOLE[:-1], "truncated, shape .3, 4. takes 12 bytes, got 11"),
    "too long": (WHOLE + b"x", "too long"),
    "huge": (b"\0\0\x08\x03" + b"\xff" * 12, "truncated"),
    "gzip cut": (gzip.compress(WHOLE)[:-5], "gzip stream is damaged"),
    "gzip garbled": (b"\x1f\x8b\x08" + bytes(20), "gzip stream is damaged"),
    "gzip of less": (gzip.compress(WHOLE[:-3]), "truncated"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_named(tmp_path: Path, case: str) -> None:
    data, message = DAMAGED[case]
    path = tmp_path / "some-file"
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match=f"some-file: .*{message}"):
        idx.read(path)


@given(st.binary(max_size=40), st.sampled_from([b"", b"\0\0\x08\1", b"\x1f\x8b\x08\0"]))
def test_garbage_never_raises_anything_else(garbage: bytes, start: bytes) -> None:
    try:
        idx.parse(start + garbage, "garbage")
    except DenseAMError as error:
        assert "garbage" in str(error)  # noqa: PT017


def test_files_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailableError, match="nothing-there"):
        idx.read(tmp_path / "nothing-there")
    with pytest.raises(SaveError, match="could not be written"):
        idx.write(tmp_path / "no" / "folder", np.zeros(3, np.uint8))
    with pytest.raises(InputError, match="int64"):
        idx.write(tmp_path / "a", np.zeros(3, np.int64))
    assert not [p for p in tmp_path.iterdir() if p.is_file()]
