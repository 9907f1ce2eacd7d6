"""Class-balanced minibatches."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from denseam.training.batches import batches_per_epoch, epoch_indices

sizes = st.lists(st.integers(1, 30), min_size=1, max_size=4)  # images of each class
few = st.integers(1, 7)
seeds = st.integers(0, 4000)
epochs = st.integers(0, 5000)


def labels_of(counts, seed=0):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


def drawn(labels, counts, per_class, seed=0, epoch=0):
    return epoch_indices(labels, len(counts), per_class, seed=seed, epoch=epoch)


@given(sizes, few, seeds, epochs)
def test_every_batch_has_exactly_per_class_images_of_each_class(counts, per_class, seed, epoch):
    labels = labels_of(counts)
    order = drawn(labels, counts, per_class, seed, epoch)
    batches = batches_per_epoch(sum(counts), len(counts), per_class)
    assert order.shape == (batches, len(counts) * per_class)
    assert order.dtype == torch.int64
    for batch in order:
        shown = torch.bincount(labels[batch], minlength=len(counts))
        assert shown.tolist() == [per_class] * len(counts)


@given(sizes, few, seeds, epochs)
def test_images_of_a_class_are_shown_equally_often_give_or_take_one(counts, per_class, seed, epoch):
    labels = labels_of(counts)
    order = drawn(labels, counts, per_class, seed, epoch)
    often = torch.bincount(order.flatten(), minlength=len(labels))
    room = len(order) * per_class
    for c, count in enumerate(counts):
        of_class = often[labels == c]
        assert of_class.max() - of_class.min() <= 1
        assert of_class.sum() == room
        if count >= room:
            assert of_class.max() == 1  # a large class repeats nothing
        else:
            assert of_class.min() >= 1  # a small one is shown whole


@given(sizes, few, seeds, epochs)
def test_the_order_is_a_function_of_seed_and_epoch_alone(counts, per_class, seed, epoch):
    labels = labels_of(counts)
    first = drawn(labels, counts, per_class, seed, epoch)
    torch.manual_seed(epoch)
    torch.rand(3)
    assert torch.equal(first, drawn(labels, counts, per_class, seed, epoch))


@settings(max_examples=50)
@given(seeds, epochs, seeds, epochs)
def test_other_seeds_and_epochs_draw_another_order(seed, epoch, other_seed, other_epoch):
    counts = [40, 40]
    one = drawn(labels_of(counts), counts, 5, seed, epoch)
    other = drawn(labels_of(counts), counts, 5, other_seed, other_epoch)
    assert torch.equal(one, other) == ((seed, epoch) == (other_seed, other_epoch))


def test_what_a_large_class_leaves_out_changes_from_epoch_to_epoch():
    counts = [10, 50]  # 60 images, 6 batches of 5 + 5: room for 30 of the 50
    labels = labels_of(counts)
    parts = [set(drawn(labels, counts, 5, epoch=e).flatten().tolist()) for e in range(12)]
    assert len({frozenset(rows) for rows in parts}) == 12
    assert set.union(*parts) == set(range(60))


def test_an_epoch_shows_as_many_images_as_the_set_has_rounded():
    assert batches_per_epoch(60_000, 10, 100) == 60
    assert batches_per_epoch(7291, 10, 100) == 7
    assert batches_per_epoch(3, 10, 100) == 1
