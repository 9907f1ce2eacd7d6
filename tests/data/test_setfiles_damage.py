"""What is no whole image set file is refused in one line that names the file."""

import io
import json
import pickle
import string
import struct
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

import denseam
from denseam import data
from denseam.data import Dataset, ImageSet
from denseam.errors import (
    DataUnavailableError,
    DenseAMError,
    FileFormatError,
    InputError,
)

from .sets import FORMATS, bits, made, parts, read


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"set{request.param}"


def one_line(caught: pytest.ExceptionInfo[DenseAMError], path: Path) -> bool:
    return str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [0, 1, 4, 8, 60, 400, -400, -60, -22, -1])
def test_truncated_files_are_refused(path: Path, keep: int) -> None:
    made().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FileFormatError, match=r"truncated|not a readable \.npz") as caught:
        data.load(path)
    assert one_line(caught, path)


@pytest.mark.parametrize("bit", [0, 3, 6])
def test_no_flipped_bit_gives_another_set(path: Path, bit: int) -> None:
    images = made(2, (1, 3))
    images.save(path)
    whole, refused = path.read_bytes(), 0
    for position in range(len(whole)):
        spoilt = bytearray(whole)
        spoilt[position] ^= 1 << bit
        path.write_bytes(spoilt)
        try:
            found = data.load(path)
        except FileFormatError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
        else:  # a date, or the name of a sum
            assert isinstance(found, ImageSet), position
            assert parts(found) == parts(images), position
    assert refused > 0.6 * len(whole)


@pytest.mark.parametrize("contents", [b"", b"\0" * 999, b"\xff" * 999, b"text", b"PK\3\4" * 99])
def test_garbled_files_are_refused(path: Path, contents: bytes) -> None:
    path.write_bytes(contents)
    with pytest.raises(
        FileFormatError, match=r"truncated|not a readable \.npz|not a whole"
    ) as caught:
        data.load(path)
    assert one_line(caught, path)


def test_missing_files(path: Path) -> None:
    with pytest.raises(DataUnavailableError, match=r"no such folder, \.npz file or image set file"):
        data.load(path)


def test_scale_is_refused(path: Path) -> None:
    made().save(path)
    with pytest.raises(InputError, match=rf"{path.name} has known units; scale is for"):
        data.load(path, scale="unit")


def test_other_kinds_of_files_are_refused(tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    denseam.DenseAM(4, 2, 3, 2, 1.0).save(model)
    with pytest.raises(FileFormatError, match="wanted a denseam image set file, found model"):
        data.load(model)
    images = tmp_path / "set.safetensors"
    made().save(images)
    with pytest.raises(FileFormatError, match="wanted a denseam model file, found image set"):
        denseam.load(images)
    safetensors.torch.save_file({"images": torch.zeros(1)}, images)
    with pytest.raises(FileFormatError, match="found a file of another program"):
        data.load(images)


def test_npz_files_of_training_and_test_stay_datasets(tmp_path: Path) -> None:
    x, y = made().images.numpy(), made().labels.numpy()
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    assert isinstance(data.load(tmp_path / "a.npz"), Dataset)
    np.savez(tmp_path / "b.npz", pictures=np.zeros((1, 2, 2)), labels=np.zeros(1, int))
    with pytest.raises(FileFormatError, match=r"wanted the arrays .* or a file of ImageSet\.save"):
        data.load(tmp_path / "b.npz")


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.mark,))


@pytest.mark.parametrize("key", ["images", "labels", "fact:l2", "denseam"])
def test_pickles_are_refused_and_never_run(tmp_path: Path, key: str) -> None:
    mark, path = tmp_path / "mark", tmp_path / "a.npz"
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()  # the bomb works
    mark.unlink()
    made().save(path)
    with np.load(path, allow_pickle=False) as bundle:
        arrays = {**dict(bundle), key: np.array([Bomb(mark)] * 5, dtype=object)}
    np.savez(path, **arrays)
    with pytest.raises(FileFormatError, match="objects of Python, which are not loaded"):
        data.load(path)
    assert not mark.exists()


Change = Callable[[dict[str, Any], dict[str, Tensor]], object]


def rewrite(path: Path, change: Change) -> None:
    """Write a set by hand, without the sums, after ``change`` of its text and its tensors."""
    images = made()
    text: dict[str, Any] = {
        "kind": "image set", "version": 1, "name": images.name, "n_classes": images.n_classes,
        "class_names": list(images.class_names), "metadata": images.metadata, "facts": ["l2"],
    }  # fmt: skip
    arrays = {"images": images.images, "labels": images.labels, "fact:l2": images.facts["l2"]}
    change(text, arrays)
    if path.suffix == ".safetensors":
        header = {"denseam": json.dumps(text)}
        path.write_bytes(safetensors.torch.save(arrays, metadata=header))
    else:
        members = {name: value.numpy() for name, value in arrays.items()}
        np.savez(path, denseam=np.array(json.dumps(text)), **members)  # type: ignore[arg-type]


def test_a_file_written_by_hand_is_read(path: Path) -> None:
    rewrite(path, lambda text, arrays: None)
    images = made()
    assert parts(read(path)) == parts(replace(images, facts={"l2": images.facts["l2"]}))


