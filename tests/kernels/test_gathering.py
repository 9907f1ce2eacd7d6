"""One pass over memories: the loops in C and in Triton beside the plain one."""

import pytest
import torch
from tests.retrieval.problems import normal

from denseam import kernels
from denseam.energies import Exponential, Polynomial, RectifiedPolynomial

from .problems import BACKENDS, needs_c

FUNCTIONS = [Exponential(0.7), RectifiedPolynomial(1), RectifiedPolynomial(2.5),
             RectifiedPolynomial(30), Polynomial(1), Polynomial(3), Polynomial(20)]  # fmt: skip
SIZES = [(1, 1, 1), (3, 70, 17), (70, 9000, 33), (130, 130, 16)]  # B, K, N: spans, tiles, tails


def problem(sizes, dtype):
    B, K, N = sizes
    states, memories = normal(B, N).to(dtype), normal(K, N, seed=1).to(dtype)
    return states, memories, normal(B, seed=2).to(dtype), normal(K, seed=3).to(dtype)


@pytest.mark.parametrize("F", FUNCTIONS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_back_end_gathers_as_the_formula(backend, sizes, dtype, F):
    if backend == "triton" and (sizes != SIZES[1] or isinstance(F, Polynomial)):
        pytest.skip("the interpreter takes its time; plain polynomials have no Triton")
    states, memories, drop, offsets = problem(sizes, dtype)
    sums = kernels.by_name(backend).gather(states, memories, F, drop=drop, offsets=offsets)
    fields = memories.double() @ states.double().T - drop.double() - offsets.double()[:, None]
    scale = F.scale(fields, 0)
    relative = F.ratio(fields, scale), F.slope_ratio(fields, scale)
    exact = scale[0], relative[0].sum(dim=0), relative[1].sum(dim=0)
    near = {"rtol": 1e-3, "atol": 1e-4} if dtype == torch.float32 else {}
    for each, right in zip((sums.scale, sums.total, sums.slopes), exact, strict=True):
        torch.testing.assert_close(each.double(), right, **near)
    pull = relative[1].T @ memories.double()
    size = float(pull.abs().max()) or 1.0
    torch.testing.assert_close(sums.pull.double() / size, pull / size, rtol=0, atol=2e-5)
    without = kernels.by_name(backend).gather(
        states, memories, F, drop=drop, offsets=offsets, pull=False
    )
    assert without.pull is None
    assert torch.equal(without.total, sums.total)


@needs_c
@pytest.mark.parametrize("F", [Exponential(0.7), RectifiedPolynomial(30), Polynomial(4)], ids=str)
def test_a_state_gathers_the_same_bits_in_any_batch_and_on_any_threads(F):
    states, memories, _, _ = problem((70, 9000, 33), torch.float32)
    kernel = kernels.by_name("cpu").with_product("dots")
    whole = kernel.gather(states, memories, F)
    alone = kernel.gather(states[69:], memories, F)
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        again = kernel.gather(states, memories, F)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(alone.pull[0], whole.pull[69])
    assert torch.equal(again.pull, whole.pull)
    assert torch.equal(again.total, whole.total)


@needs_c
def test_memories_that_round_to_nothing_are_left_out():
    memories = 9 * torch.nn.functional.normalize(normal(5000, 40).float(), dim=1)
    F, kernel = Exponential(0.1), kernels.by_name("cpu").with_product("dots")
    states = memories[::50]
    whole = kernel.gather(states, memories, F)
    least = torch.finfo(torch.float32).eps / 4 / len(memories)
    torch.testing.assert_close(kernel.gather(states, memories, F, least=least).pull, whole.pull)
    rough = kernel.gather(states, memories, F, least=0.5).pull
    assert float((rough - whole.pull).abs().max()) > 1e-3
