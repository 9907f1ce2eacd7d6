"""Energies against their plainest formula, and updates against theirs."""

import pytest
import torch
from tests.retrieval.problems import SPACE, SUMMED, naive_energy, normal, signs

import denseam
from denseam.energies import Entmax, Exponential, LogSumReLU, Polynomial, RectifiedPolynomial
from denseam.errors import InputError
from denseam.retrieval import AssociativeMemory, gathering, landscape

K, D, B = 23, 11, 7


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks of memories, the last one shorter."""
    monkeypatch.setattr(gathering.Patterns.blocks, "__defaults__", (5,))


def problem(F, domain):
    patterns = signs(K, D) if domain == "binary" else normal(K, D).clamp(-1, 1)
    states = signs(B, D, seed=1) if domain == "binary" else patterns[:B] + 0.1 * normal(B, D)
    states = states.clamp(-1, 1) if domain == "box" else states
    return AssociativeMemory.store(patterns, F, domain=domain, centre=False), patterns, states


CASES = [(F, domain) for F in SUMMED for domain in ("binary", "box")]
CASES += [(F, "space") for F in SPACE]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("F", "domain"), CASES, ids=str)
def test_energies_equal_their_formula_in_float64(F, domain):
    memory, patterns, states = problem(F, domain)
    parts = memory.energy_parts(states)
    assert torch.equal(parts.energy, memory.energy(states))
    torch.testing.assert_close(
        parts.memories + parts.state, naive_energy(F, domain, patterns, states)
    )
    if domain != "space":
        torch.testing.assert_close(
            memory.energy(states), denseam.energy.state_energy(states, patterns, F)
        )


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize(("F", "domain"), CASES, ids=str)
def test_directions_are_the_gradient(F, domain):
    memory, patterns, states = problem(F, domain)
    leaves = states.clone().requires_grad_()
    (slope,) = torch.autograd.grad(naive_energy(F, domain, patterns, leaves).sum(), leaves)
    direction = memory.landscape.view(states).direction
    if domain != "space":
        slope = slope / slope.abs().amax(dim=1, keepdim=True)
    if isinstance(F, LogSumReLU):  # the update divides by the number of active memories
        slope = slope / slope.norm(dim=1, keepdim=True)
        direction = direction / direction.norm(dim=1, keepdim=True)
    torch.testing.assert_close(direction, -slope, rtol=1e-6, atol=1e-8)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_update_is_attention(dtype):
    beta, patterns, states = 0.3, normal(K, D).to(dtype), normal(B, D, seed=1).to(dtype)
    memory = AssociativeMemory.store(patterns, Exponential(beta))
    attention = torch.nn.functional.scaled_dot_product_attention(
        states[None], patterns[None], patterns[None], scale=beta
    )[0]
    torch.testing.assert_close(memory.step(states), attention, rtol=0, atol=1e-6)


@pytest.mark.parametrize("alpha", [1.2, 1.5, 2.0])
def test_entmax_sums_to_one_and_is_stationary(alpha):
    scores = 3 * normal(5, 9)
    p = Entmax(1.0, alpha).weights(scores)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(5, dtype=torch.float64))
    assert bool((p == 0).any())
    slack = scores - p.clamp(min=0) ** (alpha - 1) / (alpha - 1)
    for row, weights in zip(slack, p, strict=True):  # KKT: equal on the support, lower outside
        inside = row[weights > 0]
        torch.testing.assert_close(inside, inside[:1].expand_as(inside))
        assert bool((row[weights == 0] <= inside[0] + 1e-9).all())


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("alpha", [1.25, 2.0])
def test_entmax_of_many_memories_takes_passes_and_agrees(alpha, monkeypatch):
    memory, _, states = problem(Entmax(0.05, alpha), "space")
    near = memory.landscape.view(states)
    monkeypatch.setattr(landscape, "_SPARSE", 0)
    far = memory.landscape.view(states)
    torch.testing.assert_close(far.parts.energy, near.parts.energy)
    torch.testing.assert_close(far.target, near.target)


def test_energies_beyond_floats_stay_finite_and_ordered():
    patterns = signs(4, 400)
    memory = AssociativeMemory.store(patterns, Exponential(5.0))
    energy = memory.energy(patterns)
    assert bool(energy.isfinite().all())
    assert float(energy.max()) == -torch.finfo(torch.float64).max
    there = AssociativeMemory.store(patterns, Exponential(5.0, at=400.0))
    torch.testing.assert_close(there.energy(patterns), -torch.ones(4, dtype=torch.float64))


def test_a_stored_pattern_that_stands_apart_has_energy_zero():
    patterns = 10 * torch.eye(5, dtype=torch.float64)
    for F in (RectifiedPolynomial(20), Entmax(1.0), LogSumReLU(0.05)):
        energy = AssociativeMemory.store(patterns, F, domain="space").energy(patterns)
        assert float(energy.abs().max()) < 2, F


@pytest.mark.parametrize("F", [RectifiedPolynomial(9), Exponential(0.2)])
def test_centred_overlaps_are_those_of_centred_patterns(F):
    patterns = normal(K, D) + 5
    states = normal(B, D, seed=2) + 5
    mean = patterns.mean(dim=0)
    memory = AssociativeMemory.store(patterns, F, domain="space", centre=True)
    apart = AssociativeMemory.store(patterns - mean, F, domain="space", centre=False)
    torch.testing.assert_close(memory.energy(states), apart.energy(states - mean))
    torch.testing.assert_close(memory.step(states), apart.step(states - mean) + mean)


def test_polynomials_of_pictures_with_a_background_are_centred_by_default():
    patterns = normal(40, D) + 5
    assert AssociativeMemory.store(patterns, 9).centre is not None
    assert AssociativeMemory.store(patterns, Exponential(1.0)).centre is None
    assert AssociativeMemory.store(normal(40, D), 9).centre is None
    assert "centred" in repr(AssociativeMemory.store(patterns, 9))


@pytest.mark.parametrize(
    ("F", "domain"),
    [(Entmax(1.0), "box"), (LogSumReLU(1.0), "binary"), (Polynomial(3), "space")],
)
def test_an_energy_that_a_domain_lacks_is_refused(F, domain):
    with pytest.raises(InputError, match="domain"):
        AssociativeMemory.store(signs(3, 4), F, domain=domain)


@pytest.mark.parametrize("kind", [Polynomial, LogSumReLU, Entmax])
def test_energies_of_retrieval_alone_do_not_classify(kind):
    with pytest.raises(InputError, match="energy"):
        denseam.DenseAM(4, 2, 3, temperature=1.0, energy=kind(2))
