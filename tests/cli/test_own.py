"""Commands on a model work on what it was trained on, unless they are told otherwise."""

import json
import shlex

import numpy as np
import pytest
import torch

import denseam
from denseam.cli import main
from denseam.cli.common import command_line
from denseam.cli.own import own_data
from denseam.data import ImageSet
from denseam.data.registry import KNOWN
from denseam.files import read_json, write_json

ARGUMENTS = ("--power", 3, "--epochs", 2, "--n-memories", 12, "--per-class", 5)


def arrays(seed=0, names=3):
    random = np.random.default_rng(seed)
    return {
        "x_train": random.integers(0, 256, (60, 5, 5), np.uint8), "y_train": np.arange(60) % names,
        "x_test": random.integers(0, 256, (21, 5, 5), np.uint8), "y_test": np.arange(21) % names,
    }  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = tmp_path / "my data"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    np.savez(folder / "dots.npz", **arrays())
    return tmp_path


@pytest.fixture
def trained(run, here):
    code, out, err = run("train", *ARGUMENTS, "--dataset", "my data/dots.npz", "--out", "a run")
    assert (code, err) == (0, "")
    return out


def test_the_next_step_works_as_printed_from_any_folder(run, trained, here, monkeypatch):
    *_, command = trained.strip().rpartition("denseam ")
    assert command == "evaluate 'a run'"
    code, out, err = run(*shlex.split(command))
    assert (code, err) == (0, "")
    assert "dots.npz test: error" in out
    error = json.loads(run(*shlex.split(command), "--json")[1])["error"]
    explicit = run("evaluate", "a run", "--dataset", "my data/dots.npz", "--json")
    assert explicit[2] == ""
    assert json.loads(explicit[1])["error"] == error
    monkeypatch.chdir(here / "my data")
    assert json.loads(run("evaluate", "../a run", "--json")[1])["error"] == error
    code, out, err = run("evaluate", "../a run/model.safetensors")
    assert (code, err) == (0, "")
    assert "dots.npz test" in out


