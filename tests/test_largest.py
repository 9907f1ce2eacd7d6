"""The limit n -> infinity as a model: the largest field decides."""

import math

import pytest
import torch

import denseam
from denseam import DenseAM
from denseam.energies import Largest

N, C, K, B = 9, 4, 11, 6


@pytest.fixture
def model():
    return DenseAM(N, C, K, math.inf, 1.0, seed=3)


@pytest.fixture
def images():
    return torch.rand(B, N, generator=torch.Generator().manual_seed(1)) * 2 - 1


def fields(model, v):
    """The fields of the paper with each class neuron on, (B, K, C)."""
    votes = model.class_memories
    overlaps = v @ model.visible_memories.T
    return overlaps[:, :, None] + 2 * votes - votes.sum(dim=1, keepdim=True)


def test_a_class_scores_its_largest_field(model, images):
    largest = fields(model, images).amax(dim=1)
    assert torch.allclose(model.log_energy(images), largest)
    assert torch.equal(model.predict(images), largest.argmax(dim=1))


def test_gradients_are_the_memories_that_win(model, images):
    leaves = images.clone().requires_grad_()
    model.log_energy(leaves)[:, 2].sum().backward()
    winners = fields(model, images)[:, :, 2].argmax(dim=1)
    assert torch.allclose(leaves.grad, model.visible_memories[winners])


def test_equal_memories_count_once(model, images):
    twice = DenseAM(N, C, 2 * K, energy=Largest(), temperature=1.0)
    twice.memories.data = torch.cat([model.memories.data, model.memories.data])
    assert torch.allclose(twice.log_energy(images), model.log_energy(images), rtol=1e-5)


def test_high_powers_decide_as_the_limit(model, images):
    high = DenseAM(N, C, K, 10_000, 1.0, dtype=torch.float64)
    high.memories.data = model.memories.data.double()
    assert torch.equal(high.predict(images.double()), model.predict(images))


def test_a_file_keeps_the_limit(model, images, tmp_path):
    model.save(tmp_path / "model.safetensors")
    again = denseam.load(tmp_path / "model.safetensors")
    assert again.energy == Largest()
    assert again.power == math.inf
    assert torch.equal(again.log_energy(images), model.log_energy(images))


def test_the_gap_is_the_lead_over_the_best_other_class(model, images):
    scores, model.temperature = model.log_energy(images), 4.0
    gap = model.energy_gap(images)
    others = [scores[:, [c for c in range(C) if c != own]].amax(dim=1) for own in range(C)]
    assert torch.allclose(gap, (scores - torch.stack(others, dim=1)) / 4, atol=1e-6)
    assert torch.allclose(model(images), torch.tanh(gap))
