"""Measured capacities follow their laws."""

import pytest
import torch

from denseam.errors import InputError
from denseam.retrieval import capacity


def test_bits_that_one_step_turns_are_counted_as_the_paper_counts_them():
    """By hand at n = 2: a bit is wrong where h_i of the other patterns outweighs it."""
    patterns = capacity.random_patterns(30, 50, 7).double()
    weights = patterns.T @ patterns
    weights.fill_diagonal_(0)
    wrong = int(((patterns @ weights) * patterns < 0).sum())
    assert capacity.bit_errors(2, 50, 30, bits=1500, seed=7) == (
        wrong, 1500, int((((patterns @ weights) * patterns) >= 0).all(dim=1).sum()), 30,
    )  # fmt: skip
    assert wrong > 0


@pytest.mark.parametrize(("n", "sizes"), [(2, (100, 400)), (3, (36, 80))])
def test_exponents_and_factors(n, sizes):
    held = [capacity.capacity(n, N, bits=12_000) for N in sizes]
    for each in held:
        law = capacity.capacity_law(n, each.n_neurons)
        assert each.low < each.patterns < each.high
        assert each.patterns == pytest.approx(law, rel=0.15)
    fit = capacity.exponent(held)
    assert fit.value == pytest.approx(n - 1, rel=0.08)
    if n == 2:
        assert 0.13 < fit.factor < 0.15


def test_laws():
    assert capacity.bit_error_law(2, 1000, 138) == pytest.approx(0.0036, rel=0.02)
    assert capacity.capacity_law(2, 1000, 0.005) == pytest.approx(151, abs=1)
    share = capacity.bit_error_law(3, 50, capacity.capacity_law(3, 50))
    assert share == pytest.approx(capacity.THRESHOLD)
    clean, seen, _ = capacity.error_free_share(3, 40, draws=1)
    assert clean / seen > 0.75


def test_overlaps_fall_beyond_the_transition():
    below, above = capacity.transition(150, (0.08, 0.3), states=20)
    assert below[1] > 0.97
    assert above[1] < 0.8


def test_capacity_on_a_sphere_grows_exponentially():
    few, many = (capacity.sphere_capacity(d, states=100) for d in (4, 8))
    growth = torch.tensor(many / few).log() / 4
    assert float(growth) == pytest.approx(capacity.sphere_law(), rel=0.15)


def test_basins_shrink_and_random_states_end_somewhere():
    near, far = capacity.basin(3, 40, 20, (0.05, 0.45))
    assert near[1] == near[2] == 20 > far[1]
    ends = capacity.spurious(2, 60, 3, states=50)
    assert sum(ends.values()) == 50
    assert ends["negative"] > 0  # at even n a pattern and its negative are one


def test_wrong_sizes_are_refused():
    for wrong in (lambda: capacity.capacity(1, 100), lambda: capacity.capacity(2, 3),
                  lambda: capacity.capacity(2, 5), lambda: capacity.exponent([]),
                  lambda: capacity.sphere_capacity(1)):  # fmt: skip
        with pytest.raises(InputError):
            wrong()
