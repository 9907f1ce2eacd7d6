"""Models under study: what they are called, and what tells them apart."""

import dataclasses

import pytest
import torch
from training import small as training

import denseam
from denseam.errors import FileFormatError, InputError
from denseam.study import Subject, of_models

from . import small


@pytest.fixture
def save(tmp_path):
    def call(power, name=None, **fields):
        path = tmp_path / f"{name or power}.safetensors"
        small.model(power, **fields).save(path)
        return path

    return call


@pytest.fixture(scope="module")
def images():
    return small.dataset()


def names(subjects):
    return [subject.name for subject in subjects]


def test_memories_are_named_by_power_and_sorted_by_it(save, images):
    found = of_models([save(30), save(2.5), save(3)], images)
    assert names(found) == ["n2.5", "n3", "n30"]
    assert [subject.label for subject in found] == ["n = 2.5", "n = 3", "n = 30"]
    assert [subject.model.power for subject in found] == [2.5, 3, 30]


def test_models_of_one_power_are_numbered(save, images):
    paths = [save(3, "b"), save(2), save(3, "a"), save(3, "c")]
    found = of_models(paths, images)
    assert names(found) == ["n2", "n3", "n3-2", "n3-3"]
    assert [subject.label for subject in found][1:] == ["n = 3", "n = 3 (2)", "n = 3 (3)"]
    assert [subject.source for subject in found] == [str(paths[i]) for i in (1, 0, 2, 3)]


def test_powers_that_are_written_alike_are_numbered_too(save, images):
    near = [save(power, f"{i}") for i, power in enumerate((30, 30.000001, 30.000002))]
    assert [s.name for s in of_models(near, images)] == ["n30", "n30-2", "n30-3"]


def test_a_run_folder_says_how_it_was_trained_and_a_file_does_not(tmp_path):
    recipe = training.recipe(3, 4)
    denseam.train(recipe, training.dataset(), tmp_path / "run")
    subjects = of_models([tmp_path / "run", tmp_path / "run/model.safetensors"], training.dataset())
    assert subjects[0].card["recipe"] == recipe.to_json()
    assert subjects[0].card["command"] == f"{recipe.command()} --out {tmp_path / 'run'}"
    assert subjects[1].card == {}
    assert subjects[0].digest == subjects[1].digest
    assert names(subjects) == ["n3", "n3-2"]


def test_the_digest_is_of_what_the_model_computes_with():
    subject = Subject("n3", small.model(3), "a")
    assert Subject("other", small.model(3), "b", {"seeds": []}).digest == subject.digest
    assert Subject("n3", small.model(3.5), "a").digest != subject.digest
    assert Subject("n3", small.model(3, temperature=16.0), "a").digest != subject.digest
    digests = {subject.digest}
    for place in ((0, 0), (11, 27)):
        model = small.model(3)
        model.memories.data[place] = torch.nextafter(model.memories.data[place], torch.tensor(2.0))
        digests.add(dataclasses.replace(subject, model=model).digest)
    model = small.model(3)
    model.memories.data = model.memories.data.flip(0)
    digests.add(dataclasses.replace(subject, model=model).digest)
    assert len(digests) == 4


def test_a_study_needs_a_memory(images):
    with pytest.raises(InputError, match="one dense associative memory at least"):
        of_models([], images)


def test_images_of_another_size_or_with_more_classes_do_not_fit(save, images):
    path = save(2)
    model = denseam.DenseAM(24, 3, 5, 2, 10.0)
    model.save(path.with_name("24.safetensors"))
    with pytest.raises(InputError, match="25 pixels, but the model has n_visible = 24"):
        of_models([path, path.with_name("24.safetensors")], images)
    model = denseam.DenseAM(25, 2, 5, 2, 10.0)
    model.save(path.with_name("two.safetensors"))
    with pytest.raises(InputError, match="3 classes, but the model has 2"):
        of_models([path.with_name("two.safetensors")], images)


def test_a_path_without_a_model_is_refused(images, tmp_path):
    with pytest.raises(InputError, match=r"no model .*nowhere.: wanted a model file, .*mnist-n30"):
        of_models([tmp_path / "nowhere"], images)
    (tmp_path / "text").write_text("no model")
    with pytest.raises(FileFormatError, match="text"):
        of_models([tmp_path / "text"], images)


@pytest.mark.parametrize("name", ["mnist-n4", "", "../pretrained/__init__", "mnist-n30.json"])
def test_the_package_has_no_model_of_another_name(name):
    with pytest.raises(InputError, match="in the package") as raised:
        denseam.load_pretrained(name)
    assert repr(name) in str(raised.value)


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ("[]", "holds no recipe"),
        ("{}", "holds no recipe"),
        ('{"recipe": 3}', "holds no recipe"),
        ('{"recipe": {"power": 3.0, "colour": 1}}', "no colour"),
        ('{"recipe": {"power": 3.0}}', "not a whole recipe"),
        ('{"recipe"', "not a whole JSON file"),
    ],
)
def test_a_damaged_run_folder_is_refused(save, images, facts, words, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    save(3).rename(folder / "model.safetensors")
    (folder / "run.json").write_text(facts)
    with pytest.raises(FileFormatError, match=words):
        of_models([folder], images)
