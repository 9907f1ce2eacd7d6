"""beta_sm of a model's own, and error against confidence."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.descent.small import images, random_model

from denseam import calibrate_beta, confidence
from denseam.analysis import confidence_bins, confidence_of, solve_beta
from denseam.errors import InputError


def test_the_mean_confidence_is_the_accuracy():
    model, v = random_model(3.0), images(60, 9)
    labels = model.predict(v)
    labels[::5] = (labels[::5] + 1) % 4  # 80 % right
    beta = calibrate_beta(model, v, labels)
    assert float(confidence(model, v, beta).mean()) == pytest.approx(0.8, abs=1e-9)


@given(
    st.integers(2, 12), st.integers(1, 30), st.floats(0.01, 0.99), st.integers(0, 1000)
)  # fmt: skip
def test_the_equation_is_solved_wherever_it_can_be(C, B, place, seed):
    generator = torch.Generator().manual_seed(seed)
    Y = torch.rand(B, C, generator=generator, dtype=torch.float64) * 2 - 1
    limit = float(confidence_of(Y, 1e9).mean())
    accuracy = 1 / C + place * (limit - 1 / C)
    beta = solve_beta(Y, accuracy)
    assert float(confidence_of(Y, beta).mean()) == pytest.approx(accuracy, abs=1e-9)


def test_where_there_is_no_beta_that_is_said():
    model, v = random_model(3.0), images(60, 9)
    right = model.predict(v)
    for labels in (right, (right + 1) % 4):
        with pytest.raises(InputError, match="mean confidence of"):
            calibrate_beta(model, v, labels)
    with pytest.raises(InputError, match=r"mean confidence of 0\.2000"):
        solve_beta(torch.randn(5, 4), 0.2)  # below chance: only a negative beta would do
    with pytest.raises(InputError, match="labels"):
        calibrate_beta(model, v, right[:-1])
    with pytest.raises(InputError, match="activity"):
        solve_beta(torch.zeros(0, 3), 0.5)


def test_bins_hold_what_belongs_to_them():
    Z = torch.tensor([0.05, 0.1, 0.55, 0.5, 0.99, 1.0])
    wrong = torch.tensor([True, True, False, True, False, False])
    found = confidence_bins(Z, wrong, [0, 0.1, 0.5, 1])
    assert found.counts == (1, 1, 4)
    assert found.errors == (1.0, 1.0, 0.25)
    assert found.confidences == pytest.approx((0.05, 0.1, (0.55 + 0.5 + 0.99 + 1) / 4))
    for error, (low, high) in zip(found.errors, found.intervals, strict=True):
        assert low <= error <= high
    expected = (0.05 + 0.1 + 4 * abs(0.75 - (0.55 + 0.5 + 0.99 + 1) / 4)) / 6
    assert found.expected_calibration_error == pytest.approx(expected)


def test_empty_bins_are_nan_and_count_for_nothing():
    found = confidence_bins(torch.tensor([0.95, 0.93]), torch.tensor([False, True]))
    assert found.counts == (0,) * 9 + (2,)
    assert all(math.isnan(error) for error in found.errors[:9])
    assert found.expected_calibration_error == pytest.approx(0.44)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((torch.tensor([0.5]), torch.tensor([True]), [0.1, 1]), "edges"),
        ((torch.tensor([0.5]), torch.tensor([True]), [0, 0.5, 0.5, 1]), "edges"),
        ((torch.tensor([1.5]), torch.tensor([True])), r"\[0, 1\]"),
        ((torch.tensor([math.nan]), torch.tensor([True])), r"\[0, 1\]"),
        ((torch.tensor([]), torch.tensor([], dtype=torch.bool)), "one number or more"),
        ((torch.tensor([0.5]), torch.tensor([1])), "bool"),
        ((torch.tensor([0.5]), torch.tensor([True, False])), "wanted"),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        confidence_bins(*arguments)
