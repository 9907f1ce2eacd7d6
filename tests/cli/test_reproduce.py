"""denseam reproduce: what it prints and leaves, and how it goes on after it was stopped."""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from study import small as tiny
from study.published import RESULTS

from denseam import data
from denseam.cli import parser
from denseam.cli.reproduce import StageLines, _summary
from denseam.files import held_folder
from denseam.study import Reproduction
from denseam.study.findings import Findings
from denseam.study.report import headline_text
from denseam.study.stage import Outcome, Stage
from denseam.study.stages import transfer

STAGES = [
    "errors", "memories", "rubbish-n2-noise-0.1", "rubbish-n30-noise-0.1",
    "rubbish-n2-noise-0.316", "rubbish-n30-noise-0.316", "ways", "boundary-n2", "boundary-n30",
    "transfer", "confidence", "rubbish-transfer", "guard", "sign-fgsm-tanh",
    "sign-fgsm-log_energy", "sign-fgsm-tanh-float32", "sign-bim-tanh", "sign-bim-log_energy",
    "sign-llc-tanh", "sign-llc-log_energy", "audit",
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def quickly():
    with tiny.quickly():
        yield


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """A data set on which every model errs, as a file."""
    return tiny.save_npz(tmp_path_factory.mktemp("data") / "noisy.npz")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for power in (2, 30):
        tiny.model(power).save(folder / f"{power}.safetensors")
    return [folder / "2.safetensors", folder / "30.safetensors"]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def reproduce(run, noisy, models, out):
    """The command on two models and the noisy images."""

    def call(*more):
        return run("reproduce", "--models", *models, "--dataset", noisy, "--out", out, *more)

    return call


def results_in(out):
    return json.loads((out / "results.json").read_text())


def ran(err):
    """The lines of stages that were not up to date."""
    return [line for line in err.splitlines() if re.match(r"\[ *\d+/", line)
            and "up to date" not in line]  # fmt: skip


def without_times_and_keys(value):
    if isinstance(value, dict):
        dropped = ("seconds", "finished", "reused", "date", "key", "processor", "threads")
        return {k: without_times_and_keys(v) for k, v in value.items() if k not in dropped}
    return [without_times_and_keys(each) for each in value] if isinstance(value, list) else value


def test_list_names_the_stages_and_runs_none(reproduce, out):
    code, listed, err = reproduce("--list")
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in listed.splitlines()] == STAGES
    assert all(len(line.split()) > 1 for line in listed.splitlines())
    assert not out.exists()


def test_the_list_for_machines_is_json(reproduce):
    code, listed, _ = reproduce("--list", "--json")
    assert code == 0
    assert [stage["name"] for stage in json.loads(listed)] == STAGES


def test_some_stages_with_those_they_need_and_where_the_report_is(reproduce, out):
    code, said, err = reproduce("--only", "transfer", "errors")
    assert code == 0
    lines = err.splitlines()
    assert [line[:7] for line in lines] == [f"[ {i}/4] " for i in (1, 2, 3, 4)]
    assert re.fullmatch(r"\[ 4/4\] adversarial transfer \(Fig. 5\) +\d+\.\d s", lines[3])
    where = f"report in {out / 'report.html'}, numbers in {out / 'results.json'}"
    assert said.startswith(
        f"these stages alone judge no claim of the paper\n{where}\nrun the other stages with:\n"
    )
    assert "cannot be compared" not in said
    again = next(line for line in said.splitlines() if line.startswith("  denseam reproduce "))
    assert shlex.split(again)[2:4] == ["--out", f"{out}"]
    assert parser().parse_args(shlex.split(again)[1:]).only == []
    found = results_in(out)
    assert {row["stage"] for row in found["rows"]} == {
        "errors", "boundary-n2", "boundary-n30", "transfer",
    }  # fmt: skip
    assert (out / "figures/fig5.png").exists()
    assert not found["quick"]


@pytest.mark.parametrize(
    ("took", "left", "reused", "said"),
    [
        (1.26, 200.0, False, "1.3 s   about 3 min left"),
        (75.0, 45.4, False, "75 s   about 45 s left"),
        (600.0, 5.0, False, "10 min   about 5.0 s left"),
        (1.0, 0.0, False, "1.0 s"),
        (1.0, None, False, "1.0 s"),
        (1.0, 200.0, True, "up to date"),
    ],
)
def test_a_stage_says_how_long_it_took_and_how_long_the_others_may_take(
    took, left, reused, said, capsys
):
    stage = Stage("one", "the first", "denseam bench", lambda _: Findings())
    outcome = Outcome(stage, Findings(), Path(), "key", "digest", took, 0.0, reused)
    with StageLines() as lines:
        lines.on_end(outcome, 1, 12, left)
    assert re.fullmatch(rf"\[ 1/12\] the first {{44,}}{said}\n", capsys.readouterr().err)


