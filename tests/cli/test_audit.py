"""denseam audit, and denseam attack --method minimum."""

import json
import math
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

import denseam
from denseam import data


@pytest.fixture
def model(train, tmp_path):
    assert train()[0] == 0
    return tmp_path / "run"


@pytest.fixture
def audited(run, toy, model):
    def call(*more):
        return run("audit", model, "--dataset", toy, "--count", 12, "--queries", 20, *more)

    return call


def test_an_audit_prints_its_headline_every_head_and_a_verdict(audited, tmp_path):
    code, out, err = audited("--eps", "0.4")
    assert (code, err) == (0, "")
    assert "Linf 0.4 in visible units (0.2 in [0, 1] units): all attacks together leave" in out
    for head in ("tanh, the paper's objective", "energy gap", "log-energy, scaled"):
        assert head in out
    assert "can be believed" in out or "no number can be believed" in out
    assert list(tmp_path.glob("*.html")) == []


def test_an_audit_for_machines_is_the_same(audited, toy, model):
    code, out, _ = audited("--json", "--eps", "0.4")
    assert code == 0
    found = json.loads(out)
    assert found["count"] == 12
    assert found["eps"] == 0.4
    assert found["headline"]["accuracy"] <= found["clean"]
    images = data.load(toy).test.subset(slice(12))
    network = denseam.load(model)
    right = network.predict(images.visible()) == images.labels
    assert found["clean"] == pytest.approx(float(right.double().mean()))
    assert [c["verdict"] for c in found["checks"] if c["name"] == "transfer"] == [
        "not checked"] * 5  # fmt: skip


def test_the_page_of_an_audit_is_whole(audited, model, tmp_path):
    page = tmp_path / "audit.html"
    code, out, _ = audited("--page", page, "--substitute", model)
    assert code == 0
    assert out.splitlines()[-2] == f"page in {page}"
    text = page.read_text()
    ET.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    assert f"transfer from {model}" in text


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--eps", "0"], "eps = 0.0: wanted"),
        (["--eps", "3"], "eps = 3.0: wanted"),
        (["--count", "0"], "count = 0: wanted"),
        (["--queries", "0"], "queries = 0"),
        (["--page", "audit.pdf"], "audit.pdf: wanted a .html or .htm file"),
        (["--page", "nowhere/audit.html"], "no such folder"),
        (["--substitute", "nobody"], "no model 'nobody'"),
    ],
)
def test_bad_input_is_one_line(audited, more, words):
    code, out, err = audited(*more)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.fixture
def nearest(run, toy, model, tmp_path):
    def call(*more):
        return run(
            "attack", model, "--method", "minimum", "--dataset", toy, "--count", 9,
            "--out", tmp_path / "near.safetensors", *more,
        )  # fmt: skip

    return call


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_the_nearest_wrong_images_are_a_set_and_a_picture(nearest, model, toy, tmp_path, norm):
    picture = tmp_path / "budget.png"
    code, out, err = nearest("--norm", norm, "--figure", picture, "--grid", tmp_path / "grid.png")
    assert (code, err) == (0, "")
    assert "50% of the images within" in out
    assert f"({norm}, [0, 1] units)" in out
    with Image.open(picture) as shown:
        assert shown.size[0] > 300
    made, clean = data.load(tmp_path / "near.safetensors"), data.load(toy).test.subset(slice(9))
    direct = denseam.minimum_norm(
        denseam.load(model), clean.visible(), clean.labels, norm=norm, eight_bit=False
    )
    assert made.facts["success"].tolist() == direct.success.tolist()
    assert made.facts[norm].tolist() == pytest.approx(
        getattr(direct.distances, norm).tolist(), rel=1e-5
    )
    assert made.metadata["parameters"]["norm"] == norm


def test_quantiles_of_what_was_found_are_in_the_json(nearest, tmp_path):
    code, out, _ = nearest("--json")
    found = json.loads(out)
    assert code == 0
    facts = data.load(tmp_path / "near.safetensors").facts
    distances = (facts["l2"] / 2).masked_fill(~facts["success"], math.inf)
    assert found["quantiles"]["0.5"] == pytest.approx(sorted(distances.tolist())[4])
    assert all(math.isfinite(size) for size in found["quantiles"].values())


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--eps", "0.1"], "--eps is for fgsm, bim, llc, square, not minimum"),
        (["--steps", "3"], "--steps is for bim, llc, not minimum"),
        (["--loss", "margin"], "--loss is for fgsm, bim, llc, not minimum"),
        (["--rounds", "0"], "rounds = 0"),
        (["--norm", "l1"], "'l1'"),
    ],
)
def test_options_of_another_method_are_refused(nearest, more, words):
    code, out, err = nearest(*more)
    assert (code, out) == (2, "")
    assert words in err


def test_the_other_methods_do_not_take_the_options_of_this_one(run, toy, model, tmp_path):
    code, _, err = run(
        "attack", model, "--method", "fgsm", "--norm", "l2", "--dataset", toy,
        "--out", tmp_path / "x.safetensors",
    )  # fmt: skip
    assert code == 2
    assert "--norm is for minimum, not fgsm" in err
