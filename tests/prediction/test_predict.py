"""Whatever a picture comes in, the label is that of the picture."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from tests.scans import STYLES, scans

import denseam
from denseam.fronts import Pixels, Table
from denseam.fronts.preparing import Preparation, preparation_of

MNIST = denseam.data.load("mnist").test.subset(slice(0, 10))


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder of ten scans, one of them in a folder of its own."""
    path = tmp_path_factory.mktemp("scans")
    (path / "below").mkdir()
    for k, page in enumerate(scans(MNIST.images, STYLES["scan"])):
        name = path / ("below" if k == 9 else ".") / f"{k}.png"
        name.write_bytes(png(page))
    (path / "notes.txt").write_text("no picture")
    return path


def test_a_folder_of_scans(folder):
    result = denseam.predict(folder)
    assert torch.equal(result.labels, MNIST.labels)
    assert result[0].name == str(folder / "0.png")
    assert result.calibrated
    assert all(0.5 < row.confidence <= 1 for row in result)
    first = result[0]
    assert (first.class_name, first.error) == ("7", None)
    assert first.runner_up != "7"
    assert [memory.votes_for for memory in first.memories] == ["7"] * 3
    explanation = denseam.load_pretrained("mnist-n30").explain(result.inputs[0], count=3)
    assert [m.position for m in first.memories] == explanation.predicted.positions.tolist()
    assert [m.share for m in first.memories] == pytest.approx(explanation.predicted.shares.tolist())


def test_every_source_is_the_same_picture(folder):
    path = folder / "1.png"
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
        sources = [
            path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), picture, pixels,
            torch.tensor(pixels), np.stack([pixels] * 3, axis=2), str(folder / "1*.png"),
        ]  # fmt: skip
        for source in sources:
            result = denseam.predict(source)
            assert result.labels.tolist() == [2]
            assert result[0].confidence == pytest.approx(denseam.predict(path)[0].confidence)
        assert denseam.predict([path, picture, path.read_bytes()]).labels.tolist() == [2, 2, 2]


def test_three_grey_pages_are_not_one_in_colour():
    pages = scans(MNIST.images[:3], STYLES["grey"])
    assert denseam.predict(pages).labels.tolist() == [7, 2, 1]


def test_pictures_of_the_models_size_stay_as_they_are():
    result = denseam.predict(png(MNIST.images[0]))
    assert torch.equal(result.inputs[0].flatten(), MNIST.visible()[0])
    inverted = denseam.predict(png(255 - MNIST.images[0])).inputs
    torch.testing.assert_close(inverted, result.inputs, atol=1e-6, rtol=0)
    forced = denseam.predict(png(MNIST.images[0]), centre=True)
    assert not torch.equal(forced.inputs, result.inputs)
    assert torch.equal(denseam.predict(png(MNIST.images[0]), invert=True).inputs, -result.inputs)


def test_sets_arrays_and_files_of_them(tmp_path):
    MNIST.save(tmp_path / "set.safetensors")
    np.save(tmp_path / "array.npy", MNIST.images.numpy())
    np.savez(tmp_path / "array.npz", images=MNIST.images.numpy())
    visible = MNIST.visible()
    for what in (MNIST, MNIST.images, visible, visible.tolist(), tmp_path / "set.safetensors",
                 tmp_path / "array.npy", tmp_path / "array.npz"):  # fmt: skip
        assert torch.equal(denseam.predict(what).labels, MNIST.labels)


def test_rows_of_a_table_need_no_labels(tmp_path):
    rows = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    front = Table.fit(rows)
    model = denseam.DenseAM(front.n_visible, 3, 20, power=3, temperature=20.0, front=front)
    expected = denseam.predict(rows, model=model).labels
    assert len(expected.unique()) > 1
    lines = [",".join(map(repr, row)) for row in rows.tolist()]
    for head in (["a,b,c,d"], []):
        (tmp_path / "rows.csv").write_text("\n".join([*head, *lines]) + "\n")
        result = denseam.predict(tmp_path / "rows.csv", model=model)
        assert torch.equal(result.labels, expected)


