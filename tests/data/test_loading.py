"""Image sets by path: folders of IDX files and .npz files, good and bad."""

import gzip
import pickle
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from denseam import data
from denseam.data import Dataset
from denseam.data.pixels import Scale
from denseam.data.registry import KNOWN, KnownName
from denseam.errors import DataUnavailableError, FileFormatError, InputError

from .idx import write_idx

Arrays = dict[str, NDArray[np.uint8]]

STYLES = {
    "mnist": ("{part}-{kind}-idx{axes}-ubyte", "t10k"),
    "gz": ("{part}-{kind}-idx{axes}-ubyte.gz", "t10k"),
    "dot": ("{part}-{kind}.idx{axes}-ubyte", "t10k"),
    "test": ("{part}-{kind}-idx{axes}-ubyte", "test"),
    "prefix": ("mine-{part}-{kind}-idx{axes}-ubyte.gz", "test"),
    "bare": ("{part}-{kind}", "test"),
}


def load(path: str | Path, *, scale: Scale | None = None) -> Dataset:
    found = data.load(path, scale=scale)
    assert isinstance(found, Dataset)
    return found


def write_folder(folder: Path, arrays: Arrays, style: str) -> None:
    pattern, test = STYLES[style]
    for role, array in arrays.items():
        part, kind = role.split("-")
        part = test if part == "test" else part
        write_idx(folder / pattern.format(part=part, kind=kind, axes=array.ndim), array)


@pytest.mark.parametrize("style", STYLES)
def test_folder(tmp_path: Path, arrays: Arrays, style: str) -> None:
    write_folder(tmp_path, arrays, style)
    (tmp_path / "README.md").write_text("train-images")
    loaded = load(tmp_path)
    assert np.array_equal(loaded.train.images.numpy(), arrays["train-images"])
    assert np.array_equal(loaded.train.labels.numpy(), arrays["train-labels"])
    assert np.array_equal(loaded.test.images.numpy(), arrays["test-images"])
    assert loaded.name == tmp_path.name


def test_emnist_letters_are_turned_and_counted_from_0(tmp_path: Path, arrays: Arrays) -> None:
    for role, array in arrays.items():
        labels = array.ndim == 1
        stored = array + 1 if labels else array.transpose(0, 2, 1)
        write_idx(tmp_path / f"emnist-letters-{role}-idx{array.ndim}-ubyte.gz", stored)
    loaded = load(tmp_path)
    assert np.array_equal(loaded.train.images.numpy(), arrays["train-images"])
    assert np.array_equal(loaded.test.labels.numpy(), arrays["test-labels"])


def test_a_plain_file_wins_over_its_gz(tmp_path: Path, arrays: Arrays) -> None:
    write_folder(tmp_path, arrays, "mnist")
    write_folder(tmp_path, arrays, "gz")
    assert len(load(tmp_path).train) == 30
    write_folder(tmp_path, arrays, "test")
    with pytest.raises(InputError, match="more than one file for test-images"):
        data.load(tmp_path)


def test_folder_with_a_file_missing_or_broken(tmp_path: Path, arrays: Arrays) -> None:
    write_folder(tmp_path, arrays, "mnist")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"junk")
    with pytest.raises(FileFormatError, match="train-labels-idx1-ubyte: not an IDX"):
        data.load(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(DataUnavailableError, match="no IDX file for train-labels; wanted"):
        data.load(tmp_path)


@pytest.mark.parametrize(
    ("role", "array", "message"),
    [
        ("train-labels", np.zeros(29, np.uint8), r"shape \(30,\), got \(29,\)"),
        ("train-labels", np.full(30, 3, np.uint8), "no example of class 0, 1, 2"),
        ("test-labels", np.full(20, 10, np.uint8), r"0\.\.9, got 10"),
        ("test-images", np.zeros((20, 6, 4), np.uint8), "shape differs"),
        ("train-images", np.zeros(30, np.uint8), r"got \(30,\)"),
        ("train-images", np.zeros((0, 4, 6), np.uint8), "empty"),
        ("train-images", np.full((30, 4, 6), np.nan, np.float32), "NaN"),
    ],
)
def test_folder_with_unusable_arrays(
    tmp_path: Path, arrays: Arrays, role: str, array: NDArray[np.uint8], message: str
) -> None:
    write_folder(tmp_path, {**arrays, role: array}, "bare")
    with pytest.raises(InputError, match=message) as caught:
        data.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def npz(path: Path, arrays: Arrays, **changes: NDArray[np.generic]) -> Path:
    names = dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays.values(), strict=True))
    np.savez_compressed(path, **{**names, **changes})  # type: ignore[arg-type]
    return path


def test_npz(tmp_path: Path, arrays: Arrays) -> None:
    loaded = load(str(npz(tmp_path / "mine.npz", arrays)))
    assert np.array_equal(loaded.test.images.numpy(), arrays["test-images"])
    assert loaded.train.name == "mine.npz train"
    unit = {f"x_{p}": arrays[f"{p}-images"] / 255 for p in ("train", "test")}
    loaded = load(npz(tmp_path / "unit.npz", arrays, **unit), scale="unit")
    assert loaded.train.images.min() >= -1


def test_npz_with_other_keys(tmp_path: Path, arrays: Arrays) -> None:
    np.savez(tmp_path / "a.npz", x_train=arrays["train-images"], y_train=arrays["train-labels"])
    with pytest.raises(FileFormatError, match=r"no x_test, y_test; .* found x_train, y_train"):
        data.load(tmp_path / "a.npz")


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


def test_pickles_are_refused_unopened(tmp_path: Path, arrays: Arrays) -> None:
    bomb = np.array([Bomb(tmp_path / "mark")], dtype=object)
    for path in (npz(tmp_path / "a.npz", arrays, y_test=bomb), tmp_path / "b.npz"):
        if not path.exists():
            path.write_bytes(pickle.dumps(Bomb(tmp_path / "mark")))
        with pytest.raises(FileFormatError, match="npz"):
            data.load(path)
    assert not (tmp_path / "mark").exists()


def test_other_npz_files_are_refused(tmp_path: Path, arrays: Arrays) -> None:
    whole = npz(tmp_path / "whole.npz", arrays).read_bytes()
    np.save(tmp_path / "one.npy", np.zeros(3))
    contents = {
        "empty.npz": b"",
        "cut.npz": whole[: len(whole) // 2],
        "text.npz": b"hello",
        "gz.npz": gzip.compress(b"hello"),
        "garbled.npz": whole[:60] + bytes(200) + whole[260:],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    for name in (*contents, "one.npy"):
        with pytest.raises(FileFormatError, match=name):
            data.load(tmp_path / name)


def test_unknown_names_and_paths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="known are mnist, fashion-mnist, kmnist"):
        data.load("unheard")
    with pytest.raises(InputError, match=r"did you mean mnist\?"):
        data.load("mnits")
    with pytest.raises(DataUnavailableError, match="no such folder"):
        data.load(tmp_path / "nothing.npz")
    with pytest.raises(InputError, match="got int"):
        data.load(3)  # type: ignore[call-overload]
    with pytest.raises(InputError, match="mnist has known units"):
        data.load("mnist", scale="unit")


def test_type_checkers_know_the_known_names() -> None:
    assert get_args(KnownName) == tuple(KNOWN)


@pytest.mark.parametrize("suffix", ["", ".npz", ".safetensors", "/mnist"])
def test_a_name_that_is_too_long_is_no_set(suffix: str) -> None:
    with pytest.raises((InputError, DataUnavailableError), match=r"no image set|no such folder"):
        data.load("x" * 300 + suffix)
