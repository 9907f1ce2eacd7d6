"""The text format of USPS: what is read, and what is refused."""

import bz2

import pytest

from denseam.data import libsvm
from denseam.errors import FileFormatError


def test_plain_and_packed() -> None:
    text = b"2 1:0.5 3:-1\n1.0 2:1e-1\n"
    for data in (text, bz2.compress(text)):
        images, labels = libsvm.parse(data, 3, "file")
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
def test_garbled(data: bytes) -> None:
    with pytest.raises(FileFormatError, match="file: "):
        libsvm.parse(data, 3, "file")


def test_packed_and_cut_short() -> None:
    with pytest.raises(FileFormatError, match="bzip2 stream is damaged"):
        libsvm.parse(bz2.compress(b"1 1:0\n" * 100)[:-9], 3, "file")
