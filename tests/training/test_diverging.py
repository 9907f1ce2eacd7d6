"""Runs whose numbers leave the range: an error at the epoch, and the last good checkpoint stays."""

import dataclasses
import json
import math

import pytest
import torch

import denseam
from denseam import Callback
from denseam.errors import FileFormatError, InputError
from denseam.mesh import Axis, Mesh
from denseam.training import EpochRecord
from denseam.training.health import HealthCheck
from denseam.training.learner import Learner
from denseam.training.records import append_records, read_records
from denseam.training.runs import Checkpoint, RunFolder

from .small import assert_same_run, dataset, images, recipe

RECIPE = recipe(3, 6)


def spoil(monkeypatch, epoch, name, value=math.nan):
    """One number of the learner is ``value`` after an epoch, as after a step that was too large."""
    real = Learner.epoch

    def spoilt(self, number, on_batch):
        outcome = real(self, number, on_batch)
        if number == epoch:
            if name == "objective":
                outcome[0]._objective.fill_(value)
            else:
                getattr(self, name)[1, 2] = value
        return outcome

    monkeypatch.setattr(Learner, "epoch", spoilt)


class Hear(Callback):
    def __init__(self):
        self.epochs, self.ended = [], False

    def on_epoch(self, record):
        self.epochs.append(record.epoch)

    def on_end(self):
        self.ended = True


@pytest.mark.parametrize("name", ["memories", "velocity", "objective"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_an_epoch_that_is_not_finite_is_an_error_and_not_kept(tmp_path, monkeypatch, name, value):
    spoil(monkeypatch, 3, name, value)
    ear = Hear()
    with pytest.raises(InputError, match=rf"^epoch 4: the {name} .*not finite") as caught:
        denseam.train(RECIPE, dataset(), tmp_path / "run", callbacks=[ear])
    text = str(caught.value)
    assert f"the checkpoint of epoch 3 stays in {tmp_path / 'run'}" in text
    assert f"learning rate (now {RECIPE.learning_rate:g})" in text
    T_i, T_f = RECIPE.temperature_start, RECIPE.temperature
    assert f"nearer to one another (now {T_i:g} and {T_f:g})" in text
    assert (ear.epochs, ear.ended) == ([0, 1, 2], True)
    assert RunFolder(tmp_path / "run").load(torch.Size((12, 28)), torch.float32).epochs == 3
    monkeypatch.undo()
    assert_same_run(
        denseam.train(RECIPE, dataset(), tmp_path / "run"), denseam.train(RECIPE, dataset())
    )


def test_without_a_folder_there_is_no_word_of_one(monkeypatch):
    spoil(monkeypatch, 0, "memories")
    constant = recipe(30, 2)
    with pytest.raises(InputError, match=r"^epoch 1: the memories") as caught:
        denseam.train(constant, dataset())
    assert "checkpoint" not in str(caught.value)
    assert f"raise the temperature (now {constant.temperature:g})" in str(caught.value)


def test_a_checkpoint_that_is_not_finite_is_refused(tmp_path):
    denseam.train(recipe(3, 2), dataset(), tmp_path)
    folder, shape = RunFolder(tmp_path), torch.Size((12, 28))
    state = folder.load(shape, torch.float32)
    state.memories[3, 4] = math.nan
    folder.save(Checkpoint(2, state.memories, state.velocity))
    with pytest.raises(FileFormatError, match=r"checkpoint\.safetensors: memories that are NaN"):
        denseam.train(recipe(3, 2), dataset(), tmp_path)


def record(epoch, error=0.05, objective=1.0):
    return EpochRecord(epoch, error, None, objective, 1.0, 0.1, 0.0, 0, (error,), 1.0)


@pytest.mark.parametrize("objective", [math.inf, math.nan])
def test_a_record_without_an_objective_is_read_back(tmp_path, objective):
    path = tmp_path / "records.jsonl"
    append_records(path, [record(0, objective=objective)])
    assert json.loads(path.read_text())["objective"] is None
    (outcome,) = read_records(path, 1)
    assert math.isnan(outcome.objective)
    assert dataclasses.replace(outcome, objective=1.0) == record(0)


def test_such_a_record_is_no_spike():
    health = HealthCheck(recipe())
    for epoch in range(6):
        assert health.look(record(epoch)) == []
    assert health.look(record(6, 0.5, math.nan)) == []


def test_every_data_rank_needs_a_test_image():
    three = images(3, seed=2)
    with pytest.raises(InputError, match="3 test images among 4 data ranks: wanted one for each"):
        denseam.train(recipe(), images(), test=three, mesh=Mesh(data=Axis("data", 0, 4)))
