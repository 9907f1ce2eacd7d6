"""`denseam retrieve` and `denseam capacity`."""

import json

import numpy as np
import pytest
from PIL import Image
from tests.retrieval.problems import signs

import denseam


def test_halves_of_stored_digits_come_back(run, tmp_path):
    out = tmp_path / "a.png"
    code, text, _ = run("retrieve", "mnist", "--store", 500, "--index", 3, 17, "--cover", "left",
                        "--out", out, "--json")  # fmt: skip
    facts = json.loads(text)
    assert (code, out.read_bytes()[:4]) == (0, b"\x89PNG")
    assert facts["nearest"] == [3, 17]
    assert min(facts["agreement"]) > 0.99
    code, text, _ = run("retrieve", "mnist", "--store", 500, "--power", 30, "--cover", "noise:0.2")
    assert code == 0
    assert "RectifiedPolynomial(n=30.0)" in text


def test_pictures_patterns_and_models(run, tmp_path):
    digit = denseam.data.load("mnist").train.subset([5])
    Image.fromarray(digit.images[0].numpy()).save(tmp_path / "five.png")
    code, text, _ = run("retrieve", "mnist", tmp_path / "five.png", "--store", 50, "--json")
    assert code == 0
    assert json.loads(text)["nearest"] == [5]
    np.save(tmp_path / "bits.npy", signs(9, 784).float().numpy())
    code, text, _ = run("retrieve", tmp_path / "bits.npy", "--index", 2, "--energy", "polynomial",
                        "--power", 3, "--json")  # fmt: skip
    assert (code, json.loads(text)["domain"]) == (0, "binary")
    code, text, _ = run("retrieve", "mnist-n30", "--index", 3, "--cover", "top", "--label", 0,
                        "--max-steps", 3)  # fmt: skip
    assert code == 0
    assert "label" in text


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("mnist", "--cover", "upside"), "cover"),
        (("mnist", "--index", 60000), "--index"),
        (("mnist", "--store", 0), "--store"),
        (("mnist", "nothing.png"), "no file"),
        (("mnist-n30", "--energy", "entmax"), "its own"),
        (("mnist-nearest",), "DenseAM"),
        (("mnist", "--energy", "entmax", "--power", 3), "--power"),
        (("mnist", "--energy", "polynomial", "--beta", 3), "--beta"),
        (("mnist", "--dynamics", "asynchronous"), "dynamics"),
        (("mnist", "--beta", -1), "beta"),
        (("nothing",), "no model"),
    ],
)
def test_bad_input_is_one_line(run, words, reason):
    code, _, err = run("retrieve", *words)
    assert code == 2
    assert reason in err
    assert len(err.strip().splitlines()) == 1


def test_capacity_goes_on_where_it_was(run, tmp_path, monkeypatch):
    from denseam.study.memory import plan

    monkeypatch.setattr(plan.MemoryPlan, "neurons", lambda self, n: (30, 60))
    out = tmp_path / "capacity"
    words = ("capacity", "--powers", 2, "--bits", 1000, "--quick", "--out", out)
    code, text, _ = run(*words, "--only", "scaling-n2", "--json")
    first = {row["id"]: row["value"] for row in json.loads(text)["rows"]}
    assert code == 0
    assert 0.05 < first["scaling/n2/alpha"] < 0.25
    code, text, err = run(*words, "--only", "scaling-n2")
    assert code == 0
    assert "up to date" in err
    assert (out / "capacity.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((out / "capacity.json").read_text())["rows"]
    assert run(*words, "--only", "nothing")[0] == 2
    assert run("capacity", "--powers", 1, "--out", out)[0] == 2
