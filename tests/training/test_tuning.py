"""The search for a recipe: what it varies, what it leaves, and how it goes on."""

import sys

import pytest
import torch

import denseam
from denseam.data import FeatureSet
from denseam.errors import InputError, MissingPackageError
from denseam.training import tuning

pytest.importorskip("optuna")


@pytest.fixture(scope="module")
def rows():
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(60) % 3
    return FeatureSet(
        labels[:, None] + 0.3 * torch.randn(60, 4, generator=generator), labels, 3, name="steps"
    )


@pytest.mark.filterwarnings("ignore")
def test_a_search_goes_on_in_its_journal_and_ends_with_the_best(rows, tmp_path, monkeypatch):
    journal = tmp_path / "tuning.journal"
    seen = []
    real = tuning.train
    monkeypatch.setattr(
        tuning, "train", lambda recipe, *a, **k: seen.append(recipe) or real(recipe, *a, **k)
    )
    best = denseam.tune(rows, 1.0, journal, epochs=4, seed=1)
    first = len(seen)
    assert seen[0] == denseam.fit_recipe(rows.split(test=0.2, seed=1).train, 6, 4, seed=1)
    assert denseam.tune(rows, 1.0, journal, epochs=4, seed=1) == best
    assert len(seen) == first, "the time of the search was over"
    assert denseam.train(best, rows).records[-1].train_error < 0.3


@pytest.mark.filterwarnings("ignore")
def test_values_that_somebody_chose_are_not_searched(rows):
    best = denseam.tune(rows, 0.5, power=3, epochs=3, n_memories=9, learning_rate=0.01)
    assert (best.power, best.n_memories, best.learning_rate, best.epochs) == (3, 9, 0.01, 3)


def test_what_it_needs(rows, monkeypatch):
    with pytest.raises(InputError, match="seconds = 0: wanted"):
        denseam.tune(rows, 0)
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingPackageError, match=r"denseam\[tune\]"):
        denseam.tune(rows, 1)
