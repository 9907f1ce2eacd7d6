"""Random search, against boundaries whose distance is known."""

import itertools

import pytest
import torch
from tests.descent.small import images, prototypes
from torch import nn

from denseam.descent.square import _SHRINK, _side, square_attack
from denseam.errors import InputError

SHAPE = (3, 4)


def two_sides() -> tuple[nn.Linear, torch.Tensor, torch.Tensor]:
    """A plane, images, and how far each is from it in Linf."""
    torch.manual_seed(0)
    module, v = nn.Linear(12, 2).double(), images(12, 12)
    with torch.no_grad():
        scores = module(v)
        normal = module.weight[1] - module.weight[0]
        distance = (scores[:, 1] - scores[:, 0]).abs() / normal.abs().sum()
    return module, v, distance


def test_images_are_crossed_where_the_boundary_is_within_eps_and_nowhere_else():
    module, v, distance = two_sides()
    labels = module(v).argmax(dim=1)
    eps = float(distance.median())
    found = square_attack(module, v, labels, eps, shape=SHAPE, queries=2000)
    assert not found.success[distance > eps].any()
    assert found.success[distance < 0.8 * eps].all()
    assert (found.distances.linf <= eps + 1e-12).all()
    assert found.images.abs().max() <= 1
    assert torch.equal(found.success, module(found.images).argmax(dim=1) != labels)


def test_queries_end_where_an_image_is_crossed():
    module, v, distance = two_sides()
    labels = module(v).argmax(dim=1)
    found = square_attack(module, v, labels, 2.0, shape=SHAPE, queries=50)
    easy = distance < 0.1
    assert found.success[easy].all()
    assert (found.steps[easy] < 50).any()
    small = square_attack(module, v, labels, 1e-6, shape=SHAPE, queries=50)
    assert (small.steps == 50).all()
    assert not small.success.any()


def test_an_image_that_is_wrong_already_is_not_moved():
    model, v = prototypes(), images(6, 12)
    wrong = (model.predict(v) + 1) % 3
    found = square_attack(model, v, wrong, 0.1, shape=SHAPE)
    assert found.success.all()
    assert torch.equal(found.images, v)


def test_a_seed_gives_the_same_squares_again():
    module, v, _ = two_sides()
    labels = module(v).argmax(dim=1)
    first, again, other = (
        square_attack(module, v, labels, 0.05, shape=SHAPE, queries=20, seed=seed).images
        for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_squares_shrink_by_half_in_area_on_the_schedule():
    sides = [_side(query, 10_000, (100, 100)) for query in (1, *(limit + 1 for limit in _SHRINK))]
    assert sides[0] == 89  # 0.8 of 10,000 pixels
    for larger, smaller in itertools.pairwise(sides):
        assert smaller == pytest.approx(larger / 2**0.5, abs=1)
    assert _side(10_000, 10_000, (3, 3)) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"eps": 0.0}, "eps = 0.0"),
        ({"shape": (5, 5)}, "images have 12 pixels"),
        ({"queries": 0}, "queries = 0"),
        ({"labels": torch.full((6,), 9)}, "labels must lie in"),
    ],
)
def test_bad_input_is_refused(given, words):
    model, v = prototypes(), images(6, 12)
    arguments = {"labels": model.predict(v), "eps": 0.1, "shape": SHAPE} | given
    with pytest.raises(InputError, match=words):
        square_attack(model, v, **arguments)
