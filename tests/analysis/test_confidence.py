"""Z of section 5.1."""

import math

import pytest
import torch
from tests.descent.small import images, random_model

from denseam import confidence
from denseam.analysis import confidence_of
from denseam.errors import InputError


def test_ideal_outputs_have_the_papers_confidence():
    ideal = 2 * torch.eye(10, dtype=torch.float64) - 1
    expected = math.exp(3.2) / (math.exp(3.2) + 9 * math.exp(-3.2))
    torch.testing.assert_close(confidence_of(ideal), torch.full((10,), expected).double())
    assert expected == pytest.approx(0.985, abs=5e-4)


def test_confidence_is_that_of_y_and_goes_from_one_over_c_to_one():
    model, v = random_model(3.0), images(30, 9)
    found = confidence(model, v, 2.0)
    expected = (2.0 * model(v)).exp()
    expected = (expected.amax(dim=1) / expected.sum(dim=1)).detach()
    torch.testing.assert_close(found, expected)
    assert confidence(model, v, 1e-9).sub(0.25).abs().max() < 1e-8
    assert not found.requires_grad


@pytest.mark.parametrize("beta_sm", [0.0, -1.0, math.nan])
def test_bad_arguments_are_refused(beta_sm):
    with pytest.raises(InputError, match="beta_sm"):
        confidence(random_model(3.0), images(2, 9), beta_sm)
    with pytest.raises(InputError, match="activity"):
        confidence_of(torch.zeros(3))
