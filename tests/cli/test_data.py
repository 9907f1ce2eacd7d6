"""Commands read what people have, say how, and test on what they have not trained on."""

import json

import numpy as np
import pytest

from denseam import data
from denseam.data import FeatureSet, ImageSet


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    kind = np.arange(60) // 20
    rows = random.normal(size=(60, 3)) + 4 * kind[:, None]
    lines = [
        f"{a},{b},{c},{'xyz'[k]},{i % 2}"
        for i, ((a, b, c), k) in enumerate(zip(rows, kind, strict=True))
    ]
    (tmp_path / "a.csv").write_text("\n".join(["p,q,r,species,odd", *lines]))
    return tmp_path


def test_data_describes_what_is_at_a_path(run, here):
    code, out, err = run("data", "a.csv")
    assert (code, err) == (0, "")
    for line in (
        "kind       features", "shape      4", "examples   60 (all)",
        "split      commands draw 12 of 60 to test on, by class",
        "note       labels are column 'species'",
    ):  # fmt: skip
        assert line in out
    facts = json.loads(run("data", "a.csv", "--label", "odd", "--json")[1])
    assert facts["classes"] == [["0", 30], ["1", 30]]
    assert facts["shape"] == [6]  # the three species are columns of their own
    code, _, err = run("data", "a.csv", "--label", "even")
    assert code == 2
    assert "no column 'even'; it has 'p', 'q', 'r', 'species', 'odd'" in err
    assert run("data", "a.csv", "--fetch")[0] == 2


def test_data_describes_pictures_of_training_and_test(run, here):
    x, y = np.zeros((6, 3, 2), np.uint8), [0, 1, 0, 1, 0, 1]
    np.savez("a.npz", x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    facts = json.loads(run("data", "a.npz", "--json")[1])
    assert (facts["kind"], facts["shape"]) == ("pictures", [3, 2])
    assert facts["examples"] == {"train": 6, "test": 2}
    assert facts["classes"] == [["0", 3, 1], ["1", 3, 1]]
    out = run("data", "a.npz", "--kind", "features")[1]
    assert "kind       features" in out


def test_one_set_is_split_to_train_and_to_evaluate(run, here):
    code, out, err = run("train", "--dataset", "a.csv", "--power", 3, "--epochs", 3, "--out", "run")
    assert code in (0, 3), err
    assert "a.csv: labels are column 'species'" in err
    assert "12 of 60 examples are drawn to test on" in err
    assert "of 12;" in out
    first = json.loads(run("evaluate", "run", "--dataset", "a.csv", "--json")[1])
    assert first["n_images"] == 12
    trained = data.load("a.csv").split()
    assert trained.test.class_counts().tolist() == [4, 4, 4]
    every = json.loads(run("evaluate", "run", "--dataset", "a.csv", "--part", "train", "--json")[1])
    assert every["n_images"] == 48


def test_a_saved_set_is_looked_at_as_a_whole(run, here):
    table = data.load("a.csv")
    assert isinstance(table, FeatureSet)
    run("train", "--dataset", "a.csv", "--power", 3, "--epochs", 1, "--out", "run")
    table.split().test.save("test.safetensors")
    found = json.loads(run("evaluate", "run", "--dataset", "test.safetensors", "--json")[1])
    assert found["n_images"] == 12


def test_what_needs_pictures_refuses_tables(run, here):
    ImageSet.from_arrays(np.zeros((2, 2, 2), np.uint8), [0, 1]).save("a.safetensors")
    run("train", "--dataset", "a.csv", "--power", 3, "--epochs", 1, "--out", "run")
    code, out, err = run(
        "attack", "run", "--method", "fgsm", "--eps", 0.1, "--dataset", "a.csv", "--out", "b.npz"
    )
    assert (code, out) == (2, "")
    assert "denseam attack works on pictures" in err