def test_all_pages_of_a_file_are_rows(tmp_path):
    pages = [Image.fromarray(page.numpy()) for page in scans(MNIST.images[:3], STYLES["scan"])]
    pages[0].save(tmp_path / "book.tif", save_all=True, append_images=pages[1:])
    result = denseam.predict(tmp_path)
    assert result.labels.tolist() == [7, 2, 1]
    assert [row.name.rpartition("book.tif")[2] for row in result] == [
        " page 1",
        " page 2",
        " page 3",
    ]


def test_what_cannot_be_read_is_a_row(folder, tmp_path):
    good = (folder / "2.png").read_bytes()
    for name, data in {
        "a.png": good,
        "torn.png": good[:60],
        "._a.png": b"no",
        ".b.png": good,
    }.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "bad.npz").write_bytes(b"PK")
    result = denseam.predict(
        [tmp_path, tmp_path / "none.png", tmp_path / "*.jpg", tmp_path / "bad.npz"]
    )
    assert result.labels.tolist() == [-1, 1, 1, -1, -1, -1, -1]
    reasons = [row.reason for row in result.errors]
    assert "not a whole picture" in reasons[0]
    assert "there is no file" in reasons[2]
    assert "whole file of numbers" in reasons[4]
    assert len(result.inputs) == 2
    assert len(result.plot().axes) == 1


def test_results_show_themselves(folder):
    result = denseam.predict(folder)
    assert repr(denseam.predict(folder / "0.png")).startswith("Predictions(")
    assert repr(result).count("\n") == 0
    assert result._repr_html_().count("<tr>") == 11
    frame = result.to_frame()
    assert frame["label"].tolist() == MNIST.labels.tolist()
    assert result.to_json()["predictions"][0]["memories"][0]["votes_for"] == "7"


@pytest.mark.parametrize("what", [[], np.zeros((2, 2), np.float32), {3}, 7, {"a": 1}])
def test_nothing_to_label_is_an_error(what):
    with pytest.raises(denseam.DenseAMError):
        denseam.predict(what)


def test_a_folder_without_pictures_says_so(tmp_path):
    (row,) = denseam.predict(tmp_path)
    assert row.reason == "no picture in this folder"


def test_a_model_that_knows_nothing_says_so():
    model = denseam.DenseAM(784, 10, 20, power=3, temperature=20.0)
    model.memories.data.fill_(-1.0)
    result = denseam.predict(MNIST.images[:1], model=model)
    assert not result.calibrated
    (row,) = result
    if row.label is None:
        assert "no memory is active" in row.error


# ---- preparation ---------------------------------------------------------------------------------


def trained_on(data, shape, front=None):
    N = front.n_visible if front is not None else int(np.prod(shape))
    model = denseam.DenseAM(N, 3, 5, power=3, temperature=20.0, front=front)
    model.trained_on = denseam.TrainedOn(data, shape, ("dot", "line", "ring"))
    return model


@pytest.mark.parametrize(
    ("data", "shape", "expected"),
    [
        ("mnist train", (28, 28), ("auto", "auto")),
        ("emnist-letters train", (28, 28), ("auto", "auto")),
        ("fashion-mnist train", (28, 28), ("auto", False)),
        ("shapes train", (3, 20, 20), (False, False)),
    ],
)
def test_preparation_follows_the_training_set(data, shape, expected):
    prepare = preparation_of(trained_on(data, shape))
    assert (prepare.invert, prepare.centre) == expected
    assert prepare.shape == shape


def test_colours_stay_and_the_border_goes_on():
    page = torch.zeros(3, 10, 20, dtype=torch.uint8)
    page[0] = 200
    page[:, 3:7, 8:12] = 255
    out = Preparation((3, 8, 8), invert=False, centre=False)(page)
    assert out.shape == (3, 8, 8)
    torch.testing.assert_close(out[:, 0, 0], torch.tensor([200 / 127.5 - 1, -1, -1]))
    assert float(out[1].max()) > -0.5
    grey = Preparation((8, 8), invert=False, centre=False)(page)
    assert grey.shape == (8, 8)


def test_class_names_and_fronts_are_the_models():
    front = Pixels((3, 20, 20), (10, 10))
    result = denseam.predict(
        Image.new("RGB", (50, 30), (10, 200, 30)), model=trained_on("shapes", (3, 20, 20), front)
    )
    assert result.inputs.shape == (1, 3, 20, 20)
    if result[0].label is not None:
        assert result[0].class_name in ("dot", "line", "ring")
