"""The networks of section 7, trained by the same rule through the same loop."""

import pytest
import torch
from tests.training.small import CLASSES, SIDE, dataset, images

import denseam
from denseam import Recipe, energy, train
from denseam.baselines import Binarised, NearestNeighbour, binarise
from denseam.classifier import Classifier
from denseam.errors import InputError
from denseam.kernels import Paper, by_name
from denseam.mesh import Mesh
from denseam.training.learner import initial_model

NETWORKS = {"exponential": 4.0, "relu": None, "polynomial": 3.0, "rbf": None}


def recipe(network: str, epochs: int = 12, **fields: object) -> Recipe:
    """Scaled to the small images, with few memories and small batches."""
    sizes = {"n_memories": 12, "per_class": 5, **fields}
    preset = Recipe.paper(NETWORKS.get(network), epochs, network=network)
    return preset.for_data(images()).replace(**sizes)


@pytest.mark.filterwarnings("ignore::denseam.DenseAMWarning")  # presets are for MNIST
@pytest.mark.parametrize("binarised", [False, True])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_tiny_problem_is_learned(network, binarised):
    result = train(recipe(network, 30, binarised=binarised), dataset())
    assert result.records[-1].test_error <= 0.1
    assert result.records[0].objective > result.records[-1].objective
    model = result.model.network if binarised else result.model
    assert isinstance(result.model, Binarised) is binarised
    assert model.kind == network


@pytest.mark.parametrize("network", NETWORKS)
def test_an_interrupted_run_goes_on_to_the_same_bits(network, tmp_path):
    class Stop(denseam.Callback):
        def on_epoch(self, record):
            if record.epoch == 1:
                raise KeyboardInterrupt

    small = recipe(network, 4)
    whole = train(small, dataset(), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(small, dataset(), tmp_path / "run", callbacks=[Stop()])
    again = train(small, dataset(), tmp_path / "run")
    assert torch.equal(again.model.memories, whole.model.memories)
    loaded = denseam.load(tmp_path / "run")
    assert type(loaded) is type(whole.model)
    assert torch.equal(loaded.memories, whole.model.memories)


@pytest.mark.parametrize("network", [*NETWORKS, "dam"])
def test_the_gradient_of_a_batch_is_that_of_the_objective(network):
    power = {"dam": 3.0}.get(network, NETWORKS.get(network))
    small = Recipe.paper(power, 5, network=network, dtype="float64", n_memories=4)
    model = initial_model(small.for_data(images()), images(), torch.device("cpu"))
    v, labels = images().visible(torch.float64)[:7], images().labels[:7]
    neurons = torch.cat([v, torch.zeros(7, CLASSES, dtype=torch.float64)], dim=1)
    arguments = (by_name("reference"), neurons, labels, Paper(2.0), Mesh())
    gradient, outcome = Classifier._gradient(model, *arguments)
    target = energy.targets(labels, CLASSES, torch.float64)

    def objective() -> float:
        with torch.no_grad():
            return float(energy.objective(model(v), target, 2.0))

    assert float(outcome.objective) == pytest.approx(objective(), rel=1e-9)
    assert torch.equal(outcome.predicted, model.predict(v))
    step = 1e-6
    memories = model.memories.data
    for place in [(0, 0), (1, 7), (2, SIDE * SIDE), (3, SIDE * SIDE + 2)]:
        kept = float(memories[place])
        memories[place] = kept + step
        above = objective()
        memories[place] = kept - step
        below = objective()
        memories[place] = kept
        assert float(gradient[place]) == pytest.approx(
            (above - below) / (2 * step), rel=1e-4, abs=1e-7
        )


def test_nearest_neighbours_learn_by_heart(tmp_path):
    result = train(Recipe.paper(network="nearest"), dataset(), tmp_path / "run")
    assert isinstance(result.model, NearestNeighbour)
    assert result.records == []
    assert result.model.n_memories == len(dataset().train)
    again = denseam.load(tmp_path / "run")
    assert torch.equal(again.memories, result.model.memories)
    assert again.settings() == result.model.settings()
    train(Recipe.paper(network="nearest"), dataset(), tmp_path / "run")  # and once more


def test_a_binarised_network_never_sees_grey():
    seen = train(recipe("relu", 3, binarised=True), dataset()).model
    black_and_white = images()
    pixels = binarise(black_and_white.visible(), 0.0)
    shaped = pixels.view(-1, SIDE, SIDE)
    again = train(
        recipe("relu", 3),
        denseam.data.ImageSet(shaped, black_and_white.labels, CLASSES),
    ).model
    torch.testing.assert_close(seen.memories, again.memories)


def test_dead_hidden_neurons_are_counted():
    result = train(recipe("relu", 1), dataset())
    model = result.model
    hidden = torch.relu(dataset().train.visible() @ model.visible_memories.T)
    assert result.records[0].dead_memories >= int((hidden.amax(dim=0) == 0).sum())
    assert train(recipe("rbf", 1), dataset()).records[0].dead_memories == 0


@pytest.mark.parametrize("network", [*NETWORKS, "nearest", "dam"])
def test_a_recipe_of_any_network_goes_through_json_and_names_its_command(network):
    power = {"dam": 3.0}.get(network, NETWORKS.get(network))
    one = Recipe.paper(power, 40, network=network, binarised=True, n_memories=100)
    assert Recipe.from_json(one.to_json()) == one
    words = one.command().split()
    assert words[:2] == ["denseam", "train"]
    assert ("--model" in words) is (network != "dam")
    assert ("--power" in words) is (network in ("exponential", "polynomial", "dam"))
    assert "--binarised" in words
    assert "True" not in words
    assert "--network" not in words


def test_a_recipe_from_before_there_were_networks_is_one_of_a_memory():
    fields = Recipe.paper(3, 20).to_json()
    del fields["network"], fields["binarised"]
    assert Recipe.from_json(fields) == Recipe.paper(3, 20)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Recipe.paper(network="dam"), "network 'dam' needs one"),
        (lambda: Recipe.paper(network="polynomial"), "'polynomial' needs one"),
        (lambda: Recipe.paper(network="svm"), "network = 'svm'"),
        (lambda: Recipe.paper(3, network="relu"), "'relu' has 2"),
        (lambda: recipe("relu").replace(network="svm"), "network = 'svm'"),
        (lambda: recipe("relu", products="8-bit"), "8-bit products are for network 'dam'"),
        (lambda: recipe("relu", binarised=1), "binarised = 1"),
    ],
)
def test_a_bad_recipe_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
