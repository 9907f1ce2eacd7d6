"""Memories as a layer of anybody's network."""

import pytest
import torch
from torch import nn

import denseam
from denseam import MemoryLayer, energies, energy
from denseam.errors import InputError

ENERGIES = [energies.RectifiedPolynomial(4), energies.Exponential(0.7)]


def layer(F=ENERGIES[0], dtype=torch.float64, **options):
    return MemoryLayer(6, 3, 8, energy=F, dtype=dtype, seed=1, **options)


def inputs(count=5, dtype=torch.float64, scale=30.0):
    generator = torch.Generator().manual_seed(2)
    return scale * torch.randn(count, 6, generator=generator, dtype=dtype)


@pytest.mark.parametrize("F", ENERGIES, ids=str)
def test_scores_are_those_of_the_oracle_for_inputs_of_any_range(F):
    x, plain = inputs(), layer(F)
    xi = plain.memories.detach()
    torch.testing.assert_close(plain(x), energy.log_energy(x, xi, F).clamp(min=F.least_log))
    gap = layer(F, head="energy_gap", temperature=20.0)
    torch.testing.assert_close(gap(x), energy.energy_gap(x, xi, F, 20.0))
    tanh = layer(F, head="tanh", temperature=20.0)
    torch.testing.assert_close(tanh(x), energy.class_activity(x, xi, F, 20.0))


@pytest.mark.parametrize("head", ["log_energy", "energy_gap"])
@pytest.mark.parametrize("F", ENERGIES, ids=str)
def test_gradients_to_inputs_and_memories(F, head):
    plain = layer(F, head=head, temperature=3.0)
    x = inputs(scale=1.0).requires_grad_()
    upstream = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    (plain(x) * upstream).sum().backward()
    xi, v = plain.memories.detach().requires_grad_(), x.detach().requires_grad_()
    values = energy.log_energy(v, xi, F) if head == "log_energy" else energy.energy_gap(v, xi, F, 3)
    finite = torch.where(values.isfinite(), values, 0.0)
    (finite * upstream).sum().backward()
    torch.testing.assert_close(x.grad, v.grad)
    torch.testing.assert_close(plain.memories.grad, xi.grad)


def test_a_network_with_it_learns_by_any_optimiser():
    generator = torch.Generator().manual_seed(0)
    centres = 3 * torch.randn(4, 10, generator=generator)
    labels = torch.arange(200) % 4
    x = centres[labels] + torch.randn(200, 10, generator=generator)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), MemoryLayer(16, 4, 32, power=5))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(10 * network(x), labels).backward()
        optimizer.step()
    assert float((network(x).argmax(dim=1) == labels).double().mean()) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize("F", ENERGIES, ids=str)
def test_it_compiles_without_a_graph_break(F):
    plain, x = layer(F, torch.float32), inputs(dtype=torch.float32)
    torch.compiler.reset()
    compiled = torch.compile(plain, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), plain(x))


def test_its_state_is_its_memories():
    one, other = layer(), MemoryLayer(6, 3, 8, power=4, dtype=torch.float64, seed=5)
    assert list(one.state_dict()) == ["memories"]
    assert not torch.equal(one(inputs()), other(inputs()))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(inputs()), other(inputs()))


def test_scores_are_finite_where_no_memory_is_active():
    plain = MemoryLayer(2, 2, 3, power=30)
    plain.memories.data[:, :2] = 1.0
    plain.memories.data[:, 2:] = 0.0
    x = torch.tensor([[-1.0, -1.0]], requires_grad=True)
    scores = plain(x)
    assert bool(scores.isfinite().all())
    scores.sum().backward()
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"power": None}, "power = None, energy = None: wanted one of the two"),
        ({"energy": ENERGIES[0]}, "wanted one of the two"),
        ({"power": 0.5}, "power = 0.5: wanted a number >= 1"),
        ({"n_inputs": 0}, "n_inputs = 0"),
        ({"n_outputs": 2.5}, "n_outputs = 2.5"),
        ({"head": "softmax"}, "head = 'softmax'"),
        ({"temperature": 0}, "temperature = 0"),
        ({"power": None, "energy": 3}, "energy: wanted an EnergyFunction, got int"),
    ],
)
def test_impossible_layers_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        MemoryLayer(**{"n_inputs": 6, "n_outputs": 3, "n_memories": 8, "power": 3, **arguments})


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"shape \(5, 7\): wanted \(B, 6\)"):
        layer()(torch.zeros(5, 7, dtype=torch.float64))
    with pytest.raises(InputError, match=r"convert one with \.to"):
        layer()(torch.zeros(5, 6))


# ---- energy functions ----------------------------------------------------------------------------


def test_a_model_with_an_exponential_survives_its_file(tmp_path):
    F = energies.Exponential(0.3, 2.0)
    model = denseam.DenseAM(6, 3, 8, temperature=4.0, energy=F)
    model.save(tmp_path / "m.safetensors")
    loaded = denseam.load(tmp_path / "m.safetensors")
    assert loaded.energy == F
    v = inputs(dtype=torch.float32, scale=0.1)
    assert torch.equal(loaded.log_energy(v), model.log_energy(v))
    other = denseam.DenseAM(6, 3, 8, 5, 1.0)
    other.load_state_dict(model.state_dict())
    assert other.energy == F
    assert torch.equal(other.energy_gap(v), model.energy_gap(v))


@pytest.mark.parametrize("F", [*ENERGIES, energies.RectifiedPolynomial(1)], ids=str)
def test_an_energy_function_agrees_with_itself(F):
    x = torch.linspace(-3, 5, 41, dtype=torch.float64).requires_grad_()
    y = torch.tensor(2.5, dtype=torch.float64)
    (slope,) = torch.autograd.grad(F.value(x).sum(), x)
    positive = x.detach() != 0
    torch.testing.assert_close(F.slope(x)[positive], slope[positive])
    torch.testing.assert_close(F.ratio(x, y), F.value(x) / F.value(y))
    torch.testing.assert_close(F.ratio(x, 2.5), F.value(x) / F.value(y))
    torch.testing.assert_close(F.slope_ratio(x, y), F.slope(x) / F.slope(y))
    torch.testing.assert_close(F.pull(x, y), F.slope(x) / F.value(y))
    torch.testing.assert_close(F.log(x), F.value(x).log())
    assert energies.by_name(F.name, F.parameters) == F
    assert type(F)(*F.parameters) == F


@pytest.mark.parametrize("F", [(0,), (-1,), (float("nan"),), ("a",), (True,)])
def test_an_impossible_exponential_is_refused(F):
    with pytest.raises(InputError, match="beta"):
        energies.Exponential(*F)


def test_a_name_in_no_row_is_refused():
    with pytest.raises(InputError, match="energy = 'cubic': wanted rectified_polynomial, exp"):
        energies.by_name("cubic", (3.0,))
