"""Changes of what is stored, the layer, files of figures."""

import pytest
import torch
from tests.retrieval.problems import normal, signs
from torch import nn

import denseam
from denseam.energies import Exponential
from denseam.errors import InputError
from denseam.retrieval import AssociativeMemory, MemoryAttention

BITS = signs(8, 30).float()


def test_removing_a_memory_changes_its_own_decisions_alone():
    memory = AssociativeMemory.store(BITS, 5)
    change = memory.depends_on([2], BITS)
    assert change.depends.nonzero()[:, 0].tolist() == [2]
    assert len(memory) == 8
    removed = memory.remove([2], probes=BITS)
    assert len(memory) == 7
    assert removed.depends.tolist() == change.depends.tolist()
    assert removed.to_json()["reassigned"] == [2]
    assert "1 of 8" in repr(removed)
    back = memory.add(BITS[2:3], probes=BITS)
    assert back.depends.nonzero()[:, 0].tolist() == [2]
    assert torch.equal(memory.retrieve(BITS).states, BITS)


def test_a_replaced_memory_is_a_new_one():
    memory = AssociativeMemory.store(BITS, 5)
    change = memory.replace([4], -BITS[4:5], probes=BITS)
    assert change.depends.nonzero()[:, 0].tolist() == [4]
    assert torch.equal(memory.patterns[4], -BITS[4])
    assert torch.equal(memory.patterns[:4], BITS[:4])


def test_labels_that_rest_on_a_memory():
    model = denseam.DenseAM(9, 3, 12, power=8, temperature=3.0, dtype=torch.float64)
    memory = AssociativeMemory.of_model(model)
    v = normal(30, 9).clamp(-1, 1)
    known = torch.ones(9, dtype=torch.bool)
    change = memory.depends_on([0, 1, 2], v, known=known)
    less = denseam.DenseAM(9, 3, 9, power=8, temperature=3.0, dtype=torch.float64)
    with torch.no_grad():
        less.memories.copy_(model.memories[3:])
    assert torch.equal(change.relabelled, less.predict(v) != model.predict(v))
    assert bool(change.relabelled.any())


@pytest.mark.parametrize(
    "edit",
    [lambda m: m.remove([8]), lambda m: m.remove([1, 1]), lambda m: m.remove(range(8)),
     lambda m: m.remove([0.5]), lambda m: m.add(torch.ones(2, 29)), lambda m: m.remove([]),
     lambda m: m.replace([1, 2], BITS[:1]), lambda m: m.add(0.5 * BITS)],
)  # fmt: skip
def test_wrong_changes_are_refused_and_change_nothing(edit):
    memory = AssociativeMemory.store(BITS, 5)
    with pytest.raises(InputError):
        edit(memory)
    assert torch.equal(memory.patterns, BITS)


def test_without_projections_the_layer_is_the_memory():
    patterns, states = normal(20, 6).float(), normal(5, 6, seed=1).float()
    memory = AssociativeMemory.store(patterns, Exponential(0.7))
    layer = MemoryAttention(6, beta=0.7, steps=3, project=False)
    three = memory.retrieve(states, max_steps=3, tolerance=0).states
    torch.testing.assert_close(layer(states, patterns), three, rtol=0, atol=1e-5)


def test_the_layer_learns_and_respects_its_mask():
    layer = MemoryAttention(8, 4, n_memories=10, n_heads=2, steps=2, normalize=True)
    states = normal(3, 5, 8).float().requires_grad_()
    out = layer(states)
    out.square().sum().backward()
    assert out.shape == (3, 5, 4)
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in layer.parameters())
    stored = normal(3, 7, 8).float()
    mask = torch.arange(7) < 4
    part = MemoryAttention(8, 4, n_heads=2, seed=3)
    assert torch.allclose(part(states, stored, mask), part(states, stored[:, :4]), atol=1e-6)
    assert part(states[:, 0], stored[0]).shape == (3, 4)
    assert isinstance(part.query, nn.Linear)


def called(options, shapes):
    layer = MemoryAttention(8, **options)
    stored = None if shapes is None or shapes[1] is None else torch.ones(shapes[1])
    return layer(torch.ones((2, 8) if shapes is None else shapes[0]), stored)


@pytest.mark.parametrize(
    ("options", "shapes"),
    [({"n_heads": 3}, None), ({"project": False, "n_heads": 2}, None), ({"beta": 0.0}, None),
     ({}, ((2, 3, 8), None)), ({}, ((2, 3, 7), (4, 8))), ({}, ((2, 3, 8), (4, 7))),
     ({}, ((2, 3, 8), (5, 4, 8)))],
)  # fmt: skip
def test_wrong_layers_are_refused(options, shapes):
    with pytest.raises(InputError):
        called(options, shapes)


def test_plots_are_written_and_shown(tmp_path):
    memory = AssociativeMemory.store(BITS.reshape(8, 5, 6), 5)
    result = memory.retrieve(memory.cover(BITS, "left").states, keep=True)
    result.plot(tmp_path / "a.png")
    shown = result.plot()._repr_png_()
    assert shown[:4] == (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    flat = AssociativeMemory.store(BITS, 5)
    flat.retrieve(BITS[:1]).plot(tmp_path / "b.svg")
    with pytest.raises(InputError):
        flat.retrieve(BITS[:0]).plot()
