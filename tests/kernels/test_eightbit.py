"""Coarse products: exact sums of rounded numbers, wherever they are computed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from denseam import data
from denseam.kernels import by_name, eightbit

from .problems import needs_c

pytestmark = needs_c


def rounded(visible: Tensor, memories: Tensor) -> tuple[Tensor, Tensor]:
    """Both in float64, at the nearest of their steps; columns of zeros stay zeros."""
    pixels = ((visible.double() * 127.5 - 0.5).round() + 0.5) / 127.5
    pixels[:, (visible == 0).all(dim=0)] = 0
    return pixels, (memories.double() * 127).round() / 127


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Images (B, N + C), the last C neurons 0, and memories (K, N + C)."""
    B, K = draw(st.integers(1, 70)), draw(st.integers(1, 70))
    N, C = draw(st.integers(1, 90)), draw(st.integers(0, 11))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    visible = torch.rand(B, N + C, generator=generator) * 2 - 1
    visible[:, N:] = 0
    return visible, (torch.randn(K, N + C, generator=generator)).clamp(-1, 1)


@settings(max_examples=40, deadline=None)
@given(pair=pairs())
def test_overlaps_are_exact_products_of_rounded_numbers(pair: tuple[Tensor, Tensor]) -> None:
    visible, memories = pair
    pixels, steps = rounded(visible, memories)
    actual = by_name("8-bit").overlaps(visible, memories)
    assert actual.dtype is torch.float32
    torch.testing.assert_close(actual.double(), steps @ pixels.T, rtol=3e-7, atol=1e-5)


def test_byte_images_and_extreme_memories_lose_nothing() -> None:
    images = data.load("mnist").test.subset(slice(0, 30))
    visible = images.visible()
    memories = torch.sign(torch.randn(17, 784, generator=torch.Generator().manual_seed(0)))
    actual = by_name("8-bit").overlaps(visible, memories)
    expected = memories.double() @ images.visible(torch.float64).T
    torch.testing.assert_close(actual.double(), expected, rtol=2e-7, atol=1e-4)


def test_largest_sums_do_not_saturate() -> None:
    visible, memories = torch.ones(3, 784), torch.ones(2, 784)
    kernel = by_name("8-bit")
    torch.testing.assert_close(kernel.overlaps(visible, memories), torch.full((2, 3), 784.0))
    torch.testing.assert_close(kernel.overlaps(-visible, memories), torch.full((2, 3), -784.0))


@settings(max_examples=20, deadline=None)
@given(pair=pairs())
def test_the_same_numbers_without_8_bit_instructions(pair: tuple[Tensor, Tensor]) -> None:
    kernel = by_name("8-bit")
    actual = kernel.overlaps(*pair)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eightbit, "available", lambda: False)
        assert torch.equal(kernel.overlaps(*pair), actual)


def test_not_available_where_products_saturate_or_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def saturating(memories: Tensor, pixels: Tensor) -> Tensor:
        pairs = (memories + 128).view(3, -1, 2), pixels.float().view(5, -1, 2)
        terms = torch.einsum("knp,bnp->kbn", *pairs).clamp(-(2**15), 2**15 - 1)
        return terms.sum(dim=2) - 128 * pixels.float().sum(dim=1)

    def missing(memories: Tensor, pixels: Tensor) -> Tensor:
        raise AttributeError

    for products in (saturating, missing):
        monkeypatch.setattr(eightbit, "_whole_products", products)
        assert not eightbit.available.__wrapped__()


@settings(max_examples=20, deadline=None)
@given(pair=pairs())
def test_memory_gradients_are_those_of_bfloat16(pair: tuple[Tensor, Tensor]) -> None:
    visible, memories = pair
    weights = memories[:, :1] * torch.rand(len(memories), len(visible))
    actual = by_name("8-bit").to_memories(weights, visible)
    expected = weights.double() @ visible.double()
    sizes = weights.double().abs() @ visible.double().abs()
    assert actual.dtype is torch.float32
    assert ((actual.double() - expected).abs() <= 3 * 2**-8 * sizes).all()


