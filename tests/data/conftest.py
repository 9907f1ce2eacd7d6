"""A small data set, the files it can lie in, and a cache folder that is not the user's."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from denseam.data.formats import unpack
from denseam.data.registry import KNOWN, KnownSet, RemoteFile

from .idx import write_idx

Arrays = dict[str, NDArray[np.uint8]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of the test's own."""
    monkeypatch.setenv("DENSEAM_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def arrays() -> Arrays:
    """30 training and 20 test images of 4 x 6 pixels in 10 classes, by role."""
    rng = np.random.default_rng(5)
    return {
        "train-images": rng.integers(0, 256, (30, 4, 6), np.uint8),
        "train-labels": (np.arange(30) % 10).astype(np.uint8),
        "test-images": rng.integers(0, 256, (20, 4, 6), np.uint8),
        "test-labels": (np.arange(20) % 10).astype(np.uint8),
    }


@pytest.fixture
def make_known(
    arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., KnownSet]:
    """Register a set "toy" whose published files lie in ``tmp_path / "published"``."""

    def make(mirrors: tuple[str, ...] = (), folders: tuple[str, ...] = ()) -> KnownSet:
        published = tmp_path / "published"
        published.mkdir(exist_ok=True)
        files = {}
        for role, array in arrays.items():
            name = f"{role}-idx{array.ndim}-ubyte.gz"
            write_idx(published / name, array)
            data = (published / name).read_bytes()
            content = unpack(data, name)
            sums = (hashlib.sha256(b).hexdigest() for b in (data, content))
            files[role] = RemoteFile(name, *sums)
        toy = KnownSet(
            "toy", "Toy", (4, 6), 30, 20, tuple("abcdefghij"), "none", "nowhere", "nobody",
            "idx", files, mirrors, None, folders,
        )  # fmt: skip
        monkeypatch.setitem(KNOWN, "toy", toy)
        return toy

    return make
