"""Early warnings: for each trouble once, and none on runs that go well."""

import dataclasses

import pytest

import denseam
from denseam import Callback, Recipe
from denseam.errors import DenseAMWarning
from denseam.training import EpochRecord
from denseam.training.health import HealthCheck

from .small import Stop, StopAt, dataset, images, recipe

RECIPE = Recipe.paper(2, 300)


def record(epoch, error=0.02, objective=0.5, **fields):
    healthy = EpochRecord(
        epoch=epoch, train_error=error, test_error=None, objective=objective, temperature=100.0,
        learning_rate=0.01, saturated=0.1, dead_memories=0, class_errors=(error,) * 10, seconds=1.0,
    )  # fmt: skip
    return dataclasses.replace(healthy, **fields)


def warnings_of(records):
    health = HealthCheck(RECIPE)
    return [text for each in records for text in health.look(each)]


def learning(count, start=0):
    """A run that goes well: everything falls."""
    return [record(e, 0.5 * 0.8**e, 8 * 0.8**e) for e in range(start, start + count)]


def lost(epoch, classes):
    errors = [0.02] * 10
    for c in classes:
        errors[c] = 0.99
    return record(epoch, class_errors=tuple(errors))


def test_many_saturated_outputs_while_many_images_are_wrong():
    warnings = warnings_of(
        [*learning(3), *(record(e, 0.42, 9.0, saturated=0.8) for e in range(3, 9))]
    )
    (text,) = [t for t in warnings if "saturated" in t]
    assert text.startswith("epoch 4: 80% of the class activities are saturated")
    assert "42% of the images are wrong" in text
    assert "Raise the final temperature, or give the ramp more epochs" in text


@pytest.mark.parametrize(
    ("classes", "words"), [([4], "class 4 had been learned and is"), ([1, 7], "classes 1, 7 had")]
)
def test_a_class_that_was_learned_and_is_lost(classes, words):
    (text,) = warnings_of([*learning(8), lost(8, classes), lost(9, classes)])
    assert text.startswith(f"epoch 9: {words}")
    assert "Raise the final temperature" in text


def test_an_attack_of_training_that_a_longer_one_beats():
    attack = {"attacked_error": 0.1, "checked_error": 0.2}
    assert warnings_of([*learning(3), record(3, attack=attack)]) == []
    hidden = {"attacked_error": 0.1, "checked_error": 0.8}
    (text,) = warnings_of([*learning(3), record(3, attack=hidden), record(4, attack=hidden)])
    assert text.startswith("epoch 4: the attack of training makes 10% of the images wrong, one of")
    assert "catastrophic overfitting" in text


def test_outputs_may_saturate_where_the_objective_does_not():
    records = [*learning(3), record(3, 0.42, 9.0, saturated=0.8)]
    health = HealthCheck(RECIPE.replace(objective="cross-entropy"))
    assert not [text for each in records for text in health.look(each) if "saturated" in text]


def test_a_jump_of_objective_and_error_together():
    (text,) = warnings_of([*learning(12), record(12, 0.3, 40.0), record(13, 0.3, 40.0)])
    assert text.startswith("epoch 13: the objective jumped to 40 from about 1.")
    assert f"Lower the learning rate (now {RECIPE.learning_rate:g}), or the mom" in text


def test_memories_that_see_nothing():
    (text,) = warnings_of([*learning(3), *(record(e, dead_memories=1200) for e in range(3, 6))])
    assert text.startswith("epoch 4: 1200 of 2000 memories see no image any more")
    assert "Lower the learning rate, or raise the temperature" in text


def test_a_network_of_other_units_is_told_of_no_memories():
    health = HealthCheck(Recipe.paper(network="relu", epochs=300))
    (text,) = [text for e in range(3) for text in health.look(record(e, dead_memories=1900))]
    assert "hidden units see no image any more" in text
    assert "memories" not in text


def test_every_kind_of_trouble_is_said_once_even_when_all_come_together():
    everything = [
        dataclasses.replace(
            lost(e, range(6)), train_error=0.6, objective=99.0, saturated=0.9, dead_memories=1900
        )
        for e in range(10, 20)
    ]
    assert len(warnings_of([*learning(10), *everything])) == 4


def test_a_run_that_goes_well_is_not_warned_of():
    assert warnings_of(learning(60)) == []


def test_a_start_at_large_power_is_no_trouble():
    # n = 30 on MNIST: whole classes wrong and a flat objective for some epochs, then it falls.
    begin = [
        (0.90, 9.99, (1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
        (0.80, 9.97, (1.0, 0.9, 1.0, 1.0, 0.0, 1.0, 0.98, 1.0, 0.2, 0.99)),
        (0.53, 9.90, (0.7, 0.2, 0.9, 0.99, 0.3, 0.97, 0.2, 0.3, 0.4, 0.6)),
        (0.25, 9.60, (0.1, 0.1, 0.4, 0.3, 0.2, 0.5, 0.1, 0.2, 0.3, 0.3)),
    ]
    start = [
        record(e, error, objective, class_errors=classes, saturated=0.0)
        for e, (error, objective, classes) in enumerate(begin)
    ]
    after = [record(e, 0.15 * 0.9**e, 9 * 0.9**e, saturated=0.01 * e) for e in range(4, 60)]
    assert warnings_of([*start, *after]) == []


def test_saturated_outputs_of_a_trained_model_are_no_trouble():
    trained = [record(e, 0.001, saturated=0.95) for e in range(10, 20)]
    assert warnings_of([*learning(10), *trained]) == []


def test_noise_around_no_errors_at_all_is_no_spike():
    perfect = [record(e, 0.0, objective) for e, objective in enumerate([1e-9, 0.0] * 10)]
    one_wrong = record(20, 1 / 6000, 1e-3)
    assert warnings_of([*perfect, one_wrong]) == []


class Listen(Callback):
    def __init__(self):
        self.heard = []

    def on_warning(self, message):
        self.heard.append(message)


# Tiny T: tanh is flat from the start, and most images stay wrong.
TROUBLE = recipe(3, 6).replace(temperature=0.1, temperature_start=0.1, temperature_epochs=0)


def test_warnings_reach_callbacks_and_the_warnings_of_python(tmp_path):
    ear = Listen()
    noisy = dataset()
    noisy = type(noisy)("noise", images(60, flips=0.5), images(30, seed=2, flips=0.5))
    with pytest.warns(DenseAMWarning, match="saturated") as caught:
        denseam.train(TROUBLE, noisy, tmp_path, callbacks=[ear])
    assert sorted(ear.heard) == sorted(str(w.message) for w in caught)
    assert caught[0].filename == __file__, "points at the call of train"
    assert sum("saturated" in text for text in ear.heard) == 1


def test_what_was_said_before_an_interruption_is_not_said_again(tmp_path):
    noisy = images(60, flips=0.5)
    with pytest.warns(DenseAMWarning, match="saturated"), pytest.raises(Stop):
        denseam.train(TROUBLE, noisy, tmp_path, callbacks=[StopAt(3)])
    ear = Listen()
    denseam.train(TROUBLE, noisy, tmp_path, callbacks=[ear])
    assert not [text for text in ear.heard if "saturated" in text]
