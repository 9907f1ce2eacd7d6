"""The models of the package: what their cards say is so."""

import json

import pytest
import torch

import denseam
from denseam import Recipe, evaluate, load_pretrained, pretrained_card, pretrained_names
from denseam.errors import InputError
from denseam.evaluation import wilson_interval
from denseam.pretrained import _FOLDER, baseline_names, certified_names, convolutional_names

NAMES = ("mnist-n2", "mnist-n3", "mnist-n20", "mnist-n30")


@pytest.fixture(scope="module")
def mnist():
    return denseam.data.load("mnist")


def test_the_models_are_named_by_rising_power():
    assert pretrained_names() == NAMES
    assert [load_pretrained(name).power for name in NAMES] == [2, 3, 20, 30]


def test_together_they_take_less_than_15_megabytes():
    assert sum((_FOLDER / f"{name}.safetensors").stat().st_size for name in NAMES) < 15e6
    assert sum(path.stat().st_size for path in _FOLDER.iterdir() if path.is_file()) < 35e6


@pytest.mark.parametrize("name", NAMES)
def test_the_errors_are_those_of_the_card(name, mnist):
    model, errors = load_pretrained(name), pretrained_card(name)["errors"]
    found = evaluate(model, mnist.test)
    assert found.error == errors["test"]["error"]
    wrong = round(found.error * len(mnist.test))
    assert (errors["test"]["low"], errors["test"]["high"]) == wilson_interval(wrong, 10_000)
    assert abs(errors["test"]["error"] - errors["test, before rounding"]["error"]) <= 0.0002


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_training_error_is_that_of_the_card(name, mnist):
    error = evaluate(load_pretrained(name), mnist.train).error
    assert error == pretrained_card(name)["errors"]["train"]["error"]


@pytest.mark.parametrize("name", NAMES)
def test_the_card_says_how_the_model_was_made(name, mnist):
    from denseam.cli import parser

    card, model = pretrained_card(name), load_pretrained(name)
    recipe = Recipe(**card["recipe"])
    assert (recipe.power, recipe.n_memories) == (model.power, model.n_memories) == (
        float(name.removeprefix("mnist-n")), 2000)  # fmt: skip
    assert recipe.temperature == model.temperature
    assert card["data"]["digest"] == mnist.train.digest()
    assert card["dtype"] == "float16"
    # The command trains by this very recipe.
    args = parser().parse_args(card["command"].split()[1:])
    preset = Recipe.paper(args.power, args.epochs, seed=args.seed)
    given = {field: getattr(args, field) for field in card["recipe"] if hasattr(args, field)}
    assert recipe == preset.replace(**{k: v for k, v in given.items() if v is not None})
    epochs = [record["epoch"] for record in card["records"]]
    assert epochs == sorted(set(epochs))
    assert (epochs[0], epochs[-1]) == (0, recipe.epochs - 1)
    own, *others = card["seeds"]
    assert (own["seed"], own["epochs"], own["command"]) == (
        recipe.seed, recipe.epochs, card["command"])  # fmt: skip
    assert own["error"] == card["errors"]["test, before rounding"]["error"]
    assert len({run["seed"] for run in card["seeds"]}) == len(card["seeds"]) >= 3
    assert own["seed"] == 0
    for run in others:  # by their commands, whole or stopped early
        args = parser().parse_args(run["command"].split()[1:])
        assert (args.power, args.seed) == (recipe.power, run["seed"])
        assert run["epochs"] <= run.get("schedule", run["epochs"]) == args.epochs


BASELINES = [name for name in baseline_names() if (_FOLDER / f"{name}.json").exists()]


def test_the_networks_to_compare_with_are_there():
    assert {"mnist-relu", "mnist-rbf"} < set(BASELINES)
    assert baseline_names() == (*BASELINES, "mnist-nearest", "mnist-relu-binarised")
    nearest, binarised = map(load_pretrained, baseline_names()[-2:])
    assert nearest.n_memories == 60_000
    assert torch.equal(binarised.memories, load_pretrained("mnist-relu").memories)


