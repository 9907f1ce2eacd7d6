"""Runs that go wrong and are mended: saturation, lost classes, numbers that are not finite."""

import math
import warnings

import pytest

import denseam
from denseam.errors import DenseAMWarning
from denseam.training.learner import Learner
from denseam.training.records import EpochRecord

from .small import Stop, StopAt, assert_same_run, dataset, recipe

# Tiny T: tanh is flat from the start, and the paper's objective has no slope.
LOST = recipe(30, 24).replace(temperature=0.1, temperature_start=0.1, temperature_epochs=0)


def quiet_train(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DenseAMWarning)
        return denseam.train(*arguments, **options)


def test_a_saturated_network_goes_on_with_log_energies():
    with pytest.warns(DenseAMWarning, match="next epochs learn by the cross-entropy"):
        result = denseam.train(LOST, dataset())
    scales = [record.logit_scale for record in result.records]
    assert scales[:2] == [None, None]
    assert len(set(scales[2:])) == 1
    assert result.records[1].test_error > 0.2
    assert result.records[-1].test_error <= 0.1


@pytest.mark.parametrize("epoch", [0, 1, 2, 5])
def test_a_mended_run_goes_on_to_the_same_bits(epoch, tmp_path):
    whole = quiet_train(LOST, dataset())
    with pytest.raises(Stop):
        quiet_train(LOST, dataset(), tmp_path, callbacks=[StopAt(epoch)])
    assert_same_run(quiet_train(LOST, dataset(), tmp_path), whole)


def spoil_once(monkeypatch, epoch):
    """Make numbers infinite after an epoch with the recipe's own steps."""
    real = Learner.epoch

    def spoilt(self, number, on_batch):
        sums = real(self, number, on_batch)
        if number == epoch and self.step_factor == 1:
            self.memories[1, 2] = math.inf
        return sums

    monkeypatch.setattr(Learner, "epoch", spoilt)


def test_an_epoch_that_is_not_finite_is_repeated_with_shorter_steps(monkeypatch, tmp_path):
    spoil_once(monkeypatch, 2)
    with pytest.warns(DenseAMWarning, match="epoch 3: numbers were not finite") as caught:
        result = denseam.train(recipe(3, 5), dataset())
    assert caught[0].filename == __file__
    assert [record.step_factor for record in result.records] == [None, None, 0.25, 0.25, 0.25]
    rates = [record.learning_rate for record in result.records]
    assert rates[2] == 0.25 * recipe(3, 5).learning_rate_at(2)
    with pytest.raises(Stop):
        quiet_train(recipe(3, 5), dataset(), tmp_path, callbacks=[StopAt(2)])
    assert_same_run(quiet_train(recipe(3, 5), dataset(), tmp_path), result)


def test_records_without_what_was_mended_are_read():
    fields = quiet_train(recipe(3, 1), dataset()).records[0].to_json()
    del fields["step_factor"], fields["logit_scale"]
    assert EpochRecord.from_json(fields).step_factor is None
