"""The benchmark: every form does the same step, and the record is whole. No test looks at times."""

import functools
import json
from types import SimpleNamespace

import pytest
import torch

from denseam import cli
from denseam.bench import (
    measure_inference,
    measure_iteration,
    measure_step,
    report,
    timing,
)
from denseam.bench.steps import STEPS, Problem
from denseam.errors import DenseAMError
from denseam.model import DenseAM

FORMS = [
    "cpu",
    "8-bit",
    "reference",
    "autograd",
    "nips16",
]  # torch.compile takes longer than all of these


@pytest.fixture
def tiny(monkeypatch):
    """One small row, without torch.compile."""
    case = report.Case(3, K=20, C=3, B=30)
    monkeypatch.setattr(cli.bench, "CASES", [case])
    monkeypatch.setattr(report, "N_VISIBLE", 16)
    monkeypatch.setattr(report, "STEPS", {form: STEPS[form] for form in FORMS})
    few = functools.partial(measure_inference, n_images=50)
    monkeypatch.setattr(cli.bench, "measure_inference", few)
    small = functools.partial(measure_iteration, B=20, K=30)
    monkeypatch.setattr(cli.bench, "measure_iteration", small)
    monkeypatch.setattr(timing, "_REST", 0.0)
    return case


def test_the_table_has_every_form_and_the_last_line_is_the_record(tiny, capsys):
    assert cli.main(["bench", "--rounds", "2"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    *table, last = out.splitlines()
    record = json.loads(last)
    assert set(record) == {"environment", "steps", "inference", "iterations", "crossings"}
    (row,) = record["steps"]
    assert row["case"] == {"power": 3, "K": 20, "C": 3, "B": 30}
    assert set(row["milliseconds"]) == {"products", *FORMS}
    assert [r["power"] for r in record["inference"]] == [2, 30]
    assert [r["power"] for r in record["iterations"]] == [2, 30]
    assert all(r["to_kernels"] > 0 for r in record["iterations"])
    assert record["crossings"] == []
    text = "\n".join(table)
    for word in ("products", "nips16", "one training step", "labels of 10,000 images"):
        assert word in text


def test_boundaries_are_crossed_in_every_mode(tiny, capsys, tmp_path):
    DenseAM(784, 10, 40, 3, 600.0).save(tmp_path / "m.safetensors")
    argv = ["bench", "--rounds", "1", "--models", str(tmp_path / "m.safetensors"), "--images", "12"]
    assert cli.main(argv) == 0
    *table, last = capsys.readouterr().out.splitlines()
    (row,) = json.loads(last)["crossings"]
    assert (row["power"], row["n_images"]) == (3, 12)
    for facts in (row["seconds"], row["gradients"], row["crossed"], row["images_per_second"]):
        assert set(facts) == {"faithful", "controlled"}
    assert "12 images to the boundary of their second choice" in "\n".join(table)


def test_a_training_is_timed_after_an_epoch_that_compiles(monkeypatch):
    epochs = []

    def train(recipe, dataset, device, *, progress):
        assert not progress
        epochs.append(recipe.epochs)
        return SimpleNamespace(records=[SimpleNamespace(train_error=0.1, test_error=0.2)])

    monkeypatch.setattr(report, "train", train)
    row = report.measure_training(None, 7, "8-bit", torch.device("cpu"))
    assert epochs == [1, 7]
    assert row.pop("seconds") >= 0
    assert row == {"power": 30, "epochs": 7, "products": "8-bit", "train_error": 0.1,
                   "test_error": 0.2}  # fmt: skip


def test_the_record_is_kept_under_the_name_of_the_processor(tiny, capsys, tmp_path):
    argv = ["bench", "--rounds", "1", "--json", "--save", str(tmp_path)]
    assert cli.main(argv) == 0
    (kept,) = tmp_path.iterdir()
    assert json.loads(kept.read_text()) == json.loads(capsys.readouterr().out)


def test_json_is_one_value(tiny, capsys):
    assert cli.main(["bench", "--rounds", "1", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out)["environment"]["threads"] == torch.get_num_threads()


def test_the_option_sets_the_number_of_threads(tiny, capsys):
    before = torch.get_num_threads()
    try:
        cli.main(["bench", "--rounds", "1", "--threads", "1", "--json"])
        assert json.loads(capsys.readouterr().out)["environment"]["threads"] == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("power", [2, 3, 20])
@pytest.mark.parametrize("form", ["cpu", "autograd", "nips16"])
def test_every_form_moves_memories_alike(form, power):
    problem = Problem.random(40, 15, 20, 4, power)
    moved = []
    for name in (form, "reference"):
        copy = problem.copy()
        step = STEPS[name](copy)
        step()
        step()
        moved.append(copy.memories.detach() - problem.memories)
    assert moved[1].abs().max() > 0.015
    assert (moved[0] - moved[1]).abs().mean() < 1e-3 * moved[1].abs().mean()


def test_a_form_that_does_something_else_is_not_timed(tiny, monkeypatch):
    def twice(problem):
        step = STEPS["reference"](problem)
        return lambda: (step(), step())

    monkeypatch.setattr(report, "STEPS", {"cpu": twice, "reference": STEPS["reference"]})
    with pytest.raises(DenseAMError, match="the step of 'cpu' moves memories by something else"):
        measure_step(tiny, rounds=1)


def test_a_form_that_needs_too_much_memory_is_left_out(tiny, monkeypatch):
    monkeypatch.setattr(report, "_LARGE", 1)
    row = measure_step(tiny, rounds=1)
    assert set(row["milliseconds"]) == {"products", "cpu", "8-bit", "reference"}
    whole = {**row, "milliseconds": {**row["milliseconds"], "nips16": 1.0}}
    assert cli.bench._step_table([whole, row]).rows[1][-1].plain == "-"


def test_steps_take_turns_and_slow_ones_stop_early():
    calls = []
    steps_ = {name: lambda name=name: calls.append(name) for name in "ab"}
    times = timing.milliseconds(steps_, rounds=3)
    assert calls == list("ab" + "aabb" * 3)  # a round to warm up; untimed once before each turn
    assert set(times) == {"a", "b"}
    calls.clear()
    timing.milliseconds(steps_, rounds=9, budget=0.0)
    assert calls == list("ab" + "aabb" * 2)


def test_the_peak_counts_arrays_that_are_freed_before_the_end():
    size = 64 * 2**20

    def step():
        torch.ones(size // 4).sum()

    assert timing.peak_bytes(step) > size / 2
    assert timing.peak_bytes(lambda: None) < size / 2
