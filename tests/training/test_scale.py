"""Recipes found from the data: they learn, whatever the data, the power and the energy."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import denseam
from denseam import Recipe, data
from denseam.cli import parser
from denseam.cli.train import recipe_of
from denseam.data import Dataset, FeatureSet, ImageSet
from denseam.errors import InputError
from denseam.evaluation import constant_answer
from denseam.training import fit_recipe, train
from denseam.training.scale import class_rows, first_memories, fit_scale, front_of, visible_of

from .small import Stop, StopAt, assert_same_run, dataset, images


def table(count: int, features: int, classes: int, seed: int = 0, scale: float = 1.0) -> FeatureSet:
    """Rows around one centre for each class, in units of ``scale``, far from zero."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, features, generator=torch.Generator().manual_seed(9))
    labels = torch.arange(count) % classes
    rows = 3 * centres[labels] + torch.randn(count, features, generator=generator)
    return FeatureSet((scale * rows.double() + 5 * scale), labels, classes, name="blobs")


@settings(max_examples=12, deadline=None)
@given(
    features=st.sampled_from([2, 3, 17, 90]),
    classes=st.integers(2, 7),
    per_class=st.integers(4, 25),
    power=st.sampled_from([1, 1.5, 2, 3, 6, 30, 100]),
    energy=st.sampled_from(["rectified_polynomial", "exponential"]),
    epochs=st.sampled_from([5, 20]),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_any_table_is_learned(features, classes, per_class, power, energy, epochs, scale):
    rows = table(classes * per_class, features, classes, scale=scale)
    result = train(fit_recipe(rows, power, epochs, energy=energy), rows)
    error = float((result.model.predict(rows.inputs()) != rows.labels).double().mean())
    assert error < 0.6 * constant_answer(rows)[1]


@pytest.mark.parametrize("power", [2, 30])
@pytest.mark.parametrize("network", ["dam", "exponential"])
def test_small_pictures_are_learned_where_the_presets_fail(power, network):
    recipe = fit_recipe(dataset().train, power, 20, network=network)
    assert (recipe.objective, recipe.front) == ("cross-entropy", "none")
    assert train(recipe, dataset()).records[-1].test_error <= 0.05


def test_many_classes_and_a_rare_one():
    rows = table(400, 6, 8)
    few = rows.subset([i for i in range(400) if rows.labels[i] != 3 or i < 20])
    result = train(fit_recipe(few, 6, 20), few)
    assert result.records[-1].class_errors[3] < 0.5


def test_the_same_data_have_the_same_recipe_and_its_command_repeats_it(tmp_path):
    rows = table(90, 5, 3)
    recipe = fit_recipe(rows, 6, 20, seed=4)
    assert recipe == fit_recipe(rows, 6, 20, seed=4)
    assert Recipe.from_json(recipe.to_json()) == recipe
    words = recipe.command(f"{tmp_path}/some table").split()
    assert "--dataset" in words
    args = parser().parse_args([*recipe.command("blobs").split()[1:], "--out", "run"])
    assert recipe_of(args, rows) == recipe


def test_values_that_somebody_chose_stay():
    chosen = {"n_memories": 7, "learning_rate": 0.125, "logit_scale": 9.0, "initial": "classes"}
    recipe = fit_recipe(table(60, 4, 3), 3, 11, per_class=2, temperature=3.5, **chosen)
    for name, value in {**chosen, "epochs": 11, "per_class": 2, "temperature": 3.5}.items():
        assert getattr(recipe, name) == value
    assert fit_recipe(table(60, 4, 3), 3, loss_power=5).objective == "paper"
    with pytest.raises(InputError, match="n_memory"):
        fit_recipe(table(60, 4, 3), 3, n_memory=5)


def test_the_temperature_of_the_papers_objective_makes_a_gap_of_one():
    rows = table(200, 9, 4)
    recipe = fit_recipe(rows, 6, objective="paper")
    visible = visible_of(recipe, rows, front_of(recipe, rows))
    look = first_memories(recipe, visible, rows.labels, 4).look
    gap = look.energy_gap(recipe.temperature).abs().amax(dim=1).median()
    assert float(gap) == pytest.approx(1, rel=0.1)
    assert train(recipe, rows).records[-1].train_error < 0.2


def test_mnist_over_300_epochs_keeps_the_presets():
    train_set = data.load("mnist").train.subset(slice(3000))
    for power in (2, 30):
        paper = Recipe.paper(power, 300).for_data(train_set)
        assert fit_recipe(train_set, power) == fit_recipe(train_set, power, 300) == paper
    assert fit_recipe(train_set, 2, 299).objective == "cross-entropy"
    assert fit_recipe(train_set, network="relu", epochs=20) == Recipe.paper(
        network="relu", epochs=20
    ).for_data(train_set)


def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path):
    rows = Dataset("blobs", table(90, 5, 3), table(30, 5, 3, seed=1))
    recipe = fit_recipe(rows.train, 20, 6)
    whole = train(recipe, rows, tmp_path / "whole")
    with pytest.raises(Stop):
        train(recipe, rows, tmp_path / "run", callbacks=[StopAt(2)])
    assert_same_run(train(recipe, rows, tmp_path / "run"), whole)
    loaded = denseam.load(tmp_path / "run" / "model.safetensors")
    assert torch.equal(loaded.predict(rows.test.inputs()), whole.model.predict(rows.test.inputs()))


