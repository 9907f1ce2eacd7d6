"""Blocks: the same bits for an image whatever it comes with, from as little work as that allows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from denseam import data, load_pretrained
from denseam.guard import Guard
from denseam.guard.blocks import REFERENCE, SIZES, Blocks, _plan, random_images

from . import small

N = 12


def images(count, seed=0):
    return torch.rand(count, N, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class Watched:
    """Says the sum of each image; wrong by a little in blocks of certain sizes."""

    def __init__(self, *wrong):
        self.wrong, self.seen = wrong, []

    def __call__(self, block):
        self.seen.append(len(block))
        off = 1e-12 * len(block) if len(block) in self.wrong else 0.0
        return block.double().sum(dim=1) + off, block.argmax(dim=1)


@given(
    st.integers(0, 2000),
    st.sets(st.sampled_from(SIZES)).map(lambda some: tuple(sorted(some | {REFERENCE}))),
)
def test_plans_hold_all_images_and_are_filled(count, sizes):
    plan = _plan(count, sizes)
    assert set(plan) <= set(sizes)
    assert plan == sorted(plan, reverse=True)
    room = sum(plan) - count
    assert 0 <= room < plan[-1] or count == 0
    assert 4 * room < plan[-1] or plan[-1] == sizes[0]


@pytest.mark.parametrize("wrong", [(), (16,), (256,), (16, 256), (64,)])
@pytest.mark.parametrize("count", [0, 1, 3, 40, 65, 300])
def test_only_sizes_that_agree_are_used(wrong, count):
    ask = Watched(*wrong)
    blocks = Blocks(ask)
    wanted = (REFERENCE,) if wrong == (64,) else tuple(s for s in SIZES if s not in wrong)
    assert blocks.sizes(images(1)) == wanted
    ask.seen.clear()
    sums, largest = blocks(images(count))
    assert ask.seen == _plan(count, wanted)
    off = 64e-12 if wrong == (64,) else 0.0
    assert torch.equal(sums, images(count).double().sum(dim=1) + off)
    assert torch.equal(largest, images(count).argmax(dim=1))


def test_sizes_are_found_out_once_for_each_state_of_the_machine():
    ask = Watched()
    blocks = Blocks(ask)
    blocks(images(2))
    first = len(ask.seen)
    blocks(images(2))
    assert len(ask.seen) == first + 1
    blocks(images(2).double())
    assert len(ask.seen) > first + 2
    before, first = torch.get_num_threads(), len(ask.seen)
    try:
        torch.set_num_threads(before + 1)
        blocks(images(2))
    finally:
        torch.set_num_threads(before)
    assert len(ask.seen) > first + 1


def test_sizes_in_which_the_place_matters_are_not_used():
    def ask(block):
        place = torch.arange(len(block)) % 4 == 3
        return (block.double().sum(dim=1) + 1e-12 * place * (len(block) == 16),)

    def odd(block):
        return (block.double().sum(dim=1) + 1e-12 * (torch.arange(len(block)) % 16 == 3),)

    assert 16 not in Blocks(ask).sizes(images(1))
    assert Blocks(odd).sizes(images(1)) == (REFERENCE,)


def test_numbers_that_are_nan_agree_with_each_other():
    assert Blocks(lambda block: (block[:, 0] * torch.nan,)).sizes(images(1)) == SIZES


def test_answers_of_another_kind_do_not_agree():
    def ask(block):
        return (block[:, 0] if len(block) == REFERENCE else block[:, 0].double(),)

    assert Blocks(ask).sizes(images(1)) == (REFERENCE,)


def test_what_random_says_stays_in_blocks_of_one_size():
    generator = torch.Generator().manual_seed(0)
    blocks = Blocks(lambda block: (torch.rand(len(block), generator=generator),))
    assert blocks.sizes(images(1)) == (REFERENCE,)


@pytest.mark.parametrize("names", [("mnist-n30", "mnist-n3"), ("mnist-n20", "mnist-relu")])
def test_a_verdict_has_the_same_bits_in_any_batch(names):
    test = data.load("mnist").test
    guard = Guard(*names).calibrate(test.images[:400])
    noise = torch.randint(256, (40, 28, 28), generator=torch.Generator().manual_seed(0))
    given = torch.cat([test.images[400:700], noise.to(torch.uint8)])
    whole = guard.predict(given)
    for size in (1, 2, 5, 33, 64, 100):
        parts = [guard.predict(part) for part in torch.split(given[-120:], size)]
        assert torch.equal(torch.cat([part.scores for part in parts]), whole.scores[-120:])
        assert torch.equal(torch.cat([part.labels for part in parts]), whole.labels[-120:])


def test_random_images_wake_memories():
    """Otherwise sizes would be compared on nothing."""
    found = load_pretrained("mnist-n30").log_energy(random_images(256, torch.zeros(1, 784), -1.0))
    assert float(found.isfinite().float().mean()) > 0.9


class Rounding(torch.nn.Module):
    """A front that rounds otherwise in batches that are not whole."""

    def forward(self, visible):
        return visible if len(visible) % 16 == 0 else visible * (1 - 1e-6)


def test_a_network_behind_a_front_is_asked_in_whole_blocks():
    network = small.memories()
    network.front = Rounding()
    guard = Guard(network, network, image_shape=small.SHAPE).calibrate(small.clean(), 0.05)
    images = small.clean(64, seed=4).visible()
    whole = guard.predict(images)
    alone = [guard.predict(image[None]) for image in images[:9]]
    assert torch.equal(torch.cat([verdict.scores for verdict in alone]), whole.scores[:9])
