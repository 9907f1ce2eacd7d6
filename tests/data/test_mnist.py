"""The digits in the package are the published ones, and damage to them is noticed."""

import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import torch

from denseam import data
from denseam.data import idx, mnist, packing, repack
from denseam.errors import DenseAMError, FileFormatError

PACKED = resources.files("denseam.data.mnist").joinpath(mnist.FILE_NAME).read_bytes()


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


@pytest.mark.parametrize("where", [0, 9, 40, 30_000, len(PACKED) - 1])
def test_a_flipped_bit_is_noticed(monkeypatch: pytest.MonkeyPatch, where: int) -> None:
    broken = bytearray(PACKED)
    broken[where] ^= 1
    monkeypatch.setattr(Path, "read_bytes", lambda _: bytes(broken))
    with pytest.raises(FileFormatError, match=mnist.FILE_NAME):
        mnist.decode()


@pytest.mark.parametrize("size", [0, 5, 1000, len(PACKED) - 2])
def test_a_short_file_is_noticed(size: int) -> None:
    with pytest.raises(FileFormatError, match="short: "):
        packing.unpack(PACKED[:size], "short")


def test_other_digits_are_noticed() -> None:
    arrays = {name: np.zeros((2, 2), np.uint8) for name in mnist.SHA256}
    with pytest.raises(FileFormatError, match="the published one is ba891046"):
        mnist.check_sums(arrays, "file")


def test_packing_any_images() -> None:
    rng = np.random.default_rng(3)
    for shape in [(1, 2, 2), (7, 4, 6), (5000, 2, 4)]:
        images = rng.choice([0, 0, 7, 130, 250, 255], shape).astype(np.uint8)
        labels = rng.integers(0, 10, shape[0]).astype(np.uint8)
        back = packing.unpack(packing.pack(images, labels), "file")
        assert np.array_equal(back[0], images)
        assert np.array_equal(back[1], labels)


def test_repacking_gives_the_same_file(tmp_path: Path) -> None:
    digits = data.load("mnist")
    for part, images in (("train", digits.train), ("t10k", digits.test)):
        labels = images.labels.to(torch.uint8)
        idx.write(tmp_path / f"{part}-images-idx3-ubyte", images.images.numpy())
        idx.write(tmp_path / f"{part}-labels-idx1-ubyte", labels.numpy())
    assert repack.main([str(tmp_path), str(tmp_path / "out")]) == 0
    assert (tmp_path / "out").read_bytes() == PACKED


def test_repacking_refuses_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert repack.main([]) == 2
    assert repack.main([str(tmp_path)]) == 2
    assert "train-images-idx3-ubyte" in capsys.readouterr().err
    for name in mnist.SHA256:
        idx.write(tmp_path / name, np.zeros(3, np.uint8))
    with pytest.raises(DenseAMError, match="the published one"):
        repack.repack(tmp_path)


def test_import_reads_and_fetches_nothing() -> None:
    code = (
        "import sys, denseam.data as d; d.status(); "
        "print('requests' in sys.modules, d.loading.load_known.__module__, "
        "sys.modules['denseam.data.mnist'].load.cache_info().currsize)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["False", "denseam.data.known", "0"]