def test_rows_are_drawn_by_share_and_no_class_is_left_out():
    labels = torch.tensor([0] * 70 + [1] * 28 + [2] * 2)
    drawn = labels[class_rows(labels, 50, seed=0)]
    assert torch.bincount(drawn).tolist() == pytest.approx([35, 14, 1], abs=1)
    assert set(labels[class_rows(labels, 3, seed=5)].tolist()) == {0, 1, 2}
    rows = class_rows(labels, 250, seed=0)
    assert torch.bincount(rows).tolist() == pytest.approx([2.5] * 100, abs=0.5)


@pytest.mark.parametrize("power", [1, 2, 6, 30, 1000])
def test_the_first_fields_have_one_scale_at_every_power(power):
    recipe = fit_recipe(images(), power, 20, n_memories=30)
    begun = first_memories(recipe, images().inputs(), images().labels, 3)
    fields = begun.look.overlaps
    assert begun.memories.abs().max() <= 1
    assert float(fields.mean()) == pytest.approx(power * begun.spread / 2, rel=0.35)
    deviation = (fields - fields.mean(dim=0)).square().mean().sqrt()
    assert float(deviation) == pytest.approx(begun.spread, rel=0.5)


@pytest.mark.parametrize(("power", "times"), [(1, 20**0.875), (2, 20**0.875), (3, 3.2), (30, 1.0)])
def test_steps_on_large_sets_are_longer_where_n_is_small(power, times):
    """From 3000 examples to 60,000: the root of 20 at large n, and more at small n."""
    pictures = dataset().train
    visible, epochs = pictures.visible(), 4000
    chosen = fit_recipe(pictures, power, epochs).replace(initial="samples", per_class=2)
    few, many = (
        fit_scale(chosen, visible, pictures.labels, pictures.n_classes, count, {}).learning_rate
        for count in (3000, 60_000)
    )  # 20 times as many steps
    assert many / few * 20 == pytest.approx(20**0.5 * times, rel=0.05)


def test_coarse_products_get_large_memories():
    recipe = fit_recipe(images(), 20, 20, products="8-bit")
    begun = first_memories(recipe, images().inputs(), images().labels, 3)
    assert begun.memories.abs().max() > 0.9


def test_one_class_and_constant_features_are_no_error():
    still = FeatureSet(torch.ones(12, 3), torch.arange(12) % 2, 2)
    alone = FeatureSet(torch.randn(12, 3), torch.zeros(12, dtype=torch.int64), 1)
    for rows in (still, alone):
        assert len(train(fit_recipe(rows, 3, 2), rows).records) == 2


def test_pictures_around_zero_get_a_front():
    grey = ImageSet(torch.randn(60, 6, 6).clamp(-1, 1), torch.arange(60) % 3, 3)
    assert fit_recipe(grey, 3, 20).front == "table"
    assert dataclasses.replace(fit_recipe(grey, 3, 20), front="none").front == "none"