@pytest.mark.parametrize("name", BASELINES)
def test_their_cards_say_how_they_were_made_and_what_they_do(name, mnist):
    from denseam.cli import parser

    card, model = pretrained_card(name), load_pretrained(name)
    assert evaluate(model, mnist.test).error == card["errors"]["test"]["error"]
    recipe = Recipe(**card["recipe"])
    assert (model.kind, model.power) == (recipe.network, recipe.power)
    args = parser().parse_args(card["command"].split()[1:])
    preset = Recipe.paper(args.power, args.epochs, network=args.network, seed=args.seed)
    given = {field: getattr(args, field) for field in card["recipe"] if hasattr(args, field)}
    assert recipe == preset.replace(**{k: v for k, v in given.items() if v is not None})


@pytest.mark.parametrize("name", convolutional_names())
def test_models_with_convolutions_are_what_their_cards_say(name):
    from denseam.cli import parser

    card, model = pretrained_card(name), load_pretrained(name)
    images = denseam.data.load(card["data"]["name"].removesuffix(" train"))
    assert evaluate(model, images.test).error == card["errors"]["test"]["error"]
    assert model.trained_on.class_names == images.train.class_names
    assert card["data"]["digest"] == images.train.digest()
    recipe = Recipe(**card["recipe"])
    assert (model.kind, model.power, model.n_memories) == (
        recipe.network, recipe.power, recipe.n_memories)  # fmt: skip
    args = parser().parse_args(card["command"].split()[1:])
    preset = Recipe.paper(args.power, args.epochs, network=args.network, seed=args.seed)
    given = {field: getattr(args, field) for field in card["recipe"] if hasattr(args, field)}
    assert recipe == preset.replace(**{k: v for k, v in given.items() if v is not None})


def test_the_memories_are_in_range_and_the_model_can_be_trained_on():
    model = load_pretrained("mnist-n20")
    assert model.memories.dtype is torch.float32
    assert model.memories.abs().max() <= 1
    assert model.memories.requires_grad


@pytest.mark.parametrize("name", ["mnist-n4", "n30", "", "../mnist-n30", "mnist-n30.json"])
def test_another_name_is_refused_with_those_there_are(name):
    for ask in (load_pretrained, pretrained_card):
        with pytest.raises(
            InputError, match=r"mnist-n2, mnist-n3, mnist-n20, mnist-n30|did you mean mnist-n\d+\?"
        ):
            ask(name)


def test_a_card_is_plain_json_and_no_word_of_a_machine_s_folders():
    for name in (*NAMES, *BASELINES, *convolutional_names()):
        text = json.dumps(pretrained_card(name), allow_nan=False)
        assert "/" not in json.dumps(pretrained_card(name)["command"])
        assert "/tmp" not in text
        assert "/home" not in text


def test_all_names_are_offered():
    with pytest.raises(InputError) as caught:
        load_pretrained("bogus")
    for name in (*NAMES, *baseline_names(), *convolutional_names()):
        assert name in str(caught.value)


@pytest.mark.parametrize("name", ["mnist-nearest", "mnist-relu-binarised"])
def test_what_is_made_when_asked_for_has_no_card(name):
    with pytest.raises(InputError, match=f"{name} has no card: it is made on demand"):
        pretrained_card(name)


@pytest.mark.parametrize("name", certified_names())
def test_certified_models_have_the_radii_of_their_cards(name, mnist):
    card, model = pretrained_card(name), load_pretrained(name)
    assert evaluate(model, mnist.test).error == card["errors"]["test"]["error"]
    assert Recipe(**card["recipe"]).certify in card["command"]
    assert (_FOLDER / f"{name}.safetensors").stat().st_size < 16e6
    for bound, facts in card["certified"].items():
        assert facts["n_images"] == 10_000, bound
    first = card["certified"]["distance"]["first"]  # radii of the first images
    count = 20
    test = mnist.test.subset(slice(count))
    certificates = denseam.certify(model, test.visible(), test.labels)
    assert certificates.distances.tolist() == pytest.approx(first[:count], rel=1e-3, abs=1e-6)