def test_the_end_says_what_was_found_then_what_was_not_and_where_to_look(capsys):
    args = argparse.Namespace(only=[], study="paper", models=None, dataset="mnist", quick=False)
    _summary(Reproduction(RESULTS, {}, Path("results")), args)
    said = capsys.readouterr().out
    headline, counts = headline_text(RESULTS), "31 claims of the paper: 23 reproduced"
    places = [said.index(words) for words in (*headline, counts, "not reproduced: ", "report in ")]
    assert len(headline) == 3
    assert places == sorted(places)
    assert said.splitlines()[-1] == "next: denseam reproduce --study memory"


def test_a_second_call_runs_nothing_and_says_so(reproduce, out):
    assert reproduce("--only", "transfer")[0] == 0
    before = {path: path.stat().st_mtime_ns for path in (out / "stages").rglob("*")}
    code, _, err = reproduce("--only", "transfer")
    assert code == 0
    assert len(err.splitlines()) == 3
    assert ran(err) == []
    assert "left" not in err
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_json_is_what_results_json_holds(reproduce, out):
    code, said, err = reproduce("--only", "errors", "--json")
    assert code == 0
    assert json.loads(said) == results_in(out)
    assert len(err.splitlines()) == 1


def test_seed_and_quick_decide_the_plan(reproduce, noisy):
    images = data.load(noisy)
    found = json.loads(reproduce("--only", "errors", "--seed", 7, "--json")[1])
    assert (found["plan"]["seed"], found["environment"]["seed"]) == (7, 7)
    assert found["plan"]["boundary_images"] == len(images.test)
    assert found["plan"]["reference_images"] == len(images.train)
    assert not found["quick"]
    code, said, err = reproduce("--only", "errors", "--quick")
    assert (code, ran(err)) == (0, []), "the same errors"
    assert said.startswith("A quick study: 30 boundary images instead of 10,000, 2 rubbish images")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--train",), "give one of the two"),
        (("--only", "transfr"), "no stage transfr; there are errors, memories"),
        (("--models", "nowhere.safetensors"), "nowhere.safetensors"),
        (("--models", "mnist-n4"), "mnist-n4"),
        (("--dataset", "nothing"), "nothing"),
        (("--dataset", "mnist"), "784 pixels, but the model has n_visible = 25"),
        (("--device", "cuda:99"), "cuda:99"),
    ],
)
def test_bad_input_is_one_clear_line_and_code_2(reproduce, out, more, words):
    code, said, err = reproduce(*more)
    assert (code, said) == (2, "")
    assert err.startswith("denseam reproduce: ")
    assert words in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_the_models_of_the_package_are_for_mnist_only(run, noisy, out):
    code, _, err = run("reproduce", "--dataset", noisy, "--out", out)
    assert code == 2
    assert "give --models or --train" in err


def test_one_set_of_images_is_divided_and_the_command_says_so(run, models, noisy, out, tmp_path):
    data.load(noisy).test.save(tmp_path / "set.npz")
    code, _, err = run("reproduce", "--models", *models, "--dataset", tmp_path / "set.npz",
                       "--only", "errors", "--out", out)  # fmt: skip
    assert code == 0
    assert "examples are drawn to test on" in err


def test_a_second_process_in_the_same_folder_is_refused(reproduce, out):
    with held_folder(out, "testing"):
        code, said, err = reproduce("--only", "errors")
    assert (code, said) == (2, "")
    assert err == f"denseam reproduce: {out}: another process is running a study there\n"


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(reproduce, out, monkeypatch):
    def stop(study, place):
        (place.folder / "fig5.png").write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(transfer, "_run", stop)
        code, said, err = reproduce("--only", "transfer")
    assert (code, said) == (130, "")
    assert err.endswith(f"\nstopped; the same command goes on from where it was, in {out}\n")
    assert not (out / "results.json").exists()
    assert not (out / "stages/transfer/stage.json").exists()
    code, _, err = reproduce("--only", "transfer")
    assert code == 0
    assert len(ran(err)) == 1
    assert "adversarial transfer" in ran(err)[0]
    assert (out / "figures/fig5.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (("--list",), 0, "boundary-n30"),
        (("--only", "transfr"), 2, "no stage transfr"),
        (("--powers", 2, 2), 2, r"powers = \[2.0, 2.0\]: wanted different ones"),
    ],
)
def test_what_needs_no_training_does_not_train(run, noisy, out, more, code, words):
    command = ("reproduce", "--train", "--powers", 2, 30, "--dataset", noisy, "--out", out)
    found, said, err = run(*command, *more)
    assert found == code
    assert re.search(words, said + err)
    assert not (out / "runs").exists()