@pytest.mark.parametrize(
    "words",
    [
        ("attack", "a run", "--method", "fgsm", "--eps", "0.2", "--out", "a.npz"),
        ("boundary", "a run", "--count", "3", "--out", "b.npz", "--max-steps", "5"),
        ("explain", "a run", "--out", "e.png"),
        ("audit", "a run", "--queries", "5", "--count", "6"),
        ("transfer", "a run", "--sets", "set.npz", "--clean"),
        ("guard", "calibrate", "--detector", "a run", "--classifier", "a run", "--score", "gap",
         "--target-rejection", "0.2", "--out", "g"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_every_command_takes_the_runs_own_data(run, trained, words):
    ImageSet(torch.zeros(3, 5, 5), torch.arange(3), 3, name="dots").save("set.npz")
    code, _, err = run(*words)
    assert code == 0, err
    assert "trained on" not in err


CALIBRATE = (
    "guard calibrate --detector 'a run' --classifier 'a run' --score gap --target-rejection 0.2 "
    "--scale byte --out g"
)
CHAIN = [  # a command, and how the one begins that it names last
    ("evaluate 'a run'", "explain 'a run' --index "),
    (
        "explain 'a run' --index 2 --by contribution",
        "explain 'a run' --index 2 --by contribution --out explanation.png",
    ),
    ("explain 'a run' --part train --out e.png", "boundary 'a run' --part train --count "),
    ("audit 'a run' --queries 5 --count 6", "attack 'a run' --method minimum "),
    ("attack 'a run' --method fgsm --eps 0.2 --out a.npz", "evaluate 'a run' --dataset a.npz"),
    ("transfer 'a run' --sets set.npz", "evaluate 'a run' --dataset set.npz"),
    ("predict 'a run' 'my data/dots.npz'", "evaluate 'a run'"),
    ("data 'my data/dots.npz' --scale byte", "train --power 20 --dataset 'my data/dots.npz' --sc"),
    (CALIBRATE, "guard check g "),
    ("guard check g 'my data/dots.npz' --count 4", "guard evaluate g --part train"),
]  # fmt: skip


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A folder with a run, data and a set, in which every command of ``CHAIN`` may write."""
    folder = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "my data").mkdir()
        np.savez("my data/dots.npz", **arrays())
        ImageSet(torch.zeros(3, 5, 5), torch.arange(3), 3, name="dots").save("set.npz")
        words = [str(w) for w in (*ARGUMENTS, "--dataset", "my data/dots.npz", "--out", "a run")]
        assert main(["train", *words]) == 0
        assert main(shlex.split(CALIBRATE)) == 0
        yield


@pytest.mark.parametrize(("line", "following"), CHAIN)
def test_every_command_ends_with_one_that_works_as_printed(run, once, line, following):
    code, out, err = run(*shlex.split(line))
    assert code == 0, err
    last = out.splitlines()[-1]
    assert last.startswith(f"next: denseam {following}")
    last += " --epochs 1" * line.startswith("data ")
    code, out, err = run(*shlex.split(last)[2:])
    assert (code, err) == (0, "")


def test_certificates_are_of_the_models_own_images(run, trained):
    code, _, err = run("certify", "mnist-n2", "--count", "2", "--json")
    assert (code, err) == (0, "")
    code, _, err = run("certify", "mnist-n2", "--dataset", "my data/dots.npz")
    assert code == 2
    assert "warning: mnist-n2 was trained on mnist train, and these are dots.npz test" in err


def test_data_that_have_moved_are_asked_for_and_other_data_are_said(run, trained, here):
    (here / "my data" / "dots.npz").rename(here / "dots.npz")
    code, out, err = run("evaluate", "a run")
    assert (code, out) == (2, "")
    assert err == (
        f"denseam evaluate: a run was trained on {here / 'my data' / 'dots.npz'}, which is not "
        "there any more: say where it is with --dataset\n"
    )
    assert run("evaluate", "a run", "--dataset", "dots.npz")[::2] == (0, "")  # only moved
    np.savez("others.npz", **arrays(1))
    code, _, err = run("evaluate", "a run", "--dataset", "others.npz")
    assert code == 0
    assert err == "warning: a run was trained on dots.npz train, and these are others.npz test\n"
    code, _, err = run("train", *ARGUMENTS, "--dataset", "dots.npz", "--out", "a run")
    assert (code, err) == (0, "")
    assert run("evaluate", "a run")[::2] == (0, "")  # the run knows where they are now


def test_data_that_have_changed_under_the_same_name_are_said(run, trained, here):
    code, _, err = run("evaluate", "a run", "--part", "train")
    assert (code, err) == (0, "")
    changed = arrays()
    changed["x_train"][3, 2, 2] += 1
    np.savez(here / "my data" / "dots.npz", **changed)
    code, _, err = run("evaluate", "a run")
    assert code == 0
    assert err == (
        "warning: a run was trained on dots.npz train as it was then: the training part has "
        "changed since, and what is now the test part may have been trained on\n"
    )
    facts = read_json(here / "a run" / "run.json")
    del facts["data"]["read"]["digest"]  # of an older version
    write_json(here / "a run" / "run.json", facts)
    assert run("evaluate", "a run")[::2] == (0, "")


def test_sets_that_were_made_of_the_data_are_no_strangers(run, trained):
    run("attack", "a run", "--method", "fgsm", "--eps", "0.2", "--out", "a.npz")
    assert run("evaluate", "a run", "--dataset", "a.npz")[::2] == (0, "")
    assert "trained on" in run("evaluate", "mnist-n2", "--dataset", "a.npz")[2]


def test_classes_in_another_order_are_said(run, trained):
    dots = denseam.data.load("my data/dots.npz").test
    ImageSet(dots.images, dots.labels, 3, ("c", "b", "a"), "dots test").save("dots-test.npz")
    code, _, err = run("evaluate", "a run", "--dataset", "dots-test.npz")
    assert code == 0
    assert err == (
        "warning: a run was trained on classes 0, 1, 2, and these are c, b, a: they are compared "
        "in this order\n"
    )


def test_old_files_know_a_known_set_by_its_name_or_nothing(run, trained, here):
    facts = read_json(here / "a run" / "run.json")
    del facts["data"]["read"]
    write_json(here / "a run" / "run.json", facts)
    code, _, err = run("evaluate", "a run")
    assert code == 2
    assert "was trained on 'dots.npz train' and does not say where that is: say --dataset" in err
    facts["data"]["name"] = "fashion-mnist train"
    write_json(here / "a run" / "run.json", facts)
    model = denseam.load("a run")
    assert own_data("a run", model).dataset == "fashion-mnist"
    model.trained_on = None
    model.save("old.safetensors")
    assert own_data("old.safetensors", denseam.load("old.safetensors")) is None
    assert own_data("mnist-relu", denseam.load_pretrained("mnist-relu")).dataset == "mnist"
    assert set(KNOWN) > {"mnist", "fashion-mnist"}


def test_commands_on_folders_can_be_pasted(tmp_path):
    assert command_line("evaluate", tmp_path.parent / "a b") == (
        f"denseam evaluate '{tmp_path.parent / 'a b'}'"
    )
    assert command_line("evaluate", type(tmp_path)("-x")) == "denseam evaluate ./-x"


def test_a_guard_says_how_well_its_members_know_the_images(run, trained, here):
    words = ("guard", "calibrate", "--score", "gap", "--target-rejection", "0.2", "--out", "g")
    members = ("--detector", "a run", "--classifier", "a run")
    code, out, err = run(*words, *members, "--json")
    clean = json.loads(out)["calibrated_on"]
    dots = denseam.data.load("my data/dots.npz").test
    right = denseam.load("a run").predict(dots.visible()) == dots.labels
    assert clean["detector_accuracy"] == pytest.approx(float(right.double().mean()))
    assert clean["agreement"] == 1
    assert ("does not know these images" in err) == (clean["detector_accuracy"] < 0.7)
    guard = denseam.Guard.load("g")
    assert guard.calibrated_on.to_json() == clean
    assert guard.seen(dots).all()
    assert guard.seen(dots.visible()).all()
    assert not guard.seen(denseam.data.load("my data/dots.npz").train).any()
    code, _, err = run("guard", "evaluate", "g")
    assert code == 0
    assert "warning: the guard was calibrated on 21 of these 21 clean images" in err
    code, _, err = run("guard", "evaluate", "g", "--part", "train")
    assert (code, err) == (0, "")
