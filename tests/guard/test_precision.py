"""Mixed precision around a call changes no result, of no network, at no entrance."""

from dataclasses import is_dataclass

import numpy as np
import pytest
import torch
from torch import nn

import denseam
from denseam import DenseAM, ImageClassifier, MemoryLayer
from denseam.analysis import audit
from denseam.baselines import (
    Binarised,
    NearestNeighbour,
    PolynomialNetwork,
    RBFNetwork,
    ReLUNetwork,
)
from denseam.data import ImageSet
from denseam.descent import square_attack
from denseam.evaluation import evaluate
from denseam.fronts import Pixels
from denseam.guard import Guard
from denseam.guard.known import KNOWN

from . import small

IMAGES = small.clean(100)
V, Y = IMAGES.visible()[:12], IMAGES.labels[:12]
SIZES = small.N, small.C, 10


def convolution():
    torch.manual_seed(0)
    return nn.Sequential(nn.Unflatten(1, (1, 5, 4)), nn.Conv2d(1, 4, 3), nn.Flatten(),
                         nn.Linear(24, 3))  # fmt: skip


NETWORKS = {
    "dam": lambda: DenseAM(*SIZES, 5, 10.0),
    "relu": lambda: ReLUNetwork(*SIZES, temperature=5.0),
    "polynomial": lambda: PolynomialNetwork(*SIZES, 3, 5.0),
    "rbf": lambda: RBFNetwork(*SIZES, temperature=3.0),
    "nearest": lambda: NearestNeighbour.of(IMAGES.subset(slice(50, 100))),
    "binarised": lambda: Binarised(ReLUNetwork(*SIZES, temperature=5.0)),
    "pixels": lambda: DenseAM(36, 3, 10, 5, 10.0, front=Pixels(small.SHAPE, (6, 6))),
    "front": lambda: DenseAM(*SIZES, 5, 10.0, front=nn.Sequential(nn.Linear(20, 20), nn.Tanh())),
    "module": convolution,
}


def gradient(module, batch):
    batch = batch.clone().requires_grad_()
    module(batch).nan_to_num(0, 0, 0).sum().backward()
    return [batch.grad, *(p.grad for p in module.parameters() if p.requires_grad)]


def labelled_by(model):
    head = denseam.descent.heads.head_of(model, V.shape[1:], log_energy=True)
    return ImageSet(V.reshape(-1, *small.SHAPE), head(V).values.argmax(dim=1), small.C)


CALLS = {
    "call": lambda m: m(V),
    "image classifier": lambda m: [ImageClassifier(m, h)(V / 2 + 0.5) for h in denseam.heads.HEADS],
    "gradient": lambda m: gradient(m, V),
    "evaluate": lambda m: evaluate(m, IMAGES).to_json() | {"seconds_per_1000": 0},
    "confidence": lambda m: denseam.confidence(m, V),
    "features": lambda m: [score(m, V, Y).score(V) for score in KNOWN.values()],
    "sign": lambda m: denseam.sign_gradient(m, V, Y, 0.3),
    "minimum": lambda m: denseam.minimum_norm(m, V, Y, rounds=2),
    "cross": lambda m: denseam.cross_boundary(m, V, max_steps=5, samples=[1]),
    "rubbish": lambda m: denseam.rubbish(m, shape=(small.N,), max_steps=5),
    "square": lambda m: square_attack(m, V, Y, 0.3, shape=small.SHAPE, queries=5),
    "audit": lambda m: audit(m, labelled_by(m), queries=5).to_json() | {"seconds": 0},
    "guard": lambda m: Guard(small.memories(), m, takes="visible", image_shape=small.SHAPE)
    .calibrate(IMAGES, 0.05).predict(IMAGES).columns,
}  # fmt: skip
OF_NETWORKS = ("call", "gradient", "image classifier", "evaluate", "confidence", "features")
SECONDS = ("audit", "guard")  # one network tells of all


def numbers(value):
    """Return all tensors of a result, and other values."""
    if isinstance(value, dict):
        return [x for each in value.values() for x in numbers(each)]
    if isinstance(value, list | tuple):
        return [x for each in value for x in numbers(each)]
    if is_dataclass(value):
        return numbers(vars(value))
    return [
        value.detach().double().nan_to_num(nan=7.5).numpy()
        if isinstance(value, torch.Tensor)
        else value
    ]


@pytest.mark.parametrize("network", NETWORKS)
def test_mixed_precision_around_a_call_changes_nothing(network):
    for name, call in CALLS.items():
        if name in (OF_NETWORKS if network == "module" else SECONDS if network != "relu" else ()):
            continue
        model = NETWORKS[network]()
        plain = numbers(call(model))
        for dtype in (torch.bfloat16, torch.float16):
            model.zero_grad()
            with torch.autocast("cpu", dtype=dtype):
                mixed = numbers(call(model))
            for one, other in zip(plain, mixed, strict=True):
                assert np.array_equal(one, other), (name, dtype)


def test_a_memory_layer_takes_what_a_layer_before_it_has_rounded():
    layer = MemoryLayer(20, 3, 10, power=3)
    rounded = V.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layer(rounded), layer(rounded.float()))
        assert nn.Sequential(nn.Linear(20, 20), layer)(V).dtype == torch.float32


def test_training_is_the_same_in_mixed_precision(tmp_path):
    def memories(folder):
        recipe = denseam.Recipe.paper(epochs=1, n_memories=10, network="relu", per_class=5)
        return denseam.train(recipe, IMAGES, tmp_path / folder).model.memories

    plain = memories("plain")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(memories("mixed"), plain)


def test_the_estimator_is_the_same_in_mixed_precision():
    from sklearn.datasets import load_iris

    from denseam.sklearn import DenseAMClassifier

    X, y = load_iris(return_X_y=True)

    def outputs():
        return DenseAMClassifier(max_iter=1, random_state=0).fit(X, y).decision_function(X)

    plain = outputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(outputs(), plain)


@pytest.mark.parametrize(
    "fields",
    [
        {"network": "prototypes", "power": 1, "certify": "l2:1.58", "shift": 0.5},
        {"objective": "cross-entropy", "distort": 0.5},
        {"objective": "cross-entropy", "adversarial": "l2:1.0"},
        {},
    ],
    ids=lambda fields: "-".join(fields) or "found",
)
def test_every_training_is_the_same_in_mixed_precision(fields):
    few = denseam.data.load("mnist").train.subset(slice(200))
    sizes = {"n_memories": 20, "per_class": 2}

    def memories():
        if not fields:
            return denseam.train(denseam.fit_recipe(few, 3, 1, **sizes), few).model.memories
        recipe = denseam.Recipe.paper(**{"power": 3, "epochs": 1, **sizes, **fields})
        return denseam.train(recipe, few).model.memories

    plain = memories()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(memories(), plain)


def test_certificates_are_the_same_in_mixed_precision():
    model, test = denseam.load_pretrained("mnist-certified-l2"), denseam.data.load("mnist").test
    v, labels = test.visible()[:3], test.labels[:3]
    plain = denseam.certify(model, v, labels).distances
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(denseam.certify(model, v, labels).distances, plain)
