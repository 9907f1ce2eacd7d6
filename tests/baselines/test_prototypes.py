"""Nearest prototypes: memories of the limit, and their training for radii."""

import pytest
import torch
from tests.training.small import CLASSES, Stop, StopAt, assert_same_run, dataset, images

import denseam
from denseam import Recipe
from denseam.baselines import Prototypes
from denseam.errors import InputError
from denseam.kernels import Paper, Rule, by_name
from denseam.mesh import Mesh

WANTED = Recipe.paper(
    network="prototypes", epochs=5, n_memories=12, per_class=5, certify="l2:2", shift=0.2
)


def begun(norm="l2", target=4.0, n_memories=12):
    model = Prototypes(25, CLASSES, n_memories, dtype=torch.float64)
    model.begin_at(images(), seed=0)
    model.visible_memories.data += 1e-3 * torch.rand(n_memories, 25, dtype=torch.float64)
    model._vote(slice(None))
    model.aim(norm, target)
    return model


def radii(v, labels, p, classes, norm):
    """The least bound over rivals, of the best own prototype for each, pair by pair."""
    order = 2 if norm == "l2" else 1
    result = []
    for image, label in zip(v, labels, strict=True):
        h = p @ image - p.square().sum(dim=1) / 2
        bounds = [
            max(
                (h[k] - h[rival]) / torch.linalg.vector_norm(p[k] - p[rival], order)
                for k in range(len(p)) if classes[k] == label
            )
            for rival in range(len(p)) if classes[rival] != label
        ]  # fmt: skip
        result.append(min(bounds))
    return torch.stack(result)


def test_the_label_is_that_of_the_nearest_prototype():
    model, v = begun(), images(20, seed=5).visible(torch.float64)
    nearest = torch.cdist(v, model.prototypes).argmin(dim=1)
    assert torch.equal(model.predict(v), nearest % CLASSES)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_step_follows_the_gradient_of_the_least_radius(norm):
    test = images(20, seed=5)
    v, labels = test.visible(torch.float64), test.labels
    model = begun(norm)
    right = model.predict(v) == labels
    v, labels = v[right], labels[right]
    leaves = model.prototypes.clone().requires_grad_()
    short = (model.target - radii(v, labels, leaves, model.classes, norm)).clamp(min=0)
    short.sum().backward()
    before, velocity = model.prototypes.clone(), torch.zeros_like(model.memories.data)
    neurons = torch.nn.functional.pad(v, (0, CLASSES))
    outcome = model.learn(
        by_name("reference"), neurons, labels, velocity, Rule(0.9, 1.0, 0.01, 0.0),
        objective=Paper(1), mesh=Mesh(),
    )  # fmt: skip
    assert float(outcome.objective) == pytest.approx(float(short.detach().sum()))
    assert torch.allclose(before - model.prototypes, 0.019 * leaves.grad, atol=1e-9)
    nearest = torch.cdist(v, model.prototypes).argmin(dim=1)
    assert torch.equal(model.predict(v), nearest % CLASSES), "the votes followed"


def test_training_makes_radii_larger():
    data = dataset()
    result = denseam.train(WANTED.replace(epochs=15, shift=0), data)
    v, labels = data.test.visible(), data.test.labels
    first = begun()
    before = radii(v.double(), labels, first.prototypes, first.classes, "l2")
    after = radii(v, labels, result.model.prototypes, result.model.classes, "l2")
    assert float(after.median()) > 1.1 * float(before.median())
    assert result.records[-1].objective < result.records[0].objective


def test_a_run_goes_on_to_the_same_bits_and_its_file_is_read(tmp_path):
    whole = denseam.train(WANTED, dataset())
    with pytest.raises(Stop):
        denseam.train(WANTED, dataset(), tmp_path, callbacks=[StopAt(2, 1)])
    assert_same_run(denseam.train(WANTED, dataset(), tmp_path), whole)
    again, v = denseam.load(tmp_path), dataset().test.visible()
    assert isinstance(again, Prototypes)
    assert torch.equal(again.log_energy(v), whole.model.log_energy(v))


@pytest.mark.parametrize(("sizes", "power"), [((25, 1, 4), 1), ((25, 5, 4), 1), ((25, 3, 12), 3)])
def test_what_is_no_set_of_prototypes_is_refused(sizes, power):
    with pytest.raises(InputError, match=r"wanted two classes|power"):
        Prototypes(*sizes, power)
