"""The digits in the package are the published ones, and damage to them is noticed."""

import hashlib
import lzma
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from denseam import data
from denseam.data import fetch
from denseam.data.registry import KNOWN
from denseam.errors import DataUnavailableError, FileFormatError

FOLDER = Path(data.__file__).parent / "mnist"


def test_facts() -> None:
    digits = data.load("mnist")
    assert digits.train.images.shape == (60_000, 28, 28)
    assert digits.test.images.shape == (10_000, 28, 28)
    assert digits.train.images.dtype == torch.uint8
    assert digits.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert digits.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert digits.train.class_counts().tolist() == counts
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert digits.test.class_counts().tolist() == counts
    assert round(digits.train.images.double().mean().item(), 4) == 33.3184
    assert round(digits.test.images.double().mean().item(), 4) == 33.7912
    assert digits.train.class_names == tuple("0123456789")
    assert digits.train.visible().shape == (60_000, 784)


def test_decoded_once_per_process() -> None:
    assert data.load("mnist") is data.load("mnist")


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with copies of the files in the package, which is read instead of theirs."""
    folder = shutil.copytree(FOLDER, tmp_path / "mnist")
    monkeypatch.setattr(fetch, "__file__", str(tmp_path / "fetch.py"))
    return folder


@pytest.mark.parametrize("where", [0, 9, 40, 1000, -1])
@pytest.mark.parametrize("role", ["train-labels", "test-images"])
def test_a_flipped_bit_is_noticed(copied: Path, role: str, where: int) -> None:
    path = copied / KNOWN["mnist"].files[role].name
    broken = bytearray(path.read_bytes())
    broken[where] ^= 1
    path.write_bytes(broken)
    with pytest.raises(FileFormatError, match=path.name):
        data.verify("mnist")


@pytest.mark.parametrize("size", [0, 5, 1000])
def test_a_short_file_is_noticed(copied: Path, size: int) -> None:
    path = copied / "train-labels-idx1-ubyte.xz"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(FileFormatError, match=path.name):
        data.verify("mnist")


def test_other_digits_are_noticed(copied: Path) -> None:
    path = copied / "train-labels-idx1-ubyte.xz"
    path.write_bytes(lzma.compress(bytes(60_008)))
    with pytest.raises(FileFormatError, match="wanted 65a50cbbf4e9"):
        data.verify("mnist")


def test_a_missing_file_is_noticed(copied: Path) -> None:
    (copied / "train-labels-idx1-ubyte.xz").unlink()
    assert not data.status("mnist")[0].available
    with pytest.raises(DataUnavailableError, match="install denseam again"):
        fetch.obtain(KNOWN["mnist"])


def test_unpacked_files_are_the_published_ones() -> None:
    for file in KNOWN["mnist"].files.values():
        content = lzma.decompress((FOLDER / file.name).read_bytes())
        assert hashlib.sha256(content).hexdigest() == file.content_sha256


def test_the_identity_of_the_digits() -> None:
    digits = data.load("mnist")
    assert digits.train.digest().startswith("c68e9f533a84c767")
    assert digits.test.digest().startswith("437eb560f058ecc6")


def test_import_reads_and_fetches_nothing() -> None:
    code = (
        "import sys, denseam.data as d; d.status(); "
        "print('requests' in sys.modules, d.known._embedded.cache_info().currsize)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "0"]
