"""One threshold with a promise."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from denseam.errors import InputError
from denseam.guard import conformal


@example(99, 0.29)  # 100 * 0.29 is 28.999999999999996
@given(st.integers(1, 3000), st.sampled_from([0.001, 0.01, 0.05, 0.1, 0.29, 0.57, 0.5]))
def test_the_rank_is_the_textbook_one(count, rate):
    from fractions import Fraction
    from math import ceil

    exact = Fraction(rate).limit_denominator(1000)
    assert conformal.rank(count, rate) == ceil((count + 1) * (1 - exact))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.5, 0.3])
def test_the_fewest_images_are_just_enough(rate):
    fewest = conformal.needed(rate)
    assert conformal.rank(fewest, rate) <= fewest
    assert conformal.rank(fewest - 1, rate) > fewest - 1
    with pytest.raises(InputError, match=f"at least {fewest}"):
        conformal.threshold(torch.zeros(fewest - 1, dtype=torch.float64), rate)


@given(st.lists(st.integers(-5, 5), min_size=19, max_size=60), st.integers(-6, 6))
def test_p_values_and_threshold_decide_alike(scores, score):
    calibration = torch.tensor(scores, dtype=torch.float64).sort().values
    rejected = score > conformal.threshold(calibration, 0.05)
    p = float(conformal.p_values(calibration, torch.tensor([score], dtype=torch.float64))[0])
    assert p == (1 + sum(s >= score for s in scores)) / (len(scores) + 1)
    assert rejected == (p <= 0.05)


def test_infinite_scores_have_the_least_p_value():
    calibration = torch.arange(99, dtype=torch.float64)
    p = conformal.p_values(calibration, torch.tensor([torch.inf, -torch.inf]))
    assert p.tolist() == [0.01, 1.0]


def test_the_promise_holds_on_average():
    generator = torch.Generator().manual_seed(0)
    rejected = []
    for _ in range(400):
        scores = torch.rand(129, generator=generator, dtype=torch.float64)
        threshold = conformal.threshold(scores[:99].sort().values, 0.05)
        rejected.append(float((scores[99:] > threshold).double().mean()))
    # 12,000 draws, though not independent ones: five deviations of a beta-binomial mean.
    assert abs(sum(rejected) / len(rejected) - 0.05) < 0.0075


def test_rates_of_numpy_are_rates():
    assert conformal.needed(np.float32(0.25)) == 3


@pytest.mark.parametrize("takes_a_rate", [conformal.check_rate, conformal.needed])
@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, True, "0.1", float("nan"), 1e-320, 1 - 1e-13])
def test_bad_rates_are_refused(takes_a_rate, rate):
    with pytest.raises(InputError, match="target_rejection"):
        takes_a_rate(rate)