def test_a_quick_study_has_a_folder_of_its_own(run, noisy, models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for more in ((), ("--quick",)):
        assert run("reproduce", "--models", models[0], "--dataset", noisy, "--only", "errors",
                   *more)[0] == 0  # fmt: skip
    quick, whole = (results_in(tmp_path / name) for name in ("results-quick", "results"))
    assert (quick["quick"], whole["quick"]) == (True, False)
    assert "--out" not in quick["stages"][0]["command"] + whole["stages"][0]["command"]


def test_models_are_trained_first_where_asked_and_only_once(run, noisy, out):
    command = ("reproduce", "--train", "--powers", 2, 30, "--epochs", 2, "--dataset", noisy,
               "--out", out, "--only", "errors", "--json")  # fmt: skip
    code, said, _ = run(*command)
    assert code == 0
    found = json.loads(said)
    assert [(m["name"], m["power"], m["epochs"]) for m in found["models"]] == [
        ("n2", 2, 2), ("n30", 30, 2),
    ]  # fmt: skip
    assert [m["source"] for m in found["models"]] == [str(out / "runs/n2"), str(out / "runs/n30")]
    before = {path: path.read_bytes() for path in (out / "runs").rglob("records.jsonl")}
    assert len(before) == 2
    code, again, err = run(*command)
    assert code == 0
    assert ran(err) == []
    assert without_times_and_keys(json.loads(again)) == without_times_and_keys(found)
    assert {path: path.read_bytes() for path in before} == before


# ---- the whole of it -------------------------------------------------------------------------


QUICKLY = """
import sys
from denseam.cli import main
from study import small
with small.quickly():
    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def killed(noisy, models, tmp_path_factory):
    """A folder in which a process was killed within a stage; what was done; its options."""
    out = tmp_path_factory.mktemp("study") / "out"
    options = ["--models", *map(str, models), "--dataset", str(noisy), "--quick"]
    tests = str(Path(tiny.__file__).parents[1])
    path = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), tests])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    command = [sys.executable, "-c", QUICKLY, "reproduce", "--out", str(out), *options]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "boundary images of n = 2 " in line:
                break
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "".join(lines)
    done = {path: path.stat().st_mtime_ns for path in (out / "stages").glob("*/stage.json")}
    return out, done, options


@pytest.fixture
def finished(killed, run):
    out, _, options = killed
    code, _, err = run("reproduce", "--out", out, *options)
    assert code == 0, err
    return out


@pytest.mark.slow
def test_a_killed_process_goes_on_and_comes_to_the_same(killed, run, tmp_path):
    out, done, options = killed
    assert not (out / "results.json").exists()
    assert 8 <= len(done) < len(STAGES)
    for path in done:
        json.loads(path.read_text())
    code, _, err = run("reproduce", "--out", out, *options)
    assert code == 0
    assert len(ran(err)) == len(STAGES) - len(done)
    assert {path: path.stat().st_mtime_ns for path in done} == done
    code, _, err = run("reproduce", "--out", tmp_path / "whole", *options)
    assert (code, len(ran(err))) == (0, len(STAGES))
    text = (tmp_path / "whole/results.json").read_text().replace(str(tmp_path / "whole"), str(out))
    assert without_times_and_keys(results_in(out)) == without_times_and_keys(json.loads(text))
    left = [sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))
            for folder in (out, tmp_path / "whole")]  # fmt: skip
    assert left[0] == left[1]


SET = "images.safetensors"


def told(row, found, made, out):
    """What a command's JSON and its set say of a row; None where they say nothing of it."""
    if row["command"].startswith("denseam evaluate "):
        return found["error"]
    if row["command"].startswith("denseam transfer "):
        return found["values"][0][0]
    if row["id"].startswith("sign/"):
        return (
            None if row["id"].endswith("/confidence") else found["errors"][row["id"].split("/")[4]]
        )
    own = data.load(out / "stages" / row["stage"] / SET)
    return row["value"] if torch.equal(data.load(made).images, own.images) else "another set"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["evaluate", "transfer", "boundary", "rubbish", "attack"])
def test_the_command_of_a_row_gives_its_number_again(kind, finished, run, tmp_path):
    rows = [row for row in results_in(finished)["rows"] if row["unit"] == "%"]
    commands = {row["command"] for row in rows if row["command"].startswith(f"denseam {kind} ")}
    compared = 0
    for i, command in enumerate(sorted(commands)):
        made = tmp_path / f"{i}.safetensors"
        words = command.replace("SET.safetensors", str(made))
        code, said, err = run(*shlex.split(words)[1:], "--json")
        assert code == 0, (command, err)
        for row in rows:
            if row["command"] == command:
                value = told(row, json.loads(said), made, finished)
                assert value in (row["value"], None), row["id"]
                compared += value is not None
    assert compared >= len(commands) >= 2
