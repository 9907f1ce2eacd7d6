"""train, evaluate, data: what they print, for people and for machines."""

import dataclasses
import json
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

import denseam
from denseam.errors import DataUnavailableError
from denseam.version import __version__

COMMANDS = (
    "reproduce", "train", "evaluate", "explain", "rubbish", "boundary", "attack", "audit",
    "transfer", "data", "export", "bench",
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_a_summary_the_common_options_and_examples(run, command):
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert f"usage: denseam {command}" in out
    for option in ("--json", "--seed", "--device"):
        assert option in out
    examples = out[out.index("examples:") :].splitlines()[1:]
    assert len(examples) >= 3
    starts = (f"  denseam {command}", f"  torchrun --nproc-per-node 4 -m denseam {command}")
    assert all(line.startswith(starts) for line in examples)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_examples_of_the_help_parse(run, command):
    from denseam.cli import parser

    _, out, _ = run(command, "--help")
    for line in out[out.index("examples:") :].splitlines()[1:]:
        words = line.split()
        parsed = parser().parse_args(words[words.index("denseam") + 1 :])
        assert parsed.command == command


def test_the_commands_and_the_version_are_listed(run):
    code, out, _ = run("--help")
    assert code == 0
    for command in COMMANDS:
        assert re.search(rf"^ +{command}  +\w", out, re.MULTILINE), "its summary beside it"
    assert run("--version") == (0, f"denseam {__version__}\n", "")


# ---- train ---------------------------------------------------------------------------------------


def test_train_ends_with_the_error_and_where_the_model_lies(train, tmp_path):
    code, out, err = train()
    assert (code, err) == (0, "")
    first, found, second = out.splitlines()
    assert re.fullmatch(
        r"found from the data: temperature \S+, first steps of \S+, 12 memories, 4 epochs in "
        r"batches of 5 for each class",
        found,
    )
    assert re.fullmatch(
        r"test error \d+\.\d\d % \(\d+ of 30; 95 % interval .* to .*\) after 4 epochs, \d+ s", first
    )
    assert second == (
        f"model in {tmp_path / 'run'}; look closer with: denseam evaluate {tmp_path / 'run'}"
    )
    assert denseam.load(tmp_path / "run").power == 3


def test_a_run_that_learns_nothing_says_so_last_and_has_its_own_exit_code(train, tmp_path):
    from training import small

    toy = small.dataset()
    wrong = dataclasses.replace(toy.test, labels=(toy.test.labels + 1) % 3)
    file = small.save_npz(tmp_path / "wrong.npz", dataclasses.replace(toy, test=wrong))
    code, out, err = train("--dataset", file)
    assert (code, err) == (3, "")
    assert re.fullmatch(
        r"no better than always answering '0', which is wrong for 66.67 %: leave out --n-memories, "
        r"--per-class, and values are found from the data",
        out.splitlines()[-1],
    )
    assert train("--dataset", file, "--json")[0] == 3


def test_train_json_is_one_value_and_nothing_else(train, tmp_path):
    code, out, err = train("--json", "--seed", 7)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert set(found) == {"out", "recipe", "train", "test", "seconds"}
    assert found["out"] == str(tmp_path / "run")
    assert denseam.Recipe.from_json(found["recipe"]).seed == 7
    assert found["train"]["epoch"] == 3
    assert found["test"]["error"] == found["train"]["test_error"]


def test_held_out_images_are_measured_and_not_trained_on(train, tmp_path):
    code, out, err = train("--hold-out", 6)
    assert (code, err) == (0, "")
    assert re.match(r"held-out error \d+\.\d\d % \(\d of 6; ", out)
    found = json.loads(train("--hold-out", 6, "--json")[1])
    assert "test" not in found
    assert found["held_out"]["n_images"] == 6
    assert train("--hold-out", 60)[0] == 2


def test_train_is_the_function_of_the_library(train, tmp_path):
    train("--paper", "--momentum", 0.5, "--temperature", 4, "--loss-power", 3, "--seed", 2)
    saved = denseam.load(tmp_path / "run")
    from training import small

    data = small.dataset()
    wanted = denseam.Recipe.paper(3, 4, seed=2).for_data(data.train).replace(
        momentum=0.5, temperature=4.0, loss_power=3.0, n_memories=12, per_class=5
    )  # fmt: skip
    assert torch.equal(saved.memories, denseam.train(wanted, data).model.memories)


def test_train_learns_from_attacked_images_and_goes_on_from_a_model(train, tmp_path):
    options = "--objective", "cross-entropy", "--logit-scale", 20, "--adversarial"
    attack = json.loads(train(*options, "l2:0.3", "--json")[1])["train"]["attack"]
    assert attack["eps"] == 0.3
    code, _, err = train("--out", tmp_path / "next", "--from", tmp_path / "run", *options, "l2:0.4")
    assert (code, err) == (0, "")
    code, _, err = train("--out", tmp_path / "bad", *options, "l2:-1")
    assert code == 2
    assert "adversarial = 'l2:-1': wanted NORM:SIZE" in err


def test_the_same_train_command_again_prints_the_same(train, tmp_path):
    first = json.loads(train("--json")[1])
    before = (tmp_path / "run" / "model.safetensors").read_bytes()
    again = json.loads(train("--json")[1])
    for found in (first, again):
        del found["test"]["seconds_per_1000"]
    assert again == first
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == before


def test_tensorboard_files_lie_in_the_run_folder(train, tmp_path):
    code, _, err = train("--tensorboard")
    assert (code, err) == (0, "")
    assert len(list((tmp_path / "run" / "tensorboard").glob("events.out.tfevents.*"))) == 1


def test_tensorboard_leaves_nothing_in_the_folder_of_another_run(train, tmp_path):
    train()
    before = sorted((tmp_path / "run").iterdir())
    assert train("--momentum", 0.5, "--tensorboard")[0] == 2
    assert sorted((tmp_path / "run").iterdir()) == before


def test_a_warning_is_one_line_on_stderr_and_the_run_goes_on(train):
    code, out, err = train("--paper", "--temperature", 0.01, "--temperature-start", 0.01, "--json")
    assert code == 0
    json.loads(out)
    assert re.match(r"warning: epoch \d+: .* saturated", err)
    assert all(line.startswith("warning: epoch ") for line in err.splitlines())


# ---- evaluate ------------------------------------------------------------------------------------


@pytest.fixture
def trained(train, tmp_path):
    train("--epochs", 12)
    return tmp_path / "run"


def test_evaluate_prints_error_interval_confusions_and_speed(run, trained, toy):
    code, out, err = run("evaluate", trained, "--dataset", toy)
    assert (code, err) == (0, "")
    assert re.search(r"error \d+\.\d\d % of 30 images \(95 % interval .* to .* %\)", out)
    assert re.search(r"mean \|Y\| 0\.\d{4}", out)
    assert re.search(r"[\d.]+ ms for 1000 images", out)
    assert "predicted class (columns)" in out


@pytest.mark.parametrize("command", ["evaluate", "boundary"])
def test_scale_says_the_units_of_floating_pixels(command, run, trained, toy, tmp_path):
    with np.load(toy) as file:
        arrays = dict(file)
    for part in ("x_train", "x_test"):
        arrays[part] = arrays[part].astype(np.float32) / 255
    np.savez(tmp_path / "unit.npz", **arrays)
    words = (command, trained, *(("--out", tmp_path / "b.npz") if command == "boundary" else ()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no doubt about the units
        code, unit, err = run(
            *words, "--dataset", tmp_path / "unit.npz", "--scale", "unit", "--json"
        )
    assert (code, err) == (
        0,
        f"warning: {trained} was trained on toy.npz train, and these are unit.npz test\n",
    )
    if command == "evaluate":
        wanted = json.loads(run(*words, "--dataset", toy, "--json")[1])
        assert json.loads(unit)["error"] == wanted["error"]
        assert json.loads(unit)["confusion"] == wanted["confusion"]
    code, _, err = run("evaluate", "mnist-n2", "--scale", "unit")
    assert code == 2
    assert "mnist has known units" in err


def test_evaluate_json_is_one_value_with_the_facts_of_the_library(run, trained, toy):
    code, out, err = run("evaluate", trained / "model.safetensors", "--dataset", toy, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    evaluation = denseam.evaluate(denseam.load(trained), denseam.data.load(toy).test)
    assert found["error"] == evaluation.error
    assert found["confusion"] == [list(row) for row in evaluation.confusion]
    assert (found["part"], found["n_images"]) == ("test", 30)
    train_part = run("evaluate", trained, "--dataset", toy, "--part", "train", "--json")[1]
    assert json.loads(train_part)["n_images"] == 60


# ---- data ----------------------------------------------------------------------------------------


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DENSEAM_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_data_lists_what_is_known_with_whole_names(run, no_cache):
    code, out, err = run("data")
    assert (code, err) == (0, "")
    for name in ("mnist", "fashion-mnist", "kmnist", "emnist-letters", "usps"):
        assert name in out
    assert not no_cache.exists()


def test_data_json_is_one_value(run, no_cache):
    code, out, err = run("data", "--json")
    assert (code, err) == (0, "")
    by_name = {each["name"]: each for each in json.loads(out)}
    assert by_name["mnist"]["available"]
    assert not by_name["usps"]["available"]


def test_data_checks_and_shows_one_set(run, no_cache):
    code, out, err = run("data", "mnist", "--check")
    assert (code, err) == (0, "")
    assert "train-images-idx3-ubyte: as published" in out
    found = json.loads(run("data", "mnist", "--check", "--json")[1])
    assert (found["n_train"], len(found["checked"])) == (60000, 4)


def test_data_fetch_that_fails_is_one_line(run, no_cache, monkeypatch):
    def no_network(name):
        raise DataUnavailableError(f"{name} cannot be fetched")

    monkeypatch.setattr(denseam.data, "load", no_network)
    assert run("data", "usps", "--fetch") == (2, "", "denseam data: usps cannot be fetched\n")


# ---- bad input -----------------------------------------------------------------------------------

BAD = {
    "a power below 1": (["train", "--power", "0.5", "--out", "OUT"], "power = 0.5: wanted"),
    "a power of NaN": (["train", "--power", "nan", "--out", "OUT"], "power = nan: wanted"),
    "a power that is no number": (["train", "--power", "x", "--out", "OUT"], "'x'"),
    "no power": (["train", "--out", "OUT"], "power: network 'dam' needs one"),
    "a power for rbf": (["train", "--model", "rbf", "--power", "3", "--out", "OUT"], "'rbf' has 2"),
    "another model": (["train", "--model", "svm", "--out", "OUT"], "'svm'"),
    "no epochs": (["train", "--power", "2", "--epochs", "0", "--out", "OUT"], "epochs = 0: wanted"),
    "a negative seed": (["train", "--power", "2", "--seed", "-1", "--out", "OUT"], "seed = -1"),
    "a huge seed": (["train", "--power", "2", "--seed", f"{2**64}", "--out", "OUT"], "< 2^32"),
    "no momentum": (["train", "--power", "2", "--momentum", "1", "--out", "OUT"], "momentum = 1"),
    "an unknown data set": (
        ["train", "--power", "2", "--out", "OUT", "--dataset", "mnits"], "no image set is called"
    ),
    "a missing data file": (
        ["train", "--power", "2", "--out", "OUT", "--dataset", "no/such.npz"], "no/such.npz"
    ),
    "an unknown device": (["train", "--power", "2", "--out", "OUT", "--device", "warp"], "warp"),
    "a folder below a file": (["train", "--power", "2", "--out", "FILE/run"], "cannot be made"),
    "tensorboard below a file": (
        ["train", "--power", "2", "--tensorboard", "--out", "FILE/run"], "cannot be made"
    ),
    "a missing model": (["evaluate", "OUT"], "no model"),
    "a file that is no model": (["evaluate", "FILE"], "not a whole denseam model file"),
    "a folder without model": (["evaluate", "."], "model.safetensors"),
    "an unknown part": (["evaluate", "OUT", "--part", "half"], "half"),
    "an unknown set to show": (["data", "mnits"], "mnits"),
    "a fetch of nothing": (["data", "--fetch"], "--fetch and --check want the name of a set"),
    "no rounds": (["bench", "--rounds", "0"], "rounds = 0: wanted"),
    "no images": (["bench", "--images", "0"], "images = 0: wanted"),
    "a huge seed elsewhere": (["rubbish", "OUT", "--seed", f"{2**80}", "--out", "x.npz"], "< 2^32"),
    "training without --train": (["reproduce", "--epochs", "5"], "--epochs is for --train"),
    "no threads": (["bench", "--threads", "0"], "threads = 0: wanted"),
    "a bench elsewhere": (["bench", "--device", "meta"], "device meta"),
    "an unknown command": (["trian"], "did you mean train?"),
    "an unknown option": (["data", "--jsn"], "--jsn"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_input_is_exit_code_2_and_one_clear_line(run, tmp_path, what):
    argv, wanted = BAD[what]
    (tmp_path / "file").write_text("no model")
    names = {"OUT": tmp_path / "out", "FILE": tmp_path / "file"}
    code, out, err = run(
        *(str(names["FILE"]) + a[4:] if a.startswith("FILE") else names.get(a, a) for a in argv)
    )
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("denseam")
    assert wanted in line
    assert not (tmp_path / "out").exists()


def test_the_folder_of_another_recipe_is_one_line(train):
    train()
    code, out, err = train("--power", 2)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert "holds another run (power: 3.0 there, 2.0 here; " in line
    assert line.endswith("choose another folder")


def test_a_model_and_images_of_another_size_are_one_line(run, trained):
    code, out, err = run("evaluate", trained, "--dataset", "mnist")
    assert (code, out) == (2, "")
    assert err == (
        f"warning: {trained} was trained on toy.npz train, and these are mnist test\n"
        "denseam evaluate: mnist test: images of 28 x 28 = 784 pixels, but the model has "
        "n_visible = 25\n"
    )


def test_a_device_that_is_not_there_is_one_line(run, trained, toy):
    code, out, err = run("evaluate", trained, "--dataset", toy, "--device", "cuda:99")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("denseam evaluate: ")
    assert "cuda:99" in line


def test_an_error_with_brackets_is_printed_as_it_is(run):
    _, _, err = run("evaluate", "no[bold]such[/bold]")
    assert "no[bold]such[/bold]" in err


def test_a_real_process_gives_the_same_exit_code_and_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "denseam", "evaluate", str(tmp_path / "no model")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"denseam evaluate: no model '{tmp_path / 'no model'}': wanted ")
    assert done.stderr.count("\n") == 1
