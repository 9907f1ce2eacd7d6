"""Every toolkit takes an ImageClassifier as it is, without a warning of ours."""

import warnings

import numpy as np
import pytest
import torch

import denseam

from .shared import estimators, evasion, foolbox, pyautoattack, torchattacks

COUNT = 4

# What the attack is, and its size (None: the smallest it finds).
FOOLBOX = [
    ("FGSM", {}, 0.3),
    ("LinfPGD", {"rel_stepsize": 0.1, "steps": 10}, 0.3),
    ("L2PGD", {"steps": 10}, 3.0),
    ("LinfDeepFoolAttack", {}, None),
    ("L2DeepFoolAttack", {}, None),
    ("DDNAttack", {"steps": 50}, None),
    ("LInfFMNAttack", {"steps": 50}, None),
    ("HopSkipJumpAttack", {"steps": 2}, None),
]
TORCHATTACKS = [
    ("FGSM", {"eps": 0.3}),
    ("PGD", {"eps": 0.3, "alpha": 0.05}),
    ("PGDL2", {"eps": 3.0}),
    ("APGD", {"eps": 0.3}),
    ("FAB", {"norm": "L2", "eps": 10.0, "n_classes": 10, "steps": 10}),
    ("Square", {"eps": 0.3, "n_queries": 100}),
]
ART = [
    ("FastGradientMethod", {"eps": 0.3}),
    ("ProjectedGradientDescent", {"eps": 0.3, "eps_step": 0.05, "max_iter": 10}),
    ("AutoProjectedGradientDescent", {"eps": 0.3, "eps_step": 0.1, "max_iter": 10}),
    ("SquareAttack", {"eps": 0.3, "max_iter": 50}),
    ("HopSkipJump", {"max_iter": 1, "max_eval": 100, "init_eval": 10}),
]


@pytest.fixture(scope="module")
def model():
    network = denseam.load_pretrained("mnist-n3").requires_grad_(False)
    return denseam.ImageClassifier(network)


@pytest.fixture(scope="module")
def test_images():
    test = denseam.data.load("mnist").test
    return test.visible()[:COUNT].reshape(-1, 1, 28, 28) / 2 + 0.5, test.labels[:COUNT]


@pytest.fixture(autouse=True)
def same_numbers():
    np.random.seed(0)  # noqa: NPY002 (the toolkits draw from it)
    with warnings.catch_warnings():
        warnings.simplefilter("error", denseam.DenseAMWarning)
        yield


def fools(model, found, images, labels, eps=None):
    assert found.shape == images.shape
    assert found.min() >= 0
    assert found.max() <= 1
    with torch.no_grad():
        fooled = model(found).argmax(dim=1) != labels
    if eps is not None:
        assert (found - images).abs().max() <= eps + 1e-6
    assert fooled.sum() >= COUNT / 2
    assert (found - images).abs().amax() > 0.01


@pytest.mark.parametrize(("name", "settings", "eps"), FOOLBOX, ids=[each[0] for each in FOOLBOX])
def test_foolbox(name, settings, eps, model, test_images):
    images, labels = test_images
    there = foolbox.PyTorchModel(model, bounds=(0, 1))
    assert foolbox.accuracy(there, images, labels) == 1
    attack = getattr(foolbox.attacks, name)(**settings)
    raw, clipped, success = attack(there, images, labels, epsilons=eps)
    fools(model, clipped, images, labels, eps if eps == 0.3 else None)
    assert torch.equal(success, model(clipped).argmax(dim=1) != labels)
    assert raw.dtype is images.dtype


@pytest.mark.parametrize(("name", "settings"), TORCHATTACKS, ids=[each[0] for each in TORCHATTACKS])
def test_torchattacks(name, settings, model, test_images):
    images, labels = test_images
    found = getattr(torchattacks, name)(model, **settings)(images, labels)
    in_linf = settings["eps"] == 0.3
    fools(model, found, images, labels, 0.3 if in_linf else None)


@pytest.mark.parametrize(("name", "settings"), ART, ids=[each[0] for each in ART])
def test_art(name, settings, model, test_images):
    images, labels = test_images
    there = estimators.PyTorchClassifier(
        model, torch.nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0, 1)
    )
    assert (there.predict(images.numpy()).argmax(axis=1) == labels.numpy()).all()
    quiet = {} if name == "FastGradientMethod" else {"verbose": False}
    attack = getattr(evasion, name)(there, **settings, **quiet)
    found = torch.from_numpy(attack.generate(images.numpy(), labels.numpy()))
    fools(model, found, images, labels, settings.get("eps"))


@pytest.mark.parametrize(("norm", "eps"), [("Linf", 0.2), ("L2", 2.0)])
def test_autoattack(norm, eps, model, test_images, caplog):
    images, labels = test_images
    attack = pyautoattack.AutoAttack(model, norm=norm, eps=eps, seed=0)
    attack.apgd.n_iter = attack.apgd_targeted.n_iter = attack.fab.n_iter = 10
    attack.square.n_queries = 50
    found, labelled = attack.run_standard_evaluation(images, labels)
    fools(model, found, images, labels, eps if norm == "Linf" else None)
    assert torch.equal(labelled, model(found).argmax(dim=1))
    assert not caplog.records  # of its checks for randomised or non-differentiable defences
