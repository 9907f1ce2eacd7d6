"""What people have is read for what it is, or refused with what to do."""

import gzip
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from denseam import data
from denseam.data import Dataset, Examples, FeatureSet, ImageSet
from denseam.data.units import looks_like_pixels, units_of
from denseam.errors import DataUnavailableError, DenseAMError, FileFormatError, InputError

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (40, 6, 6)).astype(np.uint8)
PIXELS[:, 0] = 0
COLOURS = RANDOM.integers(0, 256, (40, 6, 5, 3)).astype(np.uint8)
ROWS = RANDOM.normal(size=(40, 7)) * [1, 10, 100, 1e3, 1e4, 1, 1]
LABELS = np.arange(40) % 4


def notes(examples: Dataset | Examples) -> str:
    one = examples.train if isinstance(examples, Dataset) else examples
    return "; ".join(one.metadata["notes"])


# ---- units of pixels -----------------------------------------------------------------------------

UNITS = {
    "bytes": (PIXELS, (0, 255)),
    "bytes as floats": (PIXELS.astype(np.float32), (0, 255)),
    "bytes as 64-bit integers": (PIXELS.astype(np.int64), (0, 255)),
    "16 bits": (PIXELS.astype(np.uint16) * 257, (0, 65535)),
    "12 bits": (PIXELS.astype(np.uint16) * 16, (0, 4095)),
    "digits": (PIXELS.astype(float) // 15.9, (0, 16)),
    "black and white": (PIXELS > 100, (0, 1)),
    "unit": (PIXELS / 255, (0, 1)),
    "half precision": ((PIXELS / 255).astype(np.float16), (0, 1)),
    "visible": (PIXELS / 127.5 - 1, (-1, 1)),
    "smoothed bytes": (PIXELS * 0.999, (0, 255)),
    "standardised": ((PIXELS - 40.0) / 80, (-0.5, (255 - 40) / 80)),
}


@pytest.mark.parametrize("case", UNITS)
def test_units_are_found_and_said(tmp_path: Path, case: str) -> None:
    pixels, (low, high) = UNITS[case]
    np.savez(tmp_path / "a.npz", images=pixels, labels=LABELS)
    images = data.load(tmp_path / "a.npz")
    assert isinstance(images, ImageSet)
    top = float(np.max(pixels)) if case == "standardised" else high
    expected = 2 * (pixels.reshape(40, -1).astype(float) - low) / (top - low) - 1
    assert np.allclose(images.visible().double().numpy(), expected, atol=1e-5)
    if pixels.dtype not in (np.uint8, bool):
        assert f"{low:g} is taken as black, {top:g} as white" in notes(images)


def test_a_scale_that_is_said_decides(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=PIXELS / 255, labels=LABELS)
    images = data.load(tmp_path / "a.npz", scale="visible")
    assert images.visible().min() == 0  # type: ignore[union-attr]
    with pytest.raises(InputError, match="uint8 images are in units"):
        data.load((PIXELS, LABELS), scale="unit")
    with pytest.raises(InputError, match="scale is for pixels"):
        data.load((ROWS, LABELS), scale="unit")


def test_units_of_the_test_pictures_are_those_of_training(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz", x_train=PIXELS / 510, y_train=LABELS, x_test=PIXELS / 200,
        y_test=LABELS,
    )  # fmt: skip
    split = data.load(tmp_path / "a.npz")
    assert isinstance(split, Dataset)
    assert split.train.visible().max() <= 0
    assert split.test.visible().max() == 1
    assert "test pixels lie outside of 0..1 and are clipped" in notes(split)


@pytest.mark.parametrize("pixels", [np.full((2, 4, 4), -3.0), np.full((2, 4, 4), np.inf)])
def test_pixels_without_units_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"every pixel"):
        units_of(pixels)


def test_flat_rows_are_pictures_only_where_they_look_like_it() -> None:
    assert looks_like_pixels(PIXELS.reshape(40, -1).astype(float) / 255)
    assert not looks_like_pixels(RANDOM.normal(size=(40, 36)))
    assert not looks_like_pixels(RANDOM.random((40, 36)))  # no background
    assert not looks_like_pixels(PIXELS.reshape(40, -1)[:, :35])
    assert isinstance(data.load((PIXELS.reshape(40, -1), LABELS)), ImageSet)
    assert isinstance(data.load((PIXELS.reshape(40, -1), LABELS), kind="features"), FeatureSet)
    assert isinstance(data.load((ROWS, LABELS)), FeatureSet)


