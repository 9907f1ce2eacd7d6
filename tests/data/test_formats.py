"""IDX files survive a round trip, LIBSVM text is read, and damaged files are recognised."""

import bz2
import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from denseam.data.formats import parse_idx, parse_libsvm, read_idx
from denseam.errors import DataUnavailableError, DenseAMError, FileFormatError

from .idx import write_idx

ANY_ARRAY = hnp.arrays(
    st.sampled_from(["u1", "i1", "<i2", ">i2", "<i4", ">i4", "<f4", ">f4", "<f8"]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
)
SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@SHARED_FOLDER
@given(array=ANY_ARRAY, name=st.sampled_from(["a-idx", "a-idx.gz"]))
def test_round_trip(tmp_path: Path, array: np.ndarray, name: str) -> None:
    write_idx(tmp_path / name, array)
    back = read_idx(tmp_path / name)
    assert back.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(back, array)
    assert back.dtype.isnative


def test_known_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(
        bytes.fromhex("00000b02 00000002 00000002 0001000200030004".replace(" ", ""))
    )
    array = read_idx(tmp_path / "a")
    assert array.dtype == np.int16
    assert array.tolist() == [[1, 2], [3, 4]]


WHOLE = bytes.fromhex("00000802 00000003 00000004") + bytes(12)  # uint8 (3, 4)
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
        read_idx(path)


@given(st.binary(max_size=40), st.sampled_from([b"", b"\0\0\x08\1", b"\x1f\x8b\x08\0"]))
def test_garbage_never_raises_anything_else(garbage: bytes, start: bytes) -> None:
    try:
        parse_idx(start + garbage, "garbage")
    except DenseAMError as error:
        assert "garbage" in str(error)  # noqa: PT017


def test_files_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailableError, match="nothing-there"):
        read_idx(tmp_path / "nothing-there")


def test_libsvm_plain_and_packed() -> None:
    text = b"2 1:0.5 3:-1\n1.0 2:1e-1\n"
    for data in (text, bz2.compress(text)):
        images, labels = parse_libsvm(data, 3, "file")
        assert images.tolist() == [[0.5, 0, -1], [0, pytest.approx(0.1), 0]]
        assert labels.tolist() == [2, 1]


@pytest.mark.parametrize(
    "data",
    [
        b"1 1:x",
        b"1 4:0",
        b"1 0:0",
        b"1 -1:0",
        b"a 1:0",
        b"1 1:0\n\n1 1:0",
        b"1 1",
        "é".encode(),
        b"inf 1:0",
        b"nan 1:0",
        b"1 99999999999999999999:0",
        b"1e400 1:0",
    ],
)
def test_garbled_libsvm(data: bytes) -> None:
    with pytest.raises(FileFormatError, match="file: "):
        parse_libsvm(data, 3, "file")


def test_libsvm_packed_and_cut_short() -> None:
    with pytest.raises(FileFormatError, match="bzip2 stream is damaged"):
        parse_libsvm(bz2.compress(b"1 1:0\n" * 100)[:-9], 3, "file")


def test_every_compression_is_seen_from_the_first_bytes() -> None:
    for compress in (bytes, gzip.compress, bz2.compress, lzma.compress):
        assert np.array_equal(parse_idx(compress(WHOLE), "file"), np.zeros((3, 4)))
    with pytest.raises(FileFormatError, match="file: the xz stream is damaged"):
        parse_idx(lzma.compress(WHOLE)[:-9], "file")
