"""rubbish, boundary, attack: the sets they write, their pictures, and what they print."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
from PIL import Image

import denseam
from denseam import data


@pytest.fixture
def model(train, tmp_path):
    assert train()[0] == 0
    return tmp_path / "run"


@pytest.fixture
def boundary(run, toy, model, tmp_path):
    def call(*more, out=tmp_path / "b.safetensors"):
        return run("boundary", model, "--dataset", toy, "--count", 8, "--out", out, *more)

    return call


def test_boundary_says_what_came_of_it_and_writes_the_set(boundary, model, tmp_path):
    code, out, err = boundary()
    assert (code, err) == (0, "")
    lines = out.splitlines()
    made = data.load(tmp_path / "b.safetensors")
    crossed = int(made.facts["success"].sum())
    assert crossed >= 5
    assert lines[0].startswith(f"{crossed} of 8 images ({100 * crossed / 8:.2f} %)")
    assert lines[1].startswith("median L2 distance of the boundary ")
    assert re.match(rf"stopped: (\w+ \d, )?crossed {crossed}(, \w+ \d)*; median ", lines[2])
    assert "visible units" in lines[3]
    assert lines[-2] == f"set in {tmp_path / 'b.safetensors'}"
    assert len(made) == 8
    led = denseam.load(model).predict(made.visible()) == made.facts["target"]
    assert led[made.facts["success"]].all()


def test_a_set_is_evaluated_like_any_other(boundary, run, model, tmp_path):
    boundary()
    code, out, err = run("evaluate", model, "--dataset", tmp_path / "b.safetensors", "--json")
    assert (code, err) == (0, "")
    made = data.load(tmp_path / "b.safetensors")
    wrong = (made.facts["predicted"] != made.labels).double().mean()
    assert json.loads(out)["error"] == pytest.approx(float(wrong))


def test_json_is_one_value_with_the_parameters(boundary):
    code, out, err = boundary("--json", "--step", 0.05, "--target", "least", "--mode", "controlled")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["images"] == 8
    asked = found["parameters"]
    assert (asked["step"], asked["target"], asked["mode"]) == (0.05, "least", "controlled")
    assert sum(found["stopped"].values()) == 8


def test_where_nothing_crosses_that_is_said(boundary, tmp_path):
    code, out, err = boundary("--max-steps", 1, "--step", 1e-6, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["success"], found["median_boundary_l2"]) == (0, None)
    code, out, _ = boundary("--max-steps", 1, "--step", 1e-6)
    assert out.startswith("0 of 8 images (0.00 %)")
    code, _, err = boundary(
        "--max-steps", 1, "--step", 1e-6, "--figure", tmp_path / "f.png", out=tmp_path / "c.npz"
    )
    assert code == 2
    assert "nothing to draw" in err


def test_every_class_in_turn(boundary, tmp_path):
    assert boundary("--target", "each")[0] == 0
    made = data.load(tmp_path / "b.safetensors")
    assert len(made) == 8 * (made.n_classes - 1)


def test_figures_and_grids_are_pictures(boundary, run, toy, model, tmp_path):
    figure, grid = tmp_path / "fig4.png", tmp_path / "grid.png"
    assert boundary("--figure", figure, "--grid", grid)[0] == 0
    assert run("rubbish", model, "--shape", *_shape(toy), "--out", tmp_path / "r.npz",
               "--max-steps", 20, "--figure", tmp_path / "fig3.png")[0] == 0  # fmt: skip
    assert run("attack", model, "--method", "fgsm", "--dataset", toy, "--eps", 0, 0.2, 0.5,
               "--out", tmp_path / "a.npz", "--figure", tmp_path / "fig8.svg")[0] == 0  # fmt: skip
    for path in (figure, grid, tmp_path / "fig3.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 8
            assert len(picture.convert("L").getcolors(1 << 20)) > 2, "nothing was drawn"
    assert b"<svg" in (tmp_path / "fig8.svg").read_bytes()


def _shape(toy):
    return data.load(toy).train.shape


def test_attack_reports_the_error_for_every_size(run, toy, model, tmp_path):
    code, out, err = run(
        "attack", model, "--method", "bim", "--steps", 3, "--dataset", toy, "--eps", 0, 0.3,
        "--out", tmp_path / "a.safetensors", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    found = json.loads(out)
    made = data.load(tmp_path / "a.safetensors")
    assert set(found["errors"]) == {"0", "0.3"}
    assert found["errors"]["0"] <= found["errors"]["0.3"]
    assert len(made) == 2 * len(data.load(toy).test)


def test_attack_reports_how_sure_the_model_is_where_it_is_wrong(run, toy, model, tmp_path):
    command = ["attack", model, "--method", "fgsm", "--dataset", toy, "--eps", 0.5, 2,
               "--out", tmp_path / "a.safetensors"]  # fmt: skip
    code, out, err = run(*command, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    made = data.load(tmp_path / "a.safetensors")
    for size in (0.5, 2.0):
        here = made.subset(made.facts["eps"] == size)
        wrong = denseam.load(model).predict(here.visible()) != here.labels
        assert wrong.any()
        sure = denseam.confidence(denseam.load(model), here.visible()[wrong]).mean()
        assert found["confidences"][f"{size:g}"] == pytest.approx(float(sure), abs=1e-6)
    said = run(*command)[1]
    error, sure = found["errors"]["2"], found["confidences"]["2"]
    line = f"eps 2: error {100 * error:.2f} %, mean confidence on errors {100 * sure:.2f} %\n"
    assert line in said


def test_where_no_label_is_wrong_there_is_no_confidence_on_errors(run, toy, model, tmp_path):
    right = tmp_path / "right.npz"
    images = data.load(toy).test
    images.subset(denseam.load(model).predict(images.visible()) == images.labels).save(right)
    command = ["attack", model, "--method", "fgsm", "--dataset", right, "--eps", 0,
               "--out", tmp_path / "a.npz"]  # fmt: skip
    assert json.loads(run(*command, "--json")[1])["confidences"] == {"0": None}
    assert "eps 0: error 0.00 %\n" in run(*command)[1]


@pytest.mark.parametrize(("head", "loss"), [("tanh", "objective"), ("log_energy", "cross_entropy")])
def test_a_head_is_a_word_for_a_loss(run, toy, model, tmp_path, head, loss):
    for option, value in (("--head", head), ("--loss", loss)):
        code, _, err = run("attack", model, "--method", "bim", "--dataset", toy, "--eps", 0.3,
                           option, value, "--out", tmp_path / f"{option}.npz")  # fmt: skip
        assert (code, err) == (0, "")
    one, other = (data.load(tmp_path / f"{option}.npz") for option in ("--head", "--loss"))
    assert one.metadata["parameters"] == other.metadata["parameters"]
    assert one.metadata["parameters"]["loss"] == loss
    assert one.digest() == other.digest()


def test_a_head_and_a_loss_are_one_clear_line(run, tmp_path):
    code, out, err = run("attack", "m", "--method", "fgsm", "--out", tmp_path / "a.npz",
                         "--head", "tanh", "--loss", "objective")  # fmt: skip
    assert (code, out) == (2, "")
    assert re.fullmatch(r"denseam attack: .*--loss: not allowed with argument --head.*\n", err)


def test_rubbish_says_how_many_have_reached_their_class(run, toy, model, tmp_path):
    command = ["rubbish", model, "--per-class", 2, "--out", tmp_path / "r.npz", "--max-steps", 40]
    code, out, err = run(*command, "--json")
    assert (code, err) == (0, "")
    made = data.load(tmp_path / "r.npz")
    own = denseam.load(model)(made.visible()).gather(1, made.labels[:, None])[:, 0]
    there = int(((made.facts["predicted"] == made.labels) & (own > 0.5)).sum())
    assert json.loads(out)["reached"] == there
    assert f"\n{there} are labelled as their class with its Y above 1/2" in run(*command)[1]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--target", "third"), "--target third"),
        (("--target", "99"), "labels"),
        (("--step", "0"), "step"),
        (("--count", "0"), "count = 0: wanted a whole number >= 1"),
        (("--figure", "/no/such/folder/f.png"), "no such folder"),
        (("--figure", "f.bmp"), "bmp"),
        (("--out", "set.txt"), "safetensors or .npz"),
        (("--device", "cuda:99"), "cuda:99"),
    ],
)
def test_bad_input_is_one_clear_line_and_code_2(boundary, more, words):
    code, out, err = boundary(*more)
    assert (code, out) == (2, "")
    assert err.startswith("denseam boundary: ")
    assert words in err
    assert err.count("\n") == 1


def test_sizes_that_are_nearly_the_same_are_told_apart(run, toy, model, tmp_path):
    near = 0.3 + 1e-9
    out = run(
        "attack", model, "--method", "fgsm", "--eps", 0.3, near, "--dataset", toy,
        "--out", tmp_path / "a.npz", "--json",
    )[1]  # fmt: skip
    assert list(json.loads(out)["errors"]) == ["0.3", repr(near)]
    assert run("transfer", model, "--sets", tmp_path / "a.npz")[0] == 0


def test_options_of_other_methods_are_refused(run, toy, model, tmp_path):
    code, _, err = run("attack", model, "--method", "fgsm", "--steps", 3, "--dataset", toy,
                       "--out", tmp_path / "a.npz")  # fmt: skip
    assert code == 2
    assert "--steps is for bim, llc, not fgsm" in err


def test_another_set_in_the_same_place_is_refused(boundary):
    assert boundary()[0] == 0
    assert boundary()[0] == 0, "the same command again reads what is there"
    code, _, err = boundary("--step", 0.2)
    assert code == 2
    assert "made otherwise" in err


def test_ctrl_c_keeps_finished_chunks_and_the_same_command_goes_on(model, toy, tmp_path):
    out = tmp_path / "b.safetensors"
    command = [
        sys.executable, "-m", "denseam", "boundary", model, "--dataset", toy, "--part", "train",
        "--chunk", 4, "--step", 0.001, "--max-steps", 600, "--out", out,
    ]  # fmt: skip
    command = [str(word) for word in command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    parts = tmp_path / "b.safetensors.parts"
    while process.poll() is None and len(list(parts.glob("0*.safetensors"))) < 3:
        time.sleep(0.02)
    assert process.poll() is None, "it was done before it could be stopped"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said
    kept = {p.name: p.stat().st_mtime_ns for p in parts.glob("0*.safetensors")}
    assert len(kept) >= 3
    assert not out.exists()

    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    untouched = True
    while process.poll() is None:
        for path in parts.glob("0*.safetensors"):
            try:
                untouched &= kept.get(path.name, 0) in (0, path.stat().st_mtime_ns)
            except FileNotFoundError:
                continue
        time.sleep(0.02)
    process.communicate()
    assert process.returncode == 0
    assert untouched
    assert len(data.load(out)) == 60
    assert not parts.exists()


def test_the_next_command_works_as_it_is_printed(run, tmp_path):
    from denseam.cli import parser

    out = tmp_path / "with a blank.safetensors"
    words = ("--method", "fgsm", "--eps", 0.1, "--count", 2, "--out", out)
    code, said, _ = run("attack", "mnist-n2", *words)
    assert code == 0
    (line,) = [line for line in said.splitlines() if "denseam transfer" in line]
    command = shlex.split(line.partition("fooled: ")[2])
    assert parser(command[1:]).parse_args(command[1:]).sets == [f"{out}"]
    assert run(*command[1:])[0] == 0