# ---- arrays of NumPy -----------------------------------------------------------------------------

NAMES = [
    ("X", "y"), ("x", "Y"), ("images", "labels"), ("data", "target"), ("features", "classes"),
    ("arr_0", "arr_1"), ("embeddings", "label"), ("inputs", "targets"),
]  # fmt: skip


@pytest.mark.parametrize(("x", "y"), NAMES)
def test_npz_with_the_usual_names(tmp_path: Path, x: str, y: str) -> None:
    np.savez(tmp_path / "a.npz", **{x: COLOURS, y: LABELS + 3, "readme": np.array("hello")})
    images = data.load(tmp_path / "a.npz")
    assert isinstance(images, ImageSet)
    assert images.input_shape == (3, 6, 5)
    assert np.array_equal(images.images.numpy(), COLOURS.transpose(0, 3, 1, 2))
    assert (images.labels.tolist(), images.class_names) == (LABELS.tolist(), tuple("3456"))


@pytest.mark.parametrize(
    "pattern",
    ["{x}_{part}", "{part}_{x}", "{x}{part}", "{part}-{x}", "{x}.{part}"],
)
@pytest.mark.parametrize("test", ["test", "val"])
def test_npz_and_npy_of_training_and_test(tmp_path: Path, pattern: str, test: str) -> None:
    arrays = {
        pattern.format(x=x, part=part): array[rows]
        for part, rows in (("train", slice(30)), (test, slice(30, None)))
        for x, array in (("x", ROWS), ("y", LABELS[:, None]))
    }
    np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    (tmp_path / "npy").mkdir()
    for name, array in arrays.items():
        np.save(tmp_path / "npy" / f"{name}.npy", array)
    for source in ("a.npz", "npy"):
        split = data.load(tmp_path / source)
        assert isinstance(split, Dataset)
        assert isinstance(split.train, FeatureSet)
        assert (len(split.train), len(split.test)) == (30, 10)
        assert np.array_equal(split.test.features.numpy(), ROWS[30:])
        assert split.test.labels.tolist() == LABELS[30:].tolist()


# ---- tables --------------------------------------------------------------------------------------

FRAME = pd.DataFrame(ROWS, columns=[f"f{i}" for i in range(7)])
FRAME["species"] = np.array(["cat", "dog", "cow", "ant"])[LABELS]

