"""Feedforward and RBF networks: their formulas, the contract of all networks, files."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import denseam
from denseam import energy
from denseam.baselines import (
    NETWORKS,
    Binarised,
    ExponentialAM,
    NearestNeighbour,
    PolynomialNetwork,
    RBFNetwork,
    ReLUNetwork,
    binarise,
)
from denseam.errors import FileFormatError, InputError

N, C, K = 7, 3, 5


def images(count: int = 6, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, N, dtype=torch.float64, generator=generator) - 1


def network(kind: str, dtype: torch.dtype = torch.float64):
    """One of every kind, with random memories."""
    if kind == "nearest":
        v = images(9, seed=1).to(dtype)
        return NearestNeighbour(v, torch.arange(9) % C, C)
    power = {"dam": 4.0, "exponential": 4.5, "polynomial": 3.0, "prototypes": 1.0}.get(kind, 2.0)
    model = NETWORKS[kind](N, C, K, power, 3.0, dtype=dtype)
    generator = torch.Generator().manual_seed(2)
    model.memories.data = (2 * torch.rand(K, N + C, generator=generator) - 1).to(dtype)
    return model


@pytest.mark.parametrize("power", [1.5, 2, 3, 8])
def test_the_energy_gap_of_a_polynomial_network(power):
    model = PolynomialNetwork(N, C, K, power, 3.0, seed=1, dtype=torch.float64)
    v, xi = images(), model.memories.detach()
    found = model.energy_gap(v).tolist()
    for b in range(len(v)):
        for c in range(C):
            wanted = 0.0
            for mu in range(K):
                h = float(xi[mu, :N] @ v[b]) / 3.0
                wanted += 2 * power / 3.0 * float(xi[mu, N + c]) * max(h, 0.0) ** (power - 1)
            assert found[b][c] == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("power", [2.0, 3.0, 6.0])
def test_it_is_the_gap_of_a_memory_to_first_order_in_the_class_neurons(power):
    """NIPS16, section 3, apart from what is common to all classes."""
    dam = denseam.DenseAM(N, C, K, power, 3.0, seed=1, dtype=torch.float64)
    dual = PolynomialNetwork(N, C, K, power, 3.0, dtype=torch.float64)
    small = 1e-5
    memories = dam.memories.detach().clone()
    memories[:, N:] *= small
    dam.memories.data, dual.memories.data = memories, memories
    v = images()

    def without_common(x):
        return (x - x.mean(dim=1, keepdim=True)) / small

    torch.testing.assert_close(
        without_common(dual.energy_gap(v)), without_common(dam.energy_gap(v)), rtol=1e-3, atol=1e-6
    )


def of_exponentials(power=4.5, temperature=3.0, dtype=torch.float64):
    return ExponentialAM(N, C, K, power, temperature, seed=1, dtype=dtype)


@pytest.mark.parametrize("power", [1, 2.5, 30])
def test_an_energy_of_exponentials(power):
    model, v = of_exponentials(power), images()
    on, off = energy.fields(v, model.memories)
    gain, loss = (torch.exp(power * (field / 3.0 - 1)) for field in (on, off))
    torch.testing.assert_close(model.energy_gap(v), (gain - loss[:, :, None]).sum(dim=1))
    torch.testing.assert_close(model.log_energy(v), gain.sum(dim=1).log())


@pytest.mark.parametrize(("power", "temperature"), [(1, 0.5), (2.5, 3.0), (30, 600.0)])
def test_the_exponential_touches_the_polynomial_at_the_temperature(power, temperature):
    """One memory of one pixel, its class neuron at 0: fields are what the pixel times it is."""
    model = ExponentialAM(1, 1, 1, power, temperature, dtype=torch.float64)
    model.memories.data = torch.tensor([[2 * temperature, 0.0]], dtype=torch.float64)
    pixel = torch.linspace(-1, 1, 81, dtype=torch.float64)[:, None].requires_grad_()
    found = model.log_energy(pixel)
    polynomial = power * torch.log((2 * pixel).clamp(min=0))
    assert (found >= polynomial - 1e-12).all()
    assert float((found - polynomial).detach()[60]) == pytest.approx(0, abs=1e-12)  # pixel 1/2
    (slope,) = torch.autograd.grad(found.sum(), pixel)
    torch.testing.assert_close(slope, torch.full_like(slope, 2 * power))


@pytest.mark.parametrize(("power", "temperature"), [(30, 3.0), (300, 40.0), (1e6, 1e5), (1e4, 1e6)])
def test_exponents_beyond_the_range_leave_the_label(power, temperature):
    """The largest overlap times n / T decides, and the class neurons: in float64 as here."""
    model = ExponentialAM(784, 10, 50, power, temperature)
    exact = ExponentialAM(784, 10, 50, power, temperature, dtype=torch.float64)
    mnist = denseam.data.load("mnist")
    model.memories.data[:, :784] = mnist.train.visible()[:50]
    exact.memories.data = model.memories.data.double()
    v = mnist.test.visible()[:40].requires_grad_()
    labels = exact.log_energy(v.detach().double()).argmax(dim=1)
    assert len(labels.unique()) > 1
    assert torch.equal(model.predict(v), labels)
    gap = model.energy_gap(v)
    assert gap.isfinite().all()
    if gap.any():  # with T beyond all fields the energy underflows, as that of a polynomial does
        assert torch.equal(gap.argmax(dim=1), labels)
    (gap.sum() + model.log_energy(v).sum()).backward()
    assert v.grad.isfinite().all()
    assert model.memories.grad.isfinite().all()
    assert model.scores(1e37 * v.detach(), "log_energy").isfinite().all()


def test_a_relu_network_is_one_hidden_layer_of_relu():
    model = ReLUNetwork(N, C, K, temperature=3.0, seed=1, dtype=torch.float64)
    hidden = torch.relu(images() @ model.visible_memories.T / 3.0)
    torch.testing.assert_close(model.energy_gap(images()), 4 / 3 * hidden @ model.class_memories)


def test_the_energy_gap_of_an_rbf_network():
    model = RBFNetwork(N, C, K, temperature=1.3, seed=1, dtype=torch.float64)
    distances = torch.cdist(images(), model.visible_memories)
    wanted = torch.exp(-((distances / 1.3) ** 2)) @ model.class_memories
    torch.testing.assert_close(model.energy_gap(images()), wanted)


def test_centres_begin_at_images_of_their_class():
    v, labels = images(4), torch.tensor([0, 1, 2, 1])
    model = RBFNetwork(N, C, 9, seed=0, dtype=torch.float64)
    model.at_images(v, labels, seed=3)
    found = torch.cdist(model.visible_memories, v).argmin(dim=1)
    assert torch.equal(model.visible_memories, v[found])
    assert set(found.tolist()) == {0, 1, 2, 3}
    assert torch.equal(model.class_memories.argmax(dim=1), labels[found])


@pytest.mark.parametrize("kind", NETWORKS)
def test_every_network_keeps_the_contract(kind):
    model, v = network(kind), images()
    gap = model.energy_gap(v)
    assert gap.shape == (6, C)
    torch.testing.assert_close(model(v), torch.tanh(gap))
    labels = model.predict(v)
    assert labels.dtype is torch.int64
    assert torch.equal(labels, gap.argmax(dim=1))
    assert torch.equal(labels, model.log_energy(v).argmax(dim=1))
    assert torch.equal(labels, denseam.ImageClassifier(model)((v + 1) / 2).argmax(dim=1))
    assert model.energy_gap(v[:0]).shape == (0, C)
    with pytest.raises(InputError, match="visible must have shape"):
        model.predict(v[:, :-1])
    with pytest.raises(InputError, match="convert one"):
        model.log_energy(v.float())
    with pytest.raises(InputError, match=r"must lie in \[-1, 1\]|out|range|-1"):
        model.predict(2 * v + 2)


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients_are_those_of_differences(kind):
    model, v = network(kind), images(3).requires_grad_()
    for head in ("log_energy", "energy_gap", "tanh"):
        assert torch.autograd.gradcheck(lambda x, h=head: model.scores(x, h), (v,), atol=1e-5)


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("binarised", [False, True])
def test_a_file_gives_the_same_network_again(kind, binarised, tmp_path):
    model = network(kind, torch.float32)
    model = Binarised(model, threshold=0.25) if binarised else model
    model.save(tmp_path / "m.safetensors")
    again, v = denseam.load(tmp_path / "m.safetensors"), images().float()
    assert type(again) is type(model)
    assert again.settings() == model.settings()
    assert torch.equal(again.energy_gap(v), model.energy_gap(v))
    rounded = tmp_path / "half.safetensors"
    model.save(rounded, dtype=torch.float16)
    assert rounded.stat().st_size < (tmp_path / "m.safetensors").stat().st_size
    torch.testing.assert_close(denseam.load(rounded).memories, model.memories, rtol=1e-3, atol=1e-3)


def test_images_in_bytes_are_kept_as_bytes(tmp_path):
    images_of = denseam.data.load("mnist").train.subset(slice(50))
    model = NearestNeighbour.of(images_of)
    model.save(tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").stat().st_size < 50 * 784 * 2
    assert torch.equal(denseam.load(tmp_path / "m.safetensors").memories, model.memories)


def test_another_kind_of_network_is_refused(tmp_path):
    from denseam.files import save_tensors

    path = tmp_path / "m.safetensors"
    save_tensors(path, "model", {"memories": torch.zeros(2, 3)}, {"network": "transformer"})
    with pytest.raises(FileFormatError, match="'transformer'"):
        denseam.load(path)


@pytest.mark.parametrize("metric", ["l2", "overlap"])
def test_a_neighbour_is_the_nearest_one_of_all(metric):
    generator = torch.Generator().manual_seed(0)
    memories = 2 * torch.rand(40, N, dtype=torch.float64, generator=generator) - 1
    labels = torch.randint(0, C, (40,), generator=generator)
    model, v = NearestNeighbour(memories, labels, C, metric=metric), images(300)
    closeness = v @ memories.T if metric == "overlap" else -torch.cdist(v, memories).square()
    assert torch.equal(model.predict(v), labels[closeness.argmax(dim=1)])
    for c in range(C):
        wanted = closeness[:, labels == c].amax(dim=1)
        torch.testing.assert_close(model.log_energy(v)[:, c], wanted)
    assert math.isinf(model.power)


def test_a_class_without_memories_is_never_chosen():
    model = NearestNeighbour(images(4), torch.tensor([0, 2, 2, 0]), 3)
    assert 1 not in model.predict(images(50, seed=5))
    assert model.log_energy(images())[:, 1].isneginf().all()


def test_memories_of_one_length_go_to_their_nearest_neighbour_as_n_grows():
    generator = torch.Generator().manual_seed(0)
    memories = binarise(2 * torch.rand(60, 12, dtype=torch.float64, generator=generator) - 1)
    memories = memories.unique(dim=0)
    labels = torch.arange(len(memories)) % C
    nearest = NearestNeighbour(memories, labels, C, metric="overlap")
    by_distance = NearestNeighbour(memories, labels, C)
    v = 2 * torch.rand(400, 12, dtype=torch.float64, generator=generator) - 1
    agreement = []
    for power in (2, 10, 100, 3000):
        dam = denseam.DenseAM(12, C, len(memories), power, 10.0, dtype=torch.float64)
        dam.memories.data = nearest.memories.data
        agreement.append(float((dam.predict(v) == nearest.predict(v)).double().mean()))
    assert agreement[0] < 0.9
    assert agreement == sorted(agreement)
    assert agreement[-1] == 1
    assert torch.equal(nearest.predict(v), by_distance.predict(v))


@given(st.floats(-1, 0.99), st.integers(0, 2**31))
def test_binarised_pixels_are_minus_one_or_one(threshold, seed):
    v = 2 * torch.rand(4, N, generator=torch.Generator().manual_seed(seed)) - 1
    found = binarise(v, threshold)
    assert set(found.unique().tolist()) <= {-1.0, 1.0}
    assert torch.equal(found > 0, v > threshold)


def test_a_binarised_network_sees_black_and_white_and_lets_gradients_through():
    plain = network("relu")
    model, v = Binarised(plain), images()
    assert torch.equal(model.energy_gap(v), plain.energy_gap(binarise(v)))
    assert torch.equal(model.predict(v), plain.predict(binarise(v)))
    at, there = v.clone().requires_grad_(), binarise(v).requires_grad_()
    model.energy_gap(at).sum().backward()
    plain.energy_gap(there).sum().backward()
    torch.testing.assert_close(at.grad, there.grad)
    assert at.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PolynomialNetwork(N, C, K, 1.0, 3.0), "wanted n > 1"),
        (lambda: ReLUNetwork(N, C, K, 3.0), "'relu' has 2"),
        (lambda: ExponentialAM(N, C, K, 31, 3.0), "power = 31 at temperature = 3: wanted n <= 10"),
        (lambda: RBFNetwork(N, C, K, 3.0), "'rbf' has 2"),
        (lambda: RBFNetwork(N, C, K, temperature=0.0), "temperature = 0.0"),
        (lambda: Binarised(network("relu"), threshold=1.0), "threshold = 1.0"),
        (lambda: NearestNeighbour(images(), torch.zeros(6).long(), 1, metric="l1"), "'l1'"),
        (lambda: NearestNeighbour(images(), torch.arange(6), 3), "labels must lie in"),
        (lambda: NearestNeighbour(images() * 3, torch.zeros(6).long(), 1), "-1"),
    ],
)
def test_bad_input_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize("metric", ["l2", "overlap"])
@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_class_without_images_is_never_predicted(metric, absent):
    present = [c for c in range(C) if c != absent]
    v, labels = images(8, seed=1), torch.tensor(present * 4)
    model = NearestNeighbour(v, labels, C, metric=metric)
    assert set(model.predict(images(50)).tolist()) == set(present)
    assert model.log_energy(v)[:, absent].isneginf().all()
    gap = model.energy_gap(v)
    assert gap.isfinite().all()
    assert torch.equal(model(v)[:, absent], -torch.ones(8, dtype=torch.float64))
    others = NearestNeighbour(v, (labels == present[1]).long(), 2, metric=metric)
    torch.testing.assert_close(gap[:, present], others.energy_gap(v), rtol=0, atol=0)


@pytest.mark.parametrize("metric", ["l2", "overlap"])
def test_the_nearest_of_one_class_is_always_that(metric):
    v = images().requires_grad_()
    model = NearestNeighbour(images(4, seed=1), torch.zeros(4, dtype=torch.int64), 1, metric=metric)
    assert model.predict(v).tolist() == [0] * 6
    assert model.energy_gap(v).isfinite().all()
    assert torch.equal(model(v), torch.ones(6, 1, dtype=torch.float64))
    assert denseam.ImageClassifier(model)((v.detach() + 1) / 2).tolist() == [[0.0]] * 6
    model.energy_gap(v).sum().backward()
    assert v.grad.isfinite().all()


def polynomial_of_digits(dtype=torch.float32):
    """Memories that are images, at the preset's temperature: overlaps of 39^29 = 1e46."""
    mnist = denseam.data.load("mnist")
    model = PolynomialNetwork(784, 10, 50, 30, 20.0, dtype=dtype)
    model.memories.data[:, :784] = mnist.train.visible(dtype)[:50]
    return model, mnist.test.visible(dtype)[:40]


