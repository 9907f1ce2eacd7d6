"""Transfer tables against what each pair gives alone."""

import json

import pytest
import torch
from tests.descent.small import images, prototypes

from denseam import DenseAM, confidence, transfer_confidence, transfer_errors
from denseam.data import ImageSet
from denseam.descent import boundary_set
from denseam.errors import InputError
from denseam.evaluation import wilson_interval


@pytest.fixture(scope="module")
def models():
    made = {f"n = {n:g}": prototypes(n, seed=int(n)).float() for n in (3.0, 20.0)}
    made["n = 20"].temperature = 6.0  # Y of these images is then neither 0 nor 1
    return made


@pytest.fixture(scope="module")
def sets(models):
    made = {}
    for count, (name, model) in zip((9, 14), models.items(), strict=True):
        v = images(count, 12, torch.float32)
        clean = ImageSet(v.reshape(-1, 4, 3), model.predict(v), 3)
        made[name] = boundary_set(model, clean, step=0.05)
    return made


def test_errors_are_those_of_each_pair(models, sets):
    table = transfer_errors(models, sets)
    assert table.sources == table.victims == ("n = 3", "n = 20")
    assert table.counts == (9, 14)
    for r, made in enumerate(sets.values()):
        for v, model in enumerate(models.values()):
            wrong = int((model.predict(made.visible()) != made.labels).sum())
            assert float(table.values[r, v]) == wrong / len(made)
            assert table.intervals[r, v].tolist() == list(wilson_interval(wrong, len(made)))
    assert table.values[0, 0] > 0.8, "its own boundary was crossed"
    assert json.loads(json.dumps(table.to_json()))["values"] == table.values.tolist()


def test_confidences_are_means_at_one_beta_or_at_each_models_own(models, sets):
    for beta, betas in ((3.2, [3.2, 3.2]), ([0.5, 40.0], [0.5, 40.0])):
        table = transfer_confidence(models, sets, beta)
        for r, made in enumerate(sets.values()):
            for v, model in enumerate(models.values()):
                Z = confidence(model, made.visible(), betas[v])
                assert float(table.values[r, v]) == pytest.approx(float(Z.mean()), abs=1e-6)
                low, high = table.intervals[r, v].tolist()
                assert 0 <= low <= float(table.values[r, v]) <= high <= 1
                half = 1.96 * float(Z.std()) / len(Z) ** 0.5
                assert high - low <= 2 * half + 1e-4


def test_one_model_twice_has_a_beta_for_each_of_its_names(models, sets):
    one = models["n = 20"]
    table = transfer_confidence({"a": one, "b": one}, sets, [0.5, 40.0])
    wanted = transfer_confidence({"a": one}, sets, 0.5).values[:, 0]
    assert torch.equal(table.values[:, 0], wanted)
    assert (table.values[:, 1] != wanted).all()


def test_what_does_not_go_together_is_refused(models, sets):
    with pytest.raises(InputError, match="wanted one of each"):
        transfer_errors({}, sets)
    with pytest.raises(InputError, match="wanted one of each"):
        transfer_errors(models, {})
    with pytest.raises(InputError, match="3 values of beta_sm for 2 models"):
        transfer_confidence(models, sets, [1.0, 2.0, 3.0])
    with pytest.raises(InputError):
        transfer_errors({"other": DenseAM(9, 3, 4, 2, 9.0)}, sets)
