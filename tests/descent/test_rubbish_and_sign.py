"""Rubbish images and the sign-of-gradient family."""

import pytest
import torch
from tests.descent.small import images, prototypes, random_model
from torch import nn

from denseam.descent import Stop, basic_iterative, least_likely, rubbish, sign_gradient
from denseam.errors import InputError


def test_rubbish_of_one_memory_per_class_is_that_memory():
    model = prototypes(20.0)
    found = rubbish(model, per_class=2, step=0.05, seed=1)
    assert found.targets.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.success.all()
    assert set(found.stopped) == {Stop.CONVERGED}
    looks = model.visible_memories.detach().sign()[found.targets]
    assert (found.images.sign() == looks).double().mean() > 0.9


def test_rubbish_is_a_function_of_its_seed():
    model = prototypes(20.0)
    first, again, other = (rubbish(model, seed=s, max_steps=10).images for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_where_no_memory_is_active_that_is_the_reason():
    model = prototypes(5.0)
    model.memories.data[:, :12] = 0
    model.memories.data[:, 12:] = -0.5
    model.memories.data[:, 12] = 0.9  # off = 0.1, on = -0.9 but for class 0
    model.memories.data[:, 12:] *= -1
    found = rubbish(model, classes=[1], start=images(3, 12))
    assert set(found.stopped) <= {Stop.NO_ACTIVE_MEMORY, Stop.NO_GRADIENT}
    assert not found.success.any()


def test_stuck_next_to_a_plateau_is_no_success():
    """All Y are 1e-30 or so: the image has a label, and is nothing."""
    model = prototypes(30.0)
    model.temperature = 1000.0
    found = rubbish(model, per_class=3, step=0.05, max_steps=400)
    assert (model.predict(found.images) == found.targets).any()
    assert model(found.images).abs().max() < 1e-20
    assert Stop.CONVERGED in found.stopped
    assert not found.success.any()


def test_a_linear_model_is_moved_by_the_sign_of_its_gradient():
    torch.manual_seed(0)
    module, v = nn.Linear(12, 2).double(), images(10, 12)
    labels = module(v).argmax(dim=1)
    expected = (module.weight[1 - labels] - module.weight[labels]).sign().detach()
    for loss in ("cross_entropy", "margin"):
        found = sign_gradient(module, v, labels, 0.1, loss=loss)
        torch.testing.assert_close(found.images, v + 0.1 * expected)
        assert (found.distances.linf - 0.1).abs().max() < 1e-12


def test_several_sizes_are_several_single_ones():
    model, v = random_model(20.0), images(12, 9)
    labels = model.predict(v)
    both = sign_gradient(model, v, labels, [0.1, 0.4], chunk=5)
    for eps, found in zip((0.1, 0.4), both, strict=True):
        assert torch.equal(found.images, sign_gradient(model, v, labels, eps).images)
        assert found.distances.linf.max() <= eps + 1e-12


@pytest.mark.parametrize("method", [basic_iterative, least_likely])
def test_iterative_methods_stay_in_their_box(method):
    model, v = random_model(20.0), images(12, 9)
    labels = model.predict(v)
    found = method(model, v, labels, 0.3, step=0.1, steps=8)
    assert found.distances.linf.max() <= 0.3 + 1e-12
    assert found.images.abs().max() <= 1
    assert (model.predict(found.images) != labels).equal(found.success)


def test_one_iterative_step_is_the_sign_gradient():
    model, v = random_model(7.5), images(12, 9)
    labels = model.predict(v)
    one = basic_iterative(model, v, labels, 0.2, steps=1)
    torch.testing.assert_close(one.images, sign_gradient(model, v, labels, 0.2).images)


@pytest.mark.parametrize("eps", [0.0, -1.0, float("nan")])
def test_sizes_must_be_positive(eps):
    model, v = random_model(3.0), images(2, 9)
    with pytest.raises(InputError, match="eps"):
        sign_gradient(model, v, torch.zeros(2, dtype=torch.int64), eps)
