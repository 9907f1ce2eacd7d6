"""`denseam guard calibrate`, `check` and `evaluate`."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
import torch
from guard import small
from PIL import Image
from rich.console import Console
from tests.scans import STYLES, scans

from denseam import Guard
from denseam.cli.guard import check, evaluate
from denseam.data import load


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Networks, images and a guard of the small problem, as files."""
    folder = tmp_path_factory.mktemp("guard")
    small.memories().save(folder / "detector.safetensors")
    small.memories(2.0, seed=1).save(folder / "classifier.safetensors")
    small.clean().save(folder / "clean.safetensors")
    small.guard().save(folder / "guard")
    return folder


@pytest.fixture
def calibrate(run, files):
    def call(*more, out):
        return run(
            "guard", "calibrate", "--detector", files / "detector.safetensors", "--classifier",
            files / "classifier.safetensors", "--dataset", files / "clean.safetensors",
            "--target-rejection", 0.05, "--out", out, *more,
        )  # fmt: skip

    return call


def pictures(folder, count=4):
    folder.mkdir(exist_ok=True)
    images = small.clean(count, seed=4)
    gray = ((images.images + 1) * 127.5).round().to(torch.uint8).numpy()
    for k, pixels in enumerate(gray):
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return gray


# ---- calibrate -----------------------------------------------------------------------------------


def test_calibrate_makes_the_guard_of_the_library(calibrate, files, tmp_path):
    code, out, err = calibrate(out=tmp_path / "g")
    assert (code, err) == (0, "")
    assert "rejects 5.00 % of clean images like these" in out
    found = Guard.load(tmp_path / "g")
    wanted = Guard.load(files / "guard")
    assert found.to_json() == wanted.to_json()


def test_a_long_calibration_says_in_a_pipe_what_it_does(calibrate, tmp_path, monkeypatch):
    monkeypatch.setattr("denseam.cli.progress._FIRST", 0.0)
    code, _, err = calibrate(out=tmp_path / "g")
    assert code == 0
    first, second, *_ = err.splitlines()
    assert first == "calibrate: scores of 400 images"
    assert second.startswith("calibrate: labels of both members, about ")


def test_calibrate_json_and_options(calibrate, tmp_path):
    code, out, _ = calibrate(
        "--json", "--score", "gap", "--count", 50, "--seed", 3, out=tmp_path / "g.safetensors"
    )
    facts = json.loads(out)
    assert code == 0
    assert facts["score"] == "gap"
    assert facts["n_calibration"] == 50
    assert (tmp_path / "g.safetensors").is_file()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--count", 20), "wanted at least 38"),
        (("--count", 0), "count = 0: wanted a whole number >= 1"),
        (("--count", 10**20), "< 2^31"),
        (("--score", "nothing"), "wanted activity"),
        (("--target-rejection", 2), "wanted a number > 0 and < 1"),
        (("--classifier", "none.onnx"), "no such ONNX file"),
        (("--classifier", "http://127.0.0.1:9/v2/models/m"), "does not answer"),
        (("--classifier", "mnist-n31"), "no model 'mnist-n31'"),
    ],
)
def test_calibrate_refuses_in_one_line(calibrate, tmp_path, more, said):
    code, out, err = calibrate(*more, out=tmp_path / "g")
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "g").exists()


# ---- check ---------------------------------------------------------------------------------------