TEXTS: dict[str, Callable[[Path], object]] = {
    "csv": lambda path: FRAME.to_csv(path, index=False),
    "with an index": FRAME.to_csv,
    "tabs": lambda path: FRAME.to_csv(path, sep="\t", index=False),
    "semicolons, decimal commas": lambda path: FRAME.to_csv(
        path, sep=";", decimal=",", index=False
    ),
    "bars": lambda path: FRAME.to_csv(path, sep="|", index=False),
    "white space": lambda path: FRAME.to_csv(path, sep=" ", index=False),
    "no header": lambda path: FRAME.to_csv(path, index=False, header=False),
    "quoted": lambda path: FRAME.to_csv(path, index=False, quoting=1),
    "UTF-16": lambda path: FRAME.to_csv(path, index=False, encoding="utf-16"),
    "a mark of UTF-8": lambda path: FRAME.to_csv(path, index=False, encoding="utf-8-sig"),
    "Windows": lambda path: path.write_bytes(
        FRAME.to_csv(index=False).replace("\n", "\r\n").encode()
    ),
    "gzip": lambda path: path.write_bytes(gzip.compress(FRAME.to_csv(index=False).encode())),
    "blank lines": lambda path: path.write_text(FRAME.to_csv(index=False) + "\n\n"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_text_tables(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a.csv"
    TEXTS[case](path)
    table = data.load(path)
    assert isinstance(table, FeatureSet)
    assert np.allclose(table.features.numpy(), ROWS)
    assert [table.class_names[c] for c in table.labels] == FRAME["species"].tolist()
    if case != "no header":
        assert table.feature_names == tuple(f"f{i}" for i in range(7))
        assert "labels are column 'species'" in notes(table)


def test_numbers_alone(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "a.txt", np.column_stack([ROWS, LABELS + 1]), header="a b c d e f g h")
    table = data.load(tmp_path / "a.txt")
    assert isinstance(table, FeatureSet)
    assert table.class_names == tuple("1234")
    assert "column 'h', the last one" in notes(table)


def test_frames_parquet_and_a_label_column(tmp_path: Path) -> None:
    frame = FRAME.assign(
        f3=[f"text {i}" for i in range(40)], sex=["f", "m"] * 20, yes=[True, False] * 20
    )
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    polars = pytest.importorskip("polars")
    digests = {
        data.load(source, label="species").digest()  # type: ignore[union-attr]
        for source in (frame, polars.from_pandas(frame), tmp_path / "a.parquet", tmp_path / "a.csv")
    }
    assert len(digests) == 1
    table = data.load(frame, label="Sex")
    assert isinstance(table, FeatureSet)
    assert table.class_names == ("f", "m")
    assert "left out: 'f3', 40 different texts" in notes(table)
    assert "species=cow" in table.feature_names
    with pytest.raises(InputError, match="no column 'age'; it has 'f0', 'f1'"):
        data.load(frame, label="age")


def test_tables_for_training_and_test(tmp_path: Path) -> None:
    FRAME[:30].to_csv(tmp_path / "train.csv", index=False)
    FRAME[30:].to_csv(tmp_path / "test.csv", index=False)
    split = data.load(tmp_path)
    assert isinstance(split, Dataset)
    assert np.allclose(split.test.features.numpy(), ROWS[30:])
    strange = FRAME[30:].assign(species="cat")
    strange.loc[35, "species"] = "yak"
    strange.to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(InputError, match=r"labels of test must lie in classes of the .*, got yak"):
        data.load(tmp_path)


def test_pixels_in_a_table(tmp_path: Path) -> None:
    columns = [f"pixel{i}" for i in range(36)]
    frame = pd.DataFrame(PIXELS.reshape(40, -1), columns=columns)
    frame.insert(0, "label", LABELS)
    frame.to_csv(tmp_path / "a.csv", index=False)
    images = data.load(tmp_path / "a.csv")
    assert isinstance(images, ImageSet)
    assert np.array_equal(images.images.numpy(), PIXELS)


def with_cell(row: int, column: str, cell: object) -> pd.DataFrame:
    frame = FRAME.astype(object)
    frame.loc[row, column] = cell
    return frame


TABLES = {
    "a header alone": ("a,b\n", "a header without rows"),
    "no header": ("", "is empty: wanted a table"),
    "one column": ("a\n1\n2\n", "one column .'a'.: wanted features and a column of labels"),
    "a gap": (with_cell(4, "f2", None).to_csv(index=False), "row 5, column 'f2' is empty"),
    "a word": (with_cell(4, "f2", "abc").to_csv(index=False), "row 5, column 'f2' is 'abc'"),
    "infinite": (with_cell(4, "f2", "inf").to_csv(index=False), "row 5, column .* 'inf'"),
    "NaN": (with_cell(4, "f2", "nan").to_csv(index=False), "row 5, column .* 'nan'"),
    "no label": (with_cell(4, "species", None).to_csv(index=False), "row 5 has no label"),
    "one class": (FRAME.assign(species="cat").to_csv(index=False), "every label is 'cat'"),
    "a short row": (FRAME.to_csv(index=False) + "1,2,3\n", "row 41 has 3 cells, wanted 8"),
    "texts": ("a,b\nx,y\nz,w\n" + "".join(f"q{i},w\n" for i in range(80)), "no column of numbers"),
    "a regression": (
        pd.DataFrame(RANDOM.random((300, 3))).to_csv(index=False), "300 different labels in 300",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_tables_are_refused(tmp_path: Path, case: str) -> None:
    text, message = TABLES[case]
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DenseAMError, match=message) as caught:
        data.load(path)
    assert str(path) in str(caught.value)


# ---- folders of pictures -------------------------------------------------------------------------


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def test_pictures_by_class(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path / f"{LABELS[i]}" / f"{i:02}.png", PIXELS[i])
    (tmp_path / "0" / ".DS_Store").write_bytes(b"x")
    (tmp_path / "0" / "bad.png").write_bytes(b"x")
    (tmp_path / "1" / "notes.txt").write_bytes(b"x")
    (tmp_path / ".cache").mkdir()
    images = data.load(tmp_path)
    assert isinstance(images, ImageSet)
    order = np.argsort(LABELS[:20], kind="stable")
    assert np.array_equal(images.images.numpy(), PIXELS[:20][order])
    assert images.labels.tolist() == sorted(LABELS[:20].tolist())
    assert "3 files are left out, such as .DS_Store (hidden)" in notes(images)


def test_pictures_for_training_and_test_of_different_sizes(tmp_path: Path) -> None:
    for part, count in (("Train", 12), ("val", 4)):
        for i in range(count):
            pixels = COLOURS[i] if i % 3 else COLOURS[i][:5, :4]
            save(tmp_path / part / "ab"[i % 2] / "deeper" / f"{i}.png", pixels)
    split = data.load(tmp_path)
    assert isinstance(split, Dataset)
    assert split.train.input_shape == (3, 6, 5)
    assert (len(split.train), len(split.test), split.test.class_names) == (12, 4, ("a", "b"))
    assert "resized to 6 x 5 in proportion" in notes(split)


def test_large_pictures_are_made_smaller_in_proportion(tmp_path: Path) -> None:
    page = np.full((300, 150), 255, np.uint8)
    page[100:200, 50:100] = 0  # a dark box in the middle
    for name in ("a", "b"):
        save(tmp_path / name / "1.png", page)
        save(tmp_path / name / "2.png", page)
    images = data.load(tmp_path)
    assert isinstance(images, ImageSet)
    assert images.shape == (64, 32)
    assert images.images[0, 32, 16] == 0
    assert images.images[0, 2, 2] == 255
    ink = (images.images[0] < 128).sum()
    assert abs(int(ink) - 64 * 32 / 9) < 30


def test_pictures_keep_their_proportions(tmp_path: Path) -> None:
    for i in range(5):
        save(tmp_path / "ab"[i % 2] / f"{i}.png", np.full((8, 8), 200, np.uint8))
    save(tmp_path / "a" / "wide.png", np.full((4, 8), 200, np.uint8))
    images = data.load(tmp_path)
    assert isinstance(images, ImageSet)
    assert (images.images == 200).all()  # margins have the colour of the edges


FOLDERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda folder: None, "is empty: wanted pictures by class"),
    "unsorted": (lambda folder: save(folder / "a.png", PIXELS[0]), "such as a.png, whose class"),
    "unreadable": (
        lambda folder: [(folder / "a").mkdir(), (folder / "a" / "b.png").write_bytes(b"x")],
        "no picture can be read in its folders.* 1 files are left out, such as b.png",
    ),
    "one class": (lambda folder: save(folder / "a" / "b.png", PIXELS[0]), "every label is 'a'"),
    "other things": (lambda folder: (folder / "a.md").write_text("x"), "nothing.*found a.md"),
    "many tables": (
        lambda folder: [(folder / name).write_text("a,b\n1,2\n") for name in ("a.csv", "b.csv")],
        "holds the tables a.csv, b.csv: give one of them",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDERS)
def test_folders_are_refused(tmp_path: Path, case: str) -> None:
    fill, message = FOLDERS[case]
    fill(tmp_path)
    with pytest.raises(DenseAMError, match=message) as caught:
        data.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_features_that_float32_does_not_resolve_are_noted() -> None:
    table = data.load((ROWS + 1e9 * (np.arange(7) == 5), LABELS))
    assert isinstance(table, FeatureSet)
    assert "feature 6 varies by" in notes(table)
    assert "subtract its mean first" in notes(table)
    assert notes(data.load((ROWS + 100, LABELS))) == ""


# ---- other libraries -----------------------------------------------------------------------------


def test_bunches_of_scikit_learn() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    digits = data.load(datasets.load_digits())
    assert isinstance(digits, ImageSet)
    assert (digits.shape, digits.n_classes) == ((8, 8), 10)
    iris = data.load(datasets.load_iris())
    assert isinstance(iris, FeatureSet)
    assert iris.class_names == ("setosa", "versicolor", "virginica")
    assert iris.feature_names[0] == "sepal length (cm)"
    framed = data.load(datasets.load_wine(as_frame=True))
    assert isinstance(framed, FeatureSet)
    assert framed.input_shape == (13,)


def test_saved_datasets(tmp_path: Path) -> None:
    hub = pytest.importorskip("datasets")
    hub.disable_progress_bars()
    features = hub.Features(
        {"image": hub.Image(), "label": hub.ClassLabel(names=["a", "b", "c", "d"])}
    )
    pictures = [Image.fromarray(each) for each in PIXELS]
    whole = hub.Dataset.from_dict({"image": pictures, "label": LABELS.tolist()}, features=features)
    whole.save_to_disk(tmp_path / "one")
    whole.train_test_split(0.25, seed=0).save_to_disk(tmp_path / "two")
    whole.to_parquet(tmp_path / "one.parquet")
    for name in ("one", "one.parquet"):
        images = data.load(tmp_path / name)
        assert isinstance(images, ImageSet)
        assert np.array_equal(images.images.numpy(), PIXELS)
        assert (images.labels.tolist(), images.class_names) == (LABELS.tolist(), tuple("abcd"))
    split = data.load(tmp_path / "two")
    assert isinstance(split, Dataset)
    assert (len(split.train), len(split.test)) == (30, 10)
    rows = {
        "text": ["x"] * 40,
        "embedding": RANDOM.normal(size=(40, 50)).tolist(),
        "label": LABELS.tolist(),
    }
    hub.Dataset.from_dict(rows).save_to_disk(tmp_path / "three")
    table = data.load(tmp_path / "three")
    assert isinstance(table, FeatureSet)
    assert np.allclose(table.features.numpy(), rows["embedding"])
    (tmp_path / "one" / "state.json").write_text("{}")
    with pytest.raises(FileFormatError, match="names no files"):
        data.load(tmp_path / "one")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("state.json", '{"_data_files": [{}]}', "names no files"),
        ("state.json", '{"_data_files": {"filename": "x"}}', "names no files"),
        ("state.json", '{"_data_files": [{"filename": "gone.arrow"}]}', "gone.arrow is missing"),
        ("state.json", "[]", "not a readable description"),
        ("state.json", "{", "not a readable description"),
        ("dataset_dict.json", '{"splits": ["../a", 3]}', "names no splits that are there"),
        ("dataset_dict.json", "{}", "names no splits that are there"),
    ],
)
def test_saved_datasets_whose_description_is_wrong(
    tmp_path: Path, file: str, text: str, message: str
) -> None:
    pytest.importorskip("pyarrow")
    (tmp_path / file).write_text(text)
    with pytest.raises(FileFormatError, match=message):
        data.load(tmp_path)


# ---- wrong things --------------------------------------------------------------------------------

WRONG: dict[str, tuple[str, bytes, str]] = {
    "a table called .npz": ("a.npz", b"a,b\n1,2\n", "it is text; if it is a table, call it .csv"),
    "Parquet called .npz": ("a.npz", b"PAR1....", "it is a Parquet file"),
    "a picture called .npz": ("a.npz", b"\x89PNG\r\n", "it is a picture"),
    "a pickle called .npz": ("a.npz", pickle.dumps(LABELS), "a pickle, which is not loaded"),
    "empty": ("a.npz", b"", "it is empty"),
    "a picture": ("a.png", b"\x89PNG\r\n", "is one picture: wanted a folder of pictures"),
    "a pickle": ("a.pkl", b"\x80", "a pickle, which is not loaded"),
    "MATLAB": ("a.mat", b"MATLAB", "load it with scipy.io.loadmat"),
    "Excel": ("a.xlsx", b"PK", "save the sheet as CSV"),
    "an archive": ("a.zip", b"PK", "unpack it and give its folder"),
    "a broken Parquet file": ("a.parquet", b"PAR1" + bytes(99), "not a whole file"),
    "bytes called .csv": ("a.csv", bytes(range(256)), "is not text"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_say_what_they_are(tmp_path: Path, case: str) -> None:
    name, contents, message = WRONG[case]
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(FileFormatError, match=message) as caught:
        data.load(tmp_path / name)
    assert name in str(caught.value)
    assert "allow_pickle" not in str(caught.value)


def test_objects_are_refused_with_what_to_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", X=ROWS, y=np.array(["a", "b"] * 20, object))
    with pytest.raises(FileFormatError, match=r"y.npy: it holds objects .*y\.astype\(str\)"):
        data.load(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": ROWS}, "no y; wanted the arrays .* found X"),
        ({"X": ROWS, "y": LABELS[:3]}, r"labels must have shape \(40,\), got \(3,\)"),
        ({"X": ROWS[:, 0], "y": LABELS}, r"got \(40,\)"),
        ({"X": ROWS[:0], "y": LABELS[:0]}, "is empty"),
        ({"X": np.where(ROWS > 1e4, np.nan, ROWS), "y": LABELS}, r"row \d+, column 5 is nan"),
        ({"X": ROWS, "y": np.full(40, 2)}, "every label is '2'"),
        ({"X": COLOURS[:, :, :, [0, 1, 2, 2]], "y": LABELS}, "drop the fourth channel"),
    ],
)
def test_arrays_that_are_no_set(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DenseAMError, match=message) as caught:
        data.load(tmp_path / "a.npz")
    assert "a.npz" in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailableError, match=r"no such folder, \.npz file"):
        data.load(tmp_path / "nothing.csv")