def test_powers_beyond_the_range_leave_a_polynomial_network_its_labels():
    model, v = polynomial_of_digits()
    exact, exact_v = polynomial_of_digits(torch.float64)
    exact.memories.data[:, 784:] = model.memories.data[:, 784:].double()
    gap = model.energy_gap(v)
    assert gap.isfinite().all()
    wanted = exact.energy_gap(exact_v)
    assert wanted.abs().max() > torch.finfo(torch.float32).max
    labels = wanted.argmax(dim=1)
    assert len(labels.unique()) > 1
    assert torch.equal(model.predict(v), labels)
    assert torch.equal(gap.argmax(dim=1), labels)
    logits = denseam.ImageClassifier(model)((v + 1) / 2)
    assert logits.isfinite().all()


def test_nor_is_their_gradient_nan():
    model, v = polynomial_of_digits()
    v = v.requires_grad_()
    model(v).sum().backward()
    assert v.grad.isfinite().all()
    assert model.memories.grad.isfinite().all()


@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-37])
def test_any_temperature_leaves_numbers(temperature):
    model = PolynomialNetwork(N, C, K, 3, temperature)
    exact = PolynomialNetwork(N, C, K, 3, 1.0, dtype=torch.float64)
    exact.memories.data = model.memories.data.double()
    v = images().float()
    assert model.energy_gap(v).isfinite().all()
    assert torch.equal(model.predict(v), exact.predict(v.double()))


@pytest.mark.parametrize(("power", "temperature"), [(2, 20.0), (3, 20.0), (5, 20.0), (30, 200.0)])
def test_ordinary_polynomial_networks_keep_their_bits(power, temperature):
    """Trained models rest on them: the formula as it stands, gradients included."""
    mnist = denseam.data.load("mnist").train.visible()[:90]
    model = PolynomialNetwork(784, 10, 40, power, temperature, seed=3)
    model.memories.data[:, :784] = mnist[50:]
    v = mnist[:50].clone().requires_grad_()
    weights = torch.rand(50, 10, generator=torch.Generator().manual_seed(0))
    found = model.energy_gap(v)
    ours = torch.autograd.grad((found * weights).sum(), (v, model.memories))
    hidden = (v @ model.visible_memories.T / temperature).clamp(min=0) ** (power - 1)
    plain = (2 * power / temperature) * (hidden @ model.class_memories)
    theirs = torch.autograd.grad((plain * weights).sum(), (v, model.memories))
    for one, other in zip((found, *ours), (plain, *theirs), strict=True):
        assert torch.equal(one, other)