def test_check_says_what_the_guard_says(run, files, tmp_path):
    gray = pictures(tmp_path / "pics")
    code, out, err = run("guard", "check", files / "guard", tmp_path / "pics", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    wanted = Guard.load(files / "guard").predict(torch.from_numpy(np.stack(gray)))
    assert said["images"] == 4
    assert said["rejected"] == wanted.n_rejected
    for row, verdict, k in zip(said["verdicts"], wanted, range(4), strict=True):
        assert row == {"image": str(tmp_path / "pics" / f"{k}.png"), **verdict.to_json()}


def test_check_writes_all_and_draws_what_was_set_aside(run, files, tmp_path):
    junk = torch.rand(7, *small.SHAPE) * 0.2 - 0.1
    images = torch.cat([small.clean(5, seed=4).images, junk])
    small.ImageSet(images, torch.zeros(12, dtype=torch.int64), 3).save(tmp_path / "s.npz")
    for suffix in (".csv", ".jsonl"):
        code, out, _ = run(
            "guard", "check", files / "guard", tmp_path / "s.npz", "--out", tmp_path / f"v{suffix}",
            "--sheet", tmp_path / "sheet.png",
        )  # fmt: skip
        assert code == 0
        assert "low_confidence" in out
    rows = list(csv.DictReader((tmp_path / "v.csv").read_text().splitlines()))
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert [row["image"] for row in rows] == [line["image"] for line in lines]
    assert len(rows) == 12
    assert [row["accepted"] for row in rows] == [str(line["accepted"]) for line in lines]
    rejected = sum(not line["accepted"] for line in lines)
    assert rejected >= 7
    with Image.open(tmp_path / "sheet.png") as sheet:
        width = sheet.width // min(10, rejected)
        assert sheet.size == (width * min(10, rejected), sheet.height)
        cells = -(-rejected // 10)
        assert sheet.height == cells * (2 * small.SHAPE[0] + 2 * 4 + 13)


def test_check_takes_pictures_sets_and_parts_together(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr(check, "_CHUNK", 3)
    pictures(tmp_path / "pics")
    code, out, _ = run(
        "guard", "check", files / "guard", files / "clean.safetensors", tmp_path / "pics",
        tmp_path / "pics" / "0.png", "--count", 8, "--json",
    )  # fmt: skip
    assert code == 0
    said = json.loads(out)["verdicts"]
    assert len(said) == 8 + 4 + 1
    last, same = said[-1], next(v for v in said if v["image"] == said[-1]["image"])
    assert last == same
    wanted = Guard.load(files / "guard").predict(small.clean().subset(slice(8)))
    assert [v["score"] for v in said[:8]] == wanted.scores.tolist()


def test_check_inverts_and_is_strict(run, files, tmp_path):
    gray = pictures(tmp_path / "pics")
    for k, pixels in enumerate(gray):
        Image.fromarray(255 - pixels).save(tmp_path / "pics" / f"{k}.png")
    code, out, _ = run("guard", "check", files / "guard", tmp_path / "pics", "--invert", "--json")
    wanted = Guard.load(files / "guard").predict(torch.from_numpy(np.stack(gray)))
    assert [v["score"] for v in json.loads(out)["verdicts"]] == wanted.scores.tolist()
    Image.fromarray(np.zeros((7, 7), np.uint8)).save(tmp_path / "pics" / "9.png")
    code, _, err = run("guard", "check", files / "guard", tmp_path / "pics", "--strict")
    assert code == 2
    assert "7 x 7 pixels, wanted 4 x 5" in err


def test_check_goes_on_after_what_cannot_be_read(run, files, tmp_path):
    gray = pictures(tmp_path / "pics")
    (tmp_path / "pics" / "1.png").write_bytes(b"torn")
    (tmp_path / "pics" / "._2.png").write_bytes(b"of a Mac")
    out = tmp_path / "v.csv"
    code, text, _ = run("guard", "check", files / "guard", tmp_path / "pics", "--out", out)
    assert code == 1
    assert "2 could not be read" in text
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [bool(row["error"]) for row in rows] == [True, False, True, False, False]
    assert [bool(row["score"]) for row in rows] == [False, True, False, True, True]
    wanted = Guard.load(files / "guard").predict(torch.from_numpy(np.stack(gray))[[0, 2, 3]])
    assert [float(row["score"]) for row in rows if row["score"]] == wanted.scores.tolist()
    code, text, _ = run("guard", "check", files / "guard", tmp_path / "pics", "--json")
    assert json.loads(text)["unreadable"] == 2


def test_scans_are_prepared_for_calibration_and_for_checks(run, tmp_path):
    mnist = load("mnist").test
    for name, rows in (("clean", slice(0, 210)), ("new", slice(210, 260))):
        pages = scans(mnist.images[rows], STYLES["scan"], seed=rows.start)
        for k, page in enumerate(pages):
            folder = tmp_path / name / str(int(mnist.labels[rows][k]))
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(page.numpy()).save(folder / f"{k}.png")
    code, _, err = run(
        "guard", "calibrate", "--detector", "mnist-n30", "--classifier", "mnist-relu",
        "--dataset", tmp_path / "clean", "--out", tmp_path / "g",
    )  # fmt: skip
    assert (code, err) == (0, "")
    code, text, _ = run("guard", "check", tmp_path / "g", tmp_path / "new", "--json")
    said = json.loads(text)
    assert code == 0
    assert said["images"] == 50
    assert said["rejected"] <= 2
    for command, dataset in (("guard evaluate", "new"), ("evaluate", "clean")):
        model = tmp_path / "g" if "guard" in command else "mnist-n30"
        options = ("--dataset", tmp_path / dataset, "--part", "train", "--json")
        said = json.loads(run(*command.split(), model, *options)[1])
        assert said.get("clean", {"rejected": 0})["rejected"] <= 2
        assert said.get("error", 0) <= 0.03
    # Made smaller before they were prepared, the same pages would look otherwise to the guard.
    said = json.loads(run("guard", "check", tmp_path / "g", tmp_path / "clean", "--json")[1])
    assert said["rejected"] <= 4


def test_check_takes_another_classifier(run, files, tmp_path):
    other = small.memories()
    with torch.no_grad():
        other.class_memories.copy_(other.class_memories.roll(1, dims=1))
    other.save(tmp_path / "other.safetensors")
    code, out, _ = run(
        "guard", "check", files / "guard", files / "clean.safetensors", "--count", 5, "--json",
        "--classifier", tmp_path / "other.safetensors",
    )  # fmt: skip
    assert code == 0
    accepted = [row for row in json.loads(out)["verdicts"] if row["accepted"]]
    assert accepted
    for row in accepted:
        assert row["classifier_label"] == (row["detector_label"] + 1) % small.C


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none", "pics"), "there is no guard"),
        (("guard", "none.png"), "no file"),
        (("guard", "none.npz"), "no such"),
        (("guard", "pics/bad.png"), "not a whole picture"),
        (("guard", "pics", "--out", "v.txt"), ".csv or .jsonl"),
        (("guard", "pics", "--sheet", "v.jpg"), ".png"),
        (("guard", "clean.safetensors", "--count", "0"), "count = 0: wanted a whole number >= 1"),
        (("guard", "clean.safetensors", "--count", 10**20), "< 2^31"),
        (("detector.safetensors", "pics"), "found model"),
        (("guard", "mnist"), "images have shape"),
    ],
)
def test_check_refuses_in_one_line(run, files, monkeypatch, arguments, said):
    monkeypatch.chdir(files)
    pictures(files / "pics", 1)
    (files / "pics" / "bad.png").write_bytes(b"no")
    code, out, err = run("guard", "check", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_check_prints_names_as_they_are(run, files, tmp_path, monkeypatch):
    """Also where the console reads markup, and where a name is no UTF-8."""
    monkeypatch.setattr(check, "stdout", Console(highlight=False, soft_wrap=True, width=300))
    pictures(tmp_path / "pics", 1)
    names = ["[red]a[/].png", "[/x]b.png", "c\x1b[31m.png", os.fsdecode(b"d\xff.png")]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(tmp_path / "pics" / "0.png", tmp_path / name)
    given = [tmp_path / name for name in names]
    code, out, _ = run("guard", "check", files / "guard", *given, "--out", tmp_path / "[/x].csv")
    assert code == 0
    assert "[red]a[/].png" in out
    assert "[/x]b.png" in out
    assert "c\\x1b[31m.png" in out
    assert "d\\udcff.png" in out
    assert "[/x].csv" in out
    rows = list(csv.DictReader((tmp_path / "[/x].csv").read_text("utf-8").splitlines()))
    assert rows[3]["image"] == str(tmp_path / "d\\udcff.png")


@pytest.mark.parametrize("option", [("--out", "v.csv"), ("--sheet", "v.png")])
def test_check_looks_for_the_folder_first(run, files, tmp_path, monkeypatch, option):
    monkeypatch.setattr(Guard, "predict", None)  # nothing is judged in vain
    name, file = option
    code, out, err = run(
        "guard", "check", files / "guard", files / "clean.safetensors", name, tmp_path / "no" / file
    )
    assert (code, out) == (2, "")
    assert f"no such folder {tmp_path / 'no'}" in err
    assert err.count("\n") == 1


# ---- evaluate ------------------------------------------------------------------------------------


def test_evaluate_measures_and_draws(run, files, tmp_path):
    arguments = (
        "guard", "evaluate", files / "guard", "--dataset", files / "clean.safetensors", "--count",
        12, "--models", files / "detector.safetensors", "--junk", files / "clean.safetensors",
        "--figure", tmp_path / "g.png",
    )  # fmt: skip
    code, out, err = run(*arguments)
    assert code == 0
    assert err == (
        "warning: the guard was calibrated on 12 of these 12 clean images: on new ones it rejects "
        "more. Give others with --dataset\n"
    )
    assert "blank, 101 gray levels" in out
    assert (tmp_path / "g.png").stat().st_size > 1000
    code, out, _ = run(*arguments[:-2], "--json")
    found = json.loads(out)
    assert found["clean"]["count"] == 12
    assert found["trials"][-1]["name"] == str(files / "clean.safetensors")
    assert found["trials"][-1]["count"] == 12
    assert found["guard"]["score"] == "profile"


def test_evaluate_prints_names_as_they_are(run, files, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "stdout", Console(highlight=False, soft_wrap=True, width=300))
    names = ["[/x].safetensors", "b\x1b[31m.safetensors"]
    arguments = []
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(files / "clean.safetensors", tmp_path / name)
        arguments += ["--junk", tmp_path / name]
    given = ("--dataset", files / "clean.safetensors", "--count", 3)
    code, out, _ = run("guard", "evaluate", files / "guard", *given, *arguments)
    assert code == 0
    assert "[/x].safetensors" in out
    assert "b\\x1b[31m.safetensors" in out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--figure", "no/g.png"), "no/g.png: no such folder"),
        (("--count", 10**20), "< 2^31"),
        (("--count", 0), "count = 0: wanted a whole number >= 1"),
    ],
)
def test_evaluate_refuses_before_it_begins(run, files, monkeypatch, more, said):
    monkeypatch.chdir(files)
    monkeypatch.setattr(Guard, "predict", None)
    code, out, err = run("guard", "evaluate", "guard", "--dataset", "clean.safetensors", *more)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_guard_alone_shows_its_commands(run):
    code, out, err = run("guard")
    assert (code, err) == (0, "")
    assert run("guard", "--help") == (code, out, err)
    for command in ("calibrate", "check", "evaluate", "serve", "review"):
        assert command in out
        code, text, _ = run("guard", command, "--help")
        assert code == 0
        assert f"denseam guard {command}" in text