def test_gradients_leave_out_what_weighs_little_for_every_memory() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(300, 50, generator=generator) * 1e-5
    weights[:, [3, 40]] += 1
    weights[7] *= 1e-30
    weights[8] = 0
    weights[9, 11] = -1e20  # for one memory alone
    visible = torch.rand(50, 90, generator=generator) * 2 - 1
    assert eightbit._rows_that_matter(weights).tolist() == [3, 11, 40]
    actual = by_name("8-bit").to_memories(weights, visible)
    expected = weights.double() @ visible.double()
    heaviest = weights.double().abs().amax(dim=1, keepdim=True)
    assert ((actual.double() - expected).abs() <= 3 * 2**-8 * heaviest).all()
    with pytest.MonkeyPatch.context() as patch:  # nobody looks at the others
        patch.setattr(torch, "mm", lambda a, b: torch.zeros(len(a), b.shape[1]).fill_(len(b)))
        assert by_name("8-bit").to_memories(weights, visible)[0, 0] == 3


def test_gradients_where_all_images_matter_are_those_of_all() -> None:
    weights, visible = torch.rand(4, 6) + 0.5, torch.rand(6, 9)
    assert torch.equal(eightbit._rows_that_matter(weights), torch.arange(6))
    weights[:, :3] = 0  # half of them
    torch.testing.assert_close(
        by_name("8-bit").to_memories(weights, visible), weights @ visible, rtol=2e-2, atol=0
    )
    nothing = by_name("8-bit").to_memories(torch.zeros(4, 6), visible)
    assert torch.equal(nothing, torch.zeros(4, 9))


@pytest.mark.parametrize("flags", [{}, {"avx512_bf16": True}, {"amx_bf16": True}])
def test_bfloat16_where_the_processor_has_it(flags, monkeypatch) -> None:
    capabilities = lambda: {"avx512_bf16": False, **flags}  # noqa: E731
    monkeypatch.setattr(torch.cpu, "get_capabilities", capabilities, raising=False)
    monkeypatch.setattr(eightbit, "_has_bfloat16", eightbit._has_bfloat16.__wrapped__)
    seen = []
    original = torch.mm
    monkeypatch.setattr(torch, "mm", lambda a, b: seen.append(a.dtype) or original(a, b))
    by_name("8-bit").to_memories(torch.rand(4, 6), torch.rand(6, 9))
    assert seen == [torch.bfloat16 if flags else torch.float32]


def test_a_nan_is_not_left_out() -> None:
    weights = torch.rand(4, 60) * 1e-6
    weights[:, 7] = 1
    weights[2, 9] = torch.nan
    actual = by_name("8-bit").to_memories(weights, torch.ones(60, 5))
    assert actual[2].isnan().all()
    assert actual[[0, 1, 3]].isfinite().all()


def test_an_empty_batch() -> None:
    assert by_name("8-bit").overlaps(torch.zeros(0, 9), torch.zeros(4, 9)).shape == (4, 0)
    actual = by_name("8-bit").to_memories(torch.zeros(4, 0), torch.zeros(0, 9))
    assert torch.equal(actual, torch.zeros(4, 9))


@pytest.mark.parametrize("components", [132_104, 132_105, 140_000])
def test_more_pixels_than_32_bits_can_sum(components: int) -> None:
    visible, memories = torch.ones(2, components), torch.ones(2, components)
    actual = by_name("8-bit").overlaps(visible, memories)
    torch.testing.assert_close(actual, torch.full((2, 2), float(components)), rtol=1e-4, atol=0)
    actual = by_name("8-bit").overlaps(-visible, memories)
    torch.testing.assert_close(actual, torch.full((2, 2), -float(components)), rtol=1e-4, atol=0)


@pytest.mark.parametrize("available", [False, True])
def test_up_to_1032_pixels_either_way_is_exact(
    available: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = eightbit.available()
    monkeypatch.setattr(eightbit, "available", lambda: here and available)
    generator = torch.Generator().manual_seed(0)
    visible = torch.rand(9, 1032, generator=generator) * 2 - 1
    visible[0] = -1
    memories = torch.randint(-127, 128, (9, 1032), generator=generator) / 127
    memories[0] = 1
    pixels, steps = rounded(visible, memories)
    expected = (steps * 127).round() @ (pixels * 127.5 - 0.5).round().T  # whole numbers
    half = (steps * 127).round().sum(dim=1, keepdim=True) / 2
    actual = by_name("8-bit").overlaps(visible, memories)
    exact = (expected.float() + half.float()) * torch.tensor(1 / (127.5 * 127))
    assert torch.equal(actual, exact)