IMPOSSIBLE: dict[str, tuple[Change, str]] = {
    "version": (lambda t, a: t.update(version=2), "version 2.*reads up to 1"),
    "no version": (lambda t, a: t.pop("version"), "version None"),
    "kind": (lambda t, a: t.update(kind="model"), "wanted a denseam image set file, found model"),
    "no name": (lambda t, a: t.pop("name"), "name must be of type str, got NoneType"),
    "n_classes": (lambda t, a: t.update(n_classes=2.0), "n_classes must be of type int, got float"),
    "true": (lambda t, a: t.update(n_classes=True), "n_classes must be of type int, got bool"),
    "many": (lambda t, a: t.update(n_classes=10**12, class_names=[]), "need 1000000000000 names"),
    "few": (lambda t, a: t.update(n_classes=1, class_names=["a"]), r"lie in 0\.\.0, got 0\.\.1"),
    "names": (lambda t, a: t.update(class_names="ab"), "class_names must be of type list"),
    "no strings": (lambda t, a: t.update(class_names=[[], []]), "class names must be strings"),
    "same": (lambda t, a: t.update(class_names=["a", "a"]), "must differ"),
    "metadata": (lambda t, a: t.update(metadata=[]), "metadata must be of type dict, got list"),
    "facts": (lambda t, a: t.update(facts=None), "facts must be of type list, got NoneType"),
    "more facts": (lambda t, a: t.update(facts=["l2", "l3"]), "wanted the arrays .*fact:l3"),
    "fewer facts": (lambda t, a: t.update(facts=[]), "found fact:l2, images, labels"),
    "nameless": (
        lambda t, a: (t.update(facts=["l2", 1]), a.update({"fact:1": a["labels"].clone()})),
        "must be a non-empty string, got 1",
    ),
    "sum": (lambda t, a: t.update(description_sha256="0"), "description in it is not the one"),
    "no images": (lambda t, a: a.pop("images"), "wanted the arrays .*images, labels, found"),
    "stranger": (lambda t, a: a.update(x=torch.zeros(1)), "found .*, x$"),
    "pixels": (lambda t, a: a.update(images=torch.full((5, 1, 1), 2.0)), r"in \[-1, 1\], got 2"),
    "nan": (lambda t, a: a.update(images=torch.full((5, 1, 1), torch.nan)), "NaN pixels"),
    "count": (lambda t, a: a.update(images=a["images"][:4]), r"shape \(4,\), got \(5,\)"),
    "labels": (lambda t, a: a.update(labels=a["labels"].to(torch.int8)), "must be int64"),
    "fact": (lambda t, a: a.update({"fact:l2": torch.zeros(4)}), r"fact 'l2' must have shape \(5,"),
}  # fmt: skip


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_impossible_sets_are_refused(path: Path, case: str) -> None:
    change, said = IMPOSSIBLE[case]
    rewrite(path, change)
    with pytest.raises(FileFormatError, match=said) as caught:
        data.load(path)
    assert one_line(caught, path)


TEXTS = {
    "null": (np.array("null"), "another program"),
    "list": (np.array("[1]"), "another program"),
    "two": (np.array(["{}", "{}"]), "another program"),
    "number": (np.array(3.0), "another program"),
    "no json": (np.array("{"), "not a readable .npz"),
    "deep": (np.array("[" * 10**5), "not a readable .npz"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_other_texts_are_refused(tmp_path: Path, case: str) -> None:
    text, said = TEXTS[case]
    np.savez(tmp_path / "a.npz", denseam=text)
    with pytest.raises(FileFormatError, match=said):
        data.load(tmp_path / "a.npz")


def test_zip_files_with_other_things_in_them(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    made().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("README", "hello")
    with pytest.raises(FileFormatError, match=r"not a readable \.npz"):
        data.load(path)
    made().save(path)
    letters = io.BytesIO()
    np.save(letters, np.array(list(string.ascii_letters)))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("fact:letters.npy", letters.getvalue())
    with pytest.raises(FileFormatError, match=r"not a readable \.npz file .* can't convert"):
        data.load(path)


def test_a_shorter_shape_is_noticed_by_its_sum(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    rewrite(path, lambda t, a: a.update({"fact:l2": torch.rand(5, 3000)}))
    whole = path.read_bytes()
    assert whole.count(b"(5, 3000)") == 1
    path.write_bytes(whole.replace(b"(5, 3000)", b"(5, 2000)"))
    with pytest.raises(FileFormatError, match="Bad CRC-32 for file 'fact:l2"):
        data.load(path)


def npy(header: str) -> bytes:
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n"


@pytest.mark.parametrize("shape", ["(100000000000000000,)", f"({10**30},)", "(-1,)", "3", "("])
@pytest.mark.parametrize("descr", ["'<f8'", "()", "'|O'", "'U9'", "',f'"])
def test_headers_that_ask_for_the_impossible(tmp_path: Path, shape: str, descr: str) -> None:
    path = tmp_path / "a.npz"
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}"
    for names in (["images", "denseam"], ["x_train", "y_train", "x_test", "y_test"]):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(f"{name}.npy", npy(header))
        with pytest.raises(FileFormatError, match=r"not a readable \.npz"):
            data.load(path)


def test_other_compressions_are_read_and_their_damage_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    made().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, contents in members.items():
                archive.writestr(name, contents)
        assert parts(read(path)) == parts(made())
        whole = path.read_bytes()
        path.write_bytes(whole[:70] + bytes(20) + whole[90:])
        with pytest.raises(FileFormatError, match=r"not a readable \.npz"):
            data.load(path)


def test_big_endian_arrays_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    made().save(path)
    with np.load(path, allow_pickle=False) as bundle:
        arrays = {**dict(bundle), "labels": made().labels.numpy().astype(">i8")}
    np.savez(path, **arrays)
    assert bits(read(path).labels) == bits(made().labels)
