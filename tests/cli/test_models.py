"""Models by name, by file, by run folder: everywhere the same."""

import json

import pytest
from training import small

import denseam
from denseam import pretrained
from denseam.cli import bench


@pytest.fixture(scope="module")
def tiny():
    """Two models that differ in more than their power."""
    data = small.dataset()
    return {n: denseam.train(small.recipe(n, epochs=2), data).model for n in (2.0, 3.0)}


@pytest.fixture
def package(tiny, tmp_path, monkeypatch):
    """A package with one model, called tiny-n2, and nothing else."""
    folder = tmp_path / "package"
    folder.mkdir()
    tiny[2.0].save(folder / "tiny-n2.safetensors")
    (folder / "tiny-n2.json").write_text(json.dumps({"recipe": {"power": 2.0}}))
    monkeypatch.setattr(pretrained, "_FOLDER", folder)
    pretrained._cards.cache_clear()
    yield folder
    pretrained._cards.cache_clear()


STRANGERS = "warning: tiny-n2 was trained on mnist train, and these are toy.npz test\n"


@pytest.fixture
def evaluated(run, toy):
    """What `denseam evaluate` says of a model, without its speed and its name."""

    def call(model):
        code, out, err = run("evaluate", model, "--dataset", toy, "--json")
        assert code == 0
        assert err in ("", STRANGERS)
        found = json.loads(out)
        assert found.pop("model") == str(model)
        del found["seconds_per_1000"]
        return found

    return call


def test_a_name_a_file_and_a_run_folder_are_the_same_model(evaluated, package, tiny, tmp_path):
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    tiny[2.0].save(run_folder / "model.safetensors")
    by_name = evaluated("tiny-n2")
    assert by_name == evaluated(package / "tiny-n2.safetensors") == evaluated(run_folder)
    tiny[3.0].save(tmp_path / "other.safetensors")
    assert evaluated(tmp_path / "other.safetensors") != by_name


def test_a_path_that_is_there_comes_before_a_name(evaluated, package, tiny, tmp_path, monkeypatch):
    by_name = evaluated("tiny-n2")
    monkeypatch.chdir(tmp_path)
    tiny[3.0].save(tmp_path / "tiny-n2")
    assert evaluated("tiny-n2") == evaluated("./tiny-n2") != by_name


COMMANDS = {
    "evaluate": ("--dataset", "TOY"),
    "rubbish": ("--max-steps", "2", "--out", "OUT"),
    "boundary": ("--dataset", "TOY", "--max-steps", "2", "--out", "OUT"),
    "attack": ("--dataset", "TOY", "--method", "fgsm", "--out", "OUT"),
    "transfer": ("--sets", "SET"),
}


@pytest.fixture
def call(run, toy, tmp_path):
    def call(command, model):
        small.images(6).save(tmp_path / "set.npz")
        names = {"TOY": toy, "OUT": tmp_path / "out.npz", "SET": tmp_path / "set.npz"}
        return run(command, model, *(names.get(word, word) for word in COMMANDS[command]), "--json")

    return call


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_a_name(call, package, command):
    code, out, err = call(command, "tiny-n2")
    assert code == 0
    assert err in ("", STRANGERS)
    json.loads(out)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("unknown", ["other", "runs/other", "", "x" * 5000, "a\0b", "[b]x[/b]"])
def test_an_unknown_model_is_one_line_that_says_what_is_wanted(call, package, command, unknown):
    code, out, err = call(command, unknown)
    assert (code, out) == (2, "")
    assert err == (
        f"denseam {command}: no model {unknown!r}: wanted a model file, the folder of a finished "
        "run or tiny-n2\n"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_nearly_a_model_is_told_from_it(call, package, command):
    code, out, err = call(command, "tiny-n3")
    assert (code, out) == (2, "")
    assert err == f"denseam {command}: no model 'tiny-n3'; did you mean tiny-n2?\n"


def test_an_empty_package_promises_no_names(call, package):
    for path in package.iterdir():
        path.unlink()
    pretrained._cards.cache_clear()
    _, _, err = call("evaluate", "tiny-n2")
    assert err.endswith("wanted a model file or the folder of a finished run\n")


def test_a_model_that_is_there_and_broken_is_not_called_unknown(call, package):
    file = package / "tiny-n2.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    for given in ("tiny-n2", file):
        code, _, err = call("evaluate", given)
        assert code == 2
        assert "not a whole denseam model file" in err


def test_bench_finds_its_models_before_it_measures(run, package, monkeypatch):
    measured = []

    def stub(*args):
        measured.append(args)
        return {}

    for name in ("step", "inference", "iteration", "crossing"):
        monkeypatch.setattr(bench, f"measure_{name}", stub)
        monkeypatch.setattr(bench, f"_{name}_table", lambda rows: "")
    monkeypatch.setattr(bench, "environment", lambda _: {"processor": "a test"})
    code, out, err = run("bench", "--models", "tiny-n2", "tiny-n3", "--json")
    assert (code, out, measured) == (2, "", [])
    assert "no model 'tiny-n3'" in err
    code, out, err = run("bench", "--models", "tiny-n2", package / "tiny-n2.safetensors", "--json")
    assert (code, err) == (0, "")
    assert len(json.loads(out)["crossings"]) == 2
    assert [args[0].n_visible for args in measured[-2:]] == [25, 25]
