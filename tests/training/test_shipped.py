"""What a run ships: memories averaged over steps, and the best epoch by held-out images."""

import json

import pytest
import torch

import denseam
from denseam import Callback, Recipe
from denseam.errors import FileFormatError, InputError
from denseam.files import save_tensors
from denseam.training import Adversarial
from denseam.training.learner import Learner
from denseam.training.runs import RunFolder
from denseam.training.shipped import held_out

from .small import Stop, StopAt, assert_same_run, dataset, images, recipe

FIELDS = {"objective": "cross-entropy", "logit_scale": 20.0}
ATTACKED = recipe(3, 4, adversarial="l2:0.6", keep="best-attacked", average=1.5, **FIELDS)


class Steps:
    """A batch rule that notes the memories before each step, and changes nothing."""

    def __init__(self):
        self.memories = []

    def __call__(self, model, inputs, labels):
        self.memories.append(model.memories.detach().clone())
        return inputs


def test_the_average_is_the_mean_of_all_steps_until_it_looks_back_far_enough():
    steps = Steps()
    chosen = recipe(3, 3, average=100)
    averaged = denseam.train(chosen, images(), batch=steps).model.memories
    last = denseam.train(recipe(3, 3), images()).model.memories
    after = torch.stack([*steps.memories[1:], last])
    assert len(after) == 12  # 3 epochs of 4 batches
    torch.testing.assert_close(averaged, after.mean(dim=0))


def test_the_average_forgets_exponentially():
    steps = Steps()
    averaged = denseam.train(recipe(3, 3, average=0.5), images(), batch=steps).model.memories
    last = denseam.train(recipe(3, 3), images()).model.memories
    mean = steps.memories[1]
    for memories in [*steps.memories[2:], last]:  # half an epoch is two steps
        mean = (mean + memories) / 2
    torch.testing.assert_close(averaged, mean)


def test_test_errors_are_those_of_the_average(tmp_path):
    result = denseam.train(recipe(3, 4, average=2.0), dataset(), tmp_path)
    assert torch.equal(denseam.load(tmp_path).memories, result.model.memories)
    error = denseam.evaluate(result.model, dataset().test).error
    assert result.records[-1].test_error == error
    spread = denseam.train(recipe(3, 1, average=50.0, learning_rate=2.0), dataset())
    assert spread.records[-1].test_error == denseam.evaluate(spread.model, dataset().test).error


class Snapshots(Callback):
    """Notes what an epoch ships; the learner is told by a test."""

    def __init__(self):
        self.learner, self.memories = None, []

    def on_epoch(self, record):
        self.memories.append(self.learner.shipped.now["memories"].clone())


@pytest.mark.parametrize("keep", ["best", "best-attacked"])
def test_the_epoch_with_the_least_error_on_held_out_images_is_kept(monkeypatch, keep):
    notes = Snapshots()
    begin = Learner.__init__

    def noted(self, *args, **options):
        begin(self, *args, **options)
        notes.learner = self

    monkeypatch.setattr(Learner, "__init__", noted)
    noisy = recipe(3, 8, adversarial="l2:0.6", keep=keep, learning_rate=0.1, **FIELDS)
    result = denseam.train(noisy, images(200, flips=0.2), callbacks=[notes])
    errors = [record.held_out_error for record in result.records]
    assert len(set(errors)) > 2
    assert result.kept_epoch == errors.index(min(errors)) < 7
    assert torch.equal(result.model.memories, notes.memories[result.kept_epoch])


def test_held_out_images_are_not_trained_on_and_errors_are_of_them():
    everything = images(200, flips=0.25)
    chosen = recipe(3, 2, adversarial="l2:0.6", keep="best-attacked", **FIELDS)
    rest, others = held_out(chosen, everything)
    assert (len(rest), len(others)) == (180, 20)
    rows = {tuple(row) for row in others.images.flatten(1).tolist()}
    assert not rows & {tuple(row) for row in rest.images.flatten(1).tolist()}
    result = denseam.train(chosen, everything)
    assert torch.equal(
        result.model.memories,
        denseam.train(chosen.replace(keep="last"), rest).model.memories,
    )
    torch.manual_seed(0)
    broken = Adversarial("l2", 0.6).breaks(result.model, others.visible(), others.labels)
    assert result.records[-1].held_out_error == pytest.approx(float(broken.float().mean()), abs=0.1)
    assert held_out(recipe(3), everything) == (everything, None)


def test_every_threat_may_break_an_image():
    model = denseam.train(recipe(3, 6, **FIELDS), images()).model
    test = images(60, seed=4)
    v, labels = test.visible(), test.labels
    rules = [Adversarial.parse(text) for text in ("l2:0.5", "linf:0.3", "l2:0.5,linf:0.3")]
    l2, linf, both = (rule.breaks(model, v, labels) for rule in rules)
    assert 0 < int(l2.sum()) < 60
    assert int(both.sum()) >= max(int(l2.sum()), int(linf.sum())) > 0
    assert bool((both >= (model.predict(v) != labels)).all())


@pytest.mark.parametrize("stop", [(0, 1), (2,)], ids=str)
def test_an_interrupted_run_ships_the_same_bits(tmp_path, stop):
    whole = denseam.train(ATTACKED, dataset())
    with pytest.raises(Stop):
        denseam.train(ATTACKED, dataset(), tmp_path, callbacks=[StopAt(*stop)])
    resumed = denseam.train(ATTACKED, dataset(), tmp_path)
    assert_same_run(resumed, whole)
    assert resumed.kept_epoch == whole.kept_epoch
    assert torch.equal(denseam.load(tmp_path).memories, whole.model.memories)


def test_a_checkpoint_without_what_the_recipe_ships_is_refused(tmp_path):
    denseam.train(ATTACKED, dataset(), tmp_path)
    folder = RunFolder(tmp_path)
    tensors = folder.load(torch.Size((12, 28)), torch.float32).tensors()
    del tensors["average"]
    save_tensors(folder.checkpoint, "checkpoint", tensors, {"epochs": 4})
    with pytest.raises(FileFormatError, match="has no average"):
        denseam.train(ATTACKED, dataset(), tmp_path)


def test_records_without_held_out_images_are_as_they_were(tmp_path):
    result = denseam.train(recipe(3, 2), images(), tmp_path)
    lines = (tmp_path / "records.jsonl").read_text().splitlines()
    assert all("held_out_error" not in json.loads(line) for line in lines)
    assert result.kept_epoch == 1


def test_averaged_prototypes_have_the_votes_of_their_lengths():
    chosen = Recipe.paper(network="prototypes", epochs=2, n_memories=12, per_class=5, average=1.0)
    model = denseam.train(chosen, images()).model
    votes = model.class_memories.detach().clone()
    model.settle()
    assert torch.equal(model.class_memories, votes)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"average": -1}, "average"),
        ({"average": float("nan")}, "average"),
        ({"keep": "first"}, "keep"),
        ({"network": "nearest", "power": 1, "average": 1}, "learns nothing"),
        ({"network": "nearest", "power": 1, "keep": "best"}, "learns nothing"),
    ],
)
def test_values_that_mean_nothing_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        recipe(3, 2).replace(**fields)


def test_attacked_images_decide_only_where_some_are_attacked():
    with pytest.raises(InputError, match="wanted adversarial training"):
        denseam.train(recipe(3, 2, keep="best-attacked"), images())
