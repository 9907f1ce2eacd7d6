"""Dynamics: energies never rise, known components stay, and Eq. 2.1 is one step."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.retrieval.problems import SPACE, SUMMED, naive_energy, normal, signs

import denseam
from denseam.energies import Exponential, LogSumReLU, Polynomial, RectifiedPolynomial
from denseam.retrieval import DYNAMICS, AssociativeMemory

DTYPES = [torch.float32, torch.float64]
sizes = st.tuples(st.integers(1, 12), st.integers(2, 12), st.integers(1, 4))
many = settings(max_examples=40, deadline=None)


def case(size, dtype, seed, *, binary):
    K, D, B = size
    patterns = signs(K, D, seed=seed) if binary else normal(K, D, seed=seed).clamp(-1, 1)
    states = signs(B, D, seed=seed + 1) if binary else normal(B, D, seed=seed + 1).clamp(-1, 1)
    known = signs(B, D, seed=seed + 2) > 0
    return patterns.to(dtype), states.to(dtype), known


def never_rises(result, exact, dtype):
    """Neither the energies of the result nor those of its path, in float64."""
    noise = 1e-5 if dtype == torch.float32 else 1e-11
    along = torch.stack([exact(states.double()) for states in result.path], dim=1)
    for energies in (result.energies, along):
        room = noise * energies.abs().amax(dim=1, keepdim=True).clamp(min=1)
        assert bool((energies.diff(dim=1) <= room).all())


@many
@given(size=sizes, F=st.sampled_from(SUMMED), dtype=st.sampled_from(DTYPES),
       seed=st.integers(0, 10**6), binary=st.booleans())  # fmt: skip
def test_accepted_asynchronous_steps_never_raise_the_energy(size, F, dtype, seed, binary):
    patterns, states, known = case(size, dtype, seed, binary=binary)
    domain = "binary" if binary else "box"
    memory = AssociativeMemory.store(patterns, F, domain=domain, centre=False)
    exact = patterns.double()
    before = naive_energy(F, domain, exact, states.double())
    for neuron in range(states.shape[1]):  # one flip at a time
        mask = torch.ones_like(known)
        mask[:, neuron] = known[:, neuron]
        states = memory.step(states, mask, dynamics="asynchronous", seed=seed)
        after = naive_energy(F, domain, exact, states.double())
        # In a box the kept value lies between the ends: a convex F has its least at one of them.
        convex = binary or F.power != 3
        assert not convex or bool((after <= before + 1e-12 * before.abs()).all())
        before = after
    result = memory.retrieve(states, known, dynamics="asynchronous", seed=seed, start="given")
    assert torch.equal(result.states[known], states[known])
    if binary:
        assert set(result.stopped) == {"fixed point"}


@many
@given(size=sizes, F=st.sampled_from(SUMMED + SPACE), dtype=st.sampled_from(DTYPES),
       seed=st.integers(0, 10**6), dynamics=st.sampled_from(["gradient", "update"]))  # fmt: skip
def test_gradients_and_updates_never_raise_the_energy(size, F, dtype, seed, dynamics):
    domain = "space" if F in SPACE else "box"
    patterns, states, known = case(size, dtype, seed, binary=False)
    if dynamics == "update" and Polynomial(3) == F:
        return  # not convex: its sign may overshoot
    memory = AssociativeMemory.store(patterns, F, domain=domain, centre=False)
    result = memory.retrieve(
        states, known, dynamics=dynamics, max_steps=15, keep=True, start="given"
    )
    assert torch.equal(result.states[known], states[known])
    if isinstance(F, LogSumReLU) and bool(result.energies.isinf().any()):
        return  # beyond all balls
    never_rises(result, lambda v: naive_energy(F, domain, patterns.double(), v), dtype)


@pytest.mark.parametrize("power", [1, 2, 3.5, 30])
@pytest.mark.parametrize("exponential", [False, True])
def test_one_step_of_the_class_neurons_is_equation_2_1(power, exponential):
    F = Exponential(0.1, 4.0) if exponential else RectifiedPolynomial(power)
    model = denseam.DenseAM(9, 4, 30, energy=F, temperature=3.0, dtype=torch.float64)
    memory = AssociativeMemory.of_model(model)
    v = normal(17, 9).clamp(-1, 1)
    off = torch.cat([v, -torch.ones(17, 4, dtype=torch.float64)], dim=1)
    gaps = memory.flip_gaps(off, [9, 10, 11, 12]) / F.value(torch.tensor(3.0).double())
    torch.testing.assert_close(gaps, model.energy_gap(v))
    step = memory.step(v, torch.ones(9, dtype=torch.bool), dynamics="synchronous")
    assert torch.equal(step[:, :9], v)
    assert torch.equal(step[:, 9:], torch.sign(torch.where(gaps == 0, -1, model.energy_gap(v))))
    assert torch.equal(memory.classify(v), model.predict(v))
    result = memory.retrieve(v, torch.ones(9, dtype=torch.bool))
    assert torch.equal(result.labels, model.predict(v))


def test_gaps_are_differences_of_energies():
    patterns, states, _ = case((8, 7, 5), torch.float64, 0, binary=True)
    memory = AssociativeMemory.store(patterns, RectifiedPolynomial(4))
    for i in range(7):
        on, off = states.clone(), states.clone()
        on[:, i], off[:, i] = 1, -1
        difference = memory.energy(off) - memory.energy(on)
        torch.testing.assert_close(memory.flip_gaps(states, [i])[:, 0], difference)


def test_a_clamped_label_stays_and_changes_the_way():
    model = denseam.DenseAM(9, 3, 30, power=3, temperature=3.0, dtype=torch.float64)
    memory = AssociativeMemory.of_model(model)
    v = normal(4, 9).clamp(-1, 1)
    result = memory.retrieve(v, label=2)
    clamped = torch.tensor([-1.0, -1, 1], dtype=torch.float64).expand(4, 3)
    assert torch.equal(result.class_activity, clamped)


def test_synchronous_steps_may_cycle_and_say_so():
    patterns = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])  # each neuron wants the other's opposite
    memory = AssociativeMemory.store(patterns, Polynomial(2))
    result = memory.retrieve(torch.tensor([1.0, 1.0]), dynamics="synchronous")
    assert result.stopped == ("cycle",)
    assert memory.retrieve(torch.tensor([1.0, 1.0])).stopped == ("fixed point",)


@pytest.mark.parametrize("domain", DYNAMICS)
def test_results_depend_on_neither_batch_nor_chunk(domain):
    binary = domain == "binary"
    patterns, states, known = case((40, 30, 9), torch.float64, 3, binary=binary)
    F = Exponential(0.4) if domain == "space" else RectifiedPolynomial(3)
    memory = AssociativeMemory.store(patterns, F, domain=domain)
    for dynamics in DYNAMICS[domain]:
        whole = memory.retrieve(states, known, dynamics=dynamics)
        pieces = memory.retrieve(states, known, dynamics=dynamics, chunk=2)
        torch.testing.assert_close(pieces.states, whole.states)
        torch.testing.assert_close(pieces.energies, whole.energies)
        assert pieces.stopped == whole.stopped
        assert torch.equal(pieces.steps, whole.steps)
        one = memory.retrieve(states[4], known[4], dynamics=dynamics)
        torch.testing.assert_close(one.states[0], whole.states[4])


def test_half_of_a_stored_digit_brings_back_the_other():
    digits = denseam.data.load("mnist").train.subset(slice(0, 2000))
    some = torch.arange(0, 2000, 10)
    v = digits.visible()[some]
    for energy, least in ((30, 0.99), ("exponential", 0.998)):
        memory = AssociativeMemory.store(digits, energy)
        for how in ("left", "bottom"):
            covered, known = memory.cover(v, how)
            result = memory.retrieve(covered, known)
            assert float(result.agreement(v).mean()) >= least
            hidden = 1 - (1 - result.agreement(v).mean()) * 2
            assert float(hidden) >= 0.99, (energy, how)
            black = torch.where(known, v, -1.0)  # what lies under the cover does not matter
            torch.testing.assert_close(memory.retrieve(black, known).states, result.states)


def test_where_no_memory_acts_it_says_so():
    memory = AssociativeMemory.store(torch.eye(3), LogSumReLU(1.0), domain="space")
    result = memory.retrieve(torch.full((1, 3), 9.0))
    assert result.stopped == ("inactive",)
    assert torch.equal(result.states, torch.full((1, 3), 9.0))
