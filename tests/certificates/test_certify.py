"""Certificates: nothing lands inside, proofs that are altered are refused, every bound holds."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import denseam
from denseam.baselines import NearestNeighbour, PolynomialNetwork, ReLUNetwork
from denseam.certificates import BOUNDS, Certificates, verify
from denseam.certificates.dual import least_distance
from denseam.certificates.fields import fields_of
from denseam.certificates.result import join
from denseam.certificates.verifier import Verifier
from denseam.errors import FileFormatError, InputError

from .models import C, N, assert_nothing_inside, degenerate, length, model_of, points

MODELS = {
    **{f"n={n}": (lambda n=n: model_of(n)) for n in (1, 2, 3, 30, 300, math.inf)},
    **{kind: (lambda kind=kind: degenerate(kind))
       for kind in ("equal", "pairs", "dead", "tied votes", "both signs")},
    "float64": lambda: model_of(math.inf, dtype=torch.float64),
    "nearest": lambda: NearestNeighbour(points(12), torch.arange(12) % C, C),
    "overlap": lambda: NearestNeighbour(points(12), torch.arange(12) % C, C, metric="overlap"),
}  # fmt: skip


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("name", MODELS)
def test_no_search_lands_inside_a_certificate(name, norm):
    model = MODELS[name]()
    dtype = model.memories.dtype
    v = points(12, dtype=dtype)
    labels = model.predict(v)
    fields = fields_of(model)
    for bound, row in BOUNDS.items():
        if row.serves(fields):
            certificates = denseam.certify(model, v, labels, norm=norm, bound=bound)
            assert_nothing_inside(model, v, certificates)
            assert verify(model, v, certificates).all()


def test_exponential_energies_have_certificates():
    model = denseam.DenseAM(
        N, C, 12, energy=denseam.energies.Exponential(50.0), temperature=1.0
    )  # fmt: skip
    model.memories.data = model_of(3).memories.data
    v = points(12)
    certificates = denseam.certify(model, v)
    assert float(certificates.radii.max()) > 0.05
    assert_nothing_inside(model, v, certificates)


def test_images_as_people_have_them_are_certified_as_predict_takes_them():
    test = denseam.data.load("mnist").test[:5]
    model = denseam.DenseAM(784, 10, 30, power=math.inf, temperature=1.0)
    model.memories.data = torch.cat([test.visible().repeat(6, 1), torch.eye(10).repeat(3, 1)], 1)
    expected = denseam.certify(model, test.visible())
    for images in (test, test.images, test.images.numpy(), list(test.visible())):
        certificates = denseam.certify(model, images)
        assert torch.equal(certificates.radii, expected.radii)
        assert verify(model, images, certificates).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("box", [True, False])
def test_the_least_distance_is_that_of_an_exhaustive_search(box, norm):
    model, v = model_of(math.inf, n_visible=2), points(8, n=2)
    certificates = denseam.certify(model, v, norm=norm, box=box)
    side = torch.linspace(-1, 1, 801, dtype=torch.float64)
    if not box:
        side = 2.5 * side
    grid = torch.cartesian_prod(side, side)
    labels = model.double().exact_scores(grid).argmax(dim=1)
    for i, image in enumerate(v.double()):
        other = grid[labels != certificates.labels[i]]
        nearest = float(length(other - image, norm).min())
        assert nearest - 0.01 * (1 if box else 2.5) < float(certificates.radii[i]) <= nearest


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_box_and_more_memories_make_radii_longer(norm):
    model, v = model_of(math.inf, n_visible=10, K=60), points(40, n=10)
    pairwise = denseam.certify(model, v, norm=norm, bound="pairwise", box=False).radii
    free = denseam.certify(model, v, norm=norm, box=False).radii
    boxed = denseam.certify(model, v, norm=norm).radii
    assert (free >= 0.999 * pairwise).all()
    assert (boxed >= 0.999 * free).all()
    assert float((boxed - free).max()) > 0.005
    assert float((free - pairwise).max()) > 0.005


def test_radii_grow_with_n_to_those_of_the_limit():
    v = points(30, seed=5)
    limit = model_of(math.inf)
    medians = []
    for power in (30, 300, 3000, 100_000):
        model = model_of(power)
        same = model.predict(v) == limit.predict(v)
        radii = denseam.certify(model, v, bound="distance").radii
        medians.append(float(radii[same].median()))
    assert medians == sorted(medians)
    assert medians[-1] <= float(denseam.certify(limit, v).radii.median())
    assert medians[-1] > 0.9 * float(denseam.certify(limit, v).radii.median())


@pytest.mark.parametrize("power", [3, 30])
def test_slabs_prove_more_of_a_sum_of_powers(power):
    """The verifier needs as many slabs as the proof names; random search finds nothing inside."""
    model, v = model_of(power, n_visible=6, K=30), points(30, n=6)
    certificates = denseam.certify(model, v, bound="votes")
    assert_nothing_inside(model, v, certificates)
    verifier = Verifier(fields_of(model), "l2", box=True)
    ratios = []
    for image, label, proof in zip(v, certificates.labels, certificates.proofs, strict=True):
        if proof is not None:
            row, whole, radius = np.asarray(image[None].double()), {**proof, "depth": 0}, 0.0
            assert verifier(row, [int(label)], [proof]) == [True]
            for share in (1.0, 0.9, 0.8, 0.6, 0.4, 0.2):
                if verifier(row, [int(label)], [{**whole, "radius": share * proof["radius"]}])[0]:
                    radius = share
                    break
            ratios.append(radius)
    assert len(ratios) > 10
    assert np.median(ratios) < 0.95


def test_attacks_stay_outside_of_certificates():
    model, v = model_of(math.inf, n_visible=8, K=30), points(40, n=8)
    for norm in ("l2", "linf"):
        certificates = denseam.certify(model, v, norm=norm)
        attack = denseam.minimum_norm(model, v, norm=norm, eight_bit=False)
        moved = (attack.images - v).double()
        order = 2 if norm == "l2" else math.inf
        distances = torch.linalg.vector_norm(moved, ord=order, dim=1)[attack.success]
        assert (distances >= certificates.radii[attack.success]).all()
        if norm == "l2":  # the certificate is the distance itself
            ratio = certificates.radii[attack.success] / distances
            assert float(ratio.median()) > 0.99


@pytest.mark.parametrize("kind", [ReLUNetwork, PolynomialNetwork])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_networks_of_one_layer_have_a_lipschitz_bound(kind, norm):
    model = kind(N, C, 12, power=2 if kind is ReLUNetwork else 3.5, temperature=1.0, seed=3)
    model.memories.data *= 3
    v = points(20)
    certificates = denseam.certify(model, v, norm=norm)
    assert float(certificates.radii.max()) > 0
    assert_nothing_inside(model, v, certificates)
    assert verify(model, v, certificates).all()


def alterations(proof):
    """The proof with one number made wrong, each in turn."""
    for factor in (1.02, 1.5):
        yield {**proof, "radius": proof["radius"] * factor}
    for i, (_, _, multipliers) in enumerate(proof.get("rivals", [])):
        for j in range(len(multipliers)):
            for value in (-multipliers[j], multipliers[j] * 1e6, math.nan):
                altered = copy.deepcopy(proof)
                altered["rivals"][i][2][j] = value
                yield altered
    for name in ("rivals", "base", "bound", "depth"):
        if name in proof:
            yield {key: value for key, value in proof.items() if key != name}
    yield {**proof, "radius": -1.0}
    yield {**proof, "radius": math.nan}
    yield {**proof, "bound": "hope"}


@pytest.mark.parametrize("power", [3, 30, math.inf])
def test_an_altered_proof_is_refused(power):
    model, v = model_of(power, n_visible=6, K=30), points(30, n=6)
    model.memories.data[:, 6:] = model.memories.data[:, 6:].clamp(-0.2, 0.6)
    certificates = denseam.certify(model, v)
    verifier = Verifier(fields_of(model), "l2", box=True)
    rows = [i for i, proof in enumerate(certificates.proofs) if proof is not None]
    assert rows
    several = 0
    for i in rows:
        proof, image = certificates.proofs[i], np.asarray(v[[i]].double())
        label = [int(certificates.labels[i])]
        assert verifier(image, label, [proof]) == [True]
        several += any(len(rival[1]) > 1 for rival in proof.get("rivals", []))
        for altered in alterations(proof):
            assert verifier(image, label, [altered]) == [False], altered
        other = [(label[0] + 1) % C]
        assert verifier(image, other, [proof]) == [False]
    assert several or power != math.inf


@given(seed=st.integers(0, 10_000), n=st.integers(1, 4), m=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_the_dual_is_below_every_feasible_point(seed, n, m):
    generator = torch.Generator().manual_seed(seed)
    C_, d = torch.randn(1, m, n, generator=generator), torch.rand(1, m, generator=generator)
    low, high = -torch.rand(1, n, generator=generator), torch.rand(1, n, generator=generator)
    lam = least_distance(C_, d, low, high)
    assert (lam >= 0).all()
    z = (lam[:, None] @ C_)[:, 0].double()
    delta = z.clamp(low.double(), high.double())
    value = float((lam * d).sum() - (z * delta - delta**2 / 2).sum())
    tried = low + (high - low) * torch.rand(3000, n, generator=generator)
    feasible = tried[(tried @ C_[0].T >= d[0]).all(dim=1)]
    if len(feasible):
        assert 2 * value <= float(feasible.square().sum(dim=1).min()) + 1e-5


def test_wrong_images_have_radius_0_and_files_come_back(tmp_path):
    model, v = model_of(math.inf), points(10)
    labels = (model.predict(v) + (torch.arange(10) % 2)) % C
    certificates = denseam.certify(model, v, labels)
    assert (certificates.radii[1::2] == 0).all()
    assert certificates.error == 0.5
    assert certificates.accuracy(0) <= 0.5
    certificates.save(tmp_path / "proofs.json")
    loaded = Certificates.load(tmp_path / "proofs.json")
    assert torch.equal(loaded.radii, certificates.radii)
    assert verify(model, v, loaded).all()
    both = join([certificates, loaded])
    assert len(both) == 20
    assert both.accuracy(0.01) == certificates.accuracy(0.01)
    assert list(certificates.to_frame()["radius_visible"]) == certificates.radii.tolist()
    assert "certified" in repr(certificates)
    certificates.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 0
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(FileFormatError):
        Certificates.load(tmp_path / "other.json")


def test_a_claim_beyond_its_proof_is_refused():
    model, v = model_of(math.inf), points(10)
    certificates = denseam.certify(model, v)
    more = Certificates(**{**vars(certificates), "radii": certificates.radii * 1.1})
    assert not verify(model, v, more)[certificates.radii > 0].any()


class Turned(nn.Module):
    """A front that turns its inputs: distances stay."""

    n_inputs = N
    lipschitz, rounding = 1 + 1e-6, 1e-5

    def __init__(self):
        super().__init__()
        self.turn = torch.linalg.qr(torch.randn(N, N, generator=torch.Generator().manual_seed(4)))[
            0
        ]

    def forward(self, inputs):
        return inputs @ self.turn


def test_a_front_that_lengthens_nothing_carries_certificates_through():
    plain = model_of(math.inf)
    model = denseam.DenseAM(N, C, 12, power=math.inf, temperature=1.0, front=Turned())
    model.memories.data = plain.memories.data
    v = points(20) / 2
    certificates = denseam.certify(model, v)
    assert not certificates.box
    expected = denseam.certify(plain, v @ model.front.turn, box=False)
    assert torch.allclose(certificates.radii, expected.radii, rtol=1e-3, atol=1e-4)
    assert_nothing_inside(model, v, certificates)


class Coarse(nn.Module):
    """A front that means the identity, and rounds."""

    n_inputs = N
    lipschitz, rounding = 1.0, 0.1 * N**0.5

    def forward(self, inputs):
        return (inputs / 0.2).round() * 0.2


def test_the_rounding_of_a_front_is_in_the_margin():
    model = denseam.DenseAM(N, C, 12, power=math.inf, temperature=1.0, front=Coarse())
    model.memories.data = model_of(math.inf).memories.data
    v = points(200)
    certificates = denseam.certify(model, v)
    assert int((certificates.radii > 0).sum()) > 20
    assert_nothing_inside(model, v, certificates)
    assert verify(model, v, certificates).all()
    more = Certificates(**{**vars(certificates), "radii": certificates.radii + 0.02})
    assert not verify(model, v, more)[certificates.radii > 0].any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm": "l1"}, "norm"),
        ({"bound": "hope"}, "bound"),
        ({"bound": "votes"}, "not for this energy"),
        ({"chunk": 0}, "chunk"),
    ],
)
def test_errors_of_users(change, words):
    with pytest.raises(InputError, match=words):
        denseam.certify(model_of(math.inf), points(2), **change)


def test_models_without_a_bound_say_so():
    rbf = denseam.baselines.RBFNetwork(N, C, 5)
    with pytest.raises(InputError, match="has no fields"):
        denseam.certify(rbf, points(2))
    front = denseam.fronts.Pixels((2, 2), (2, 2))
    model = denseam.DenseAM(4, C, 5, power=3, temperature=1.0, front=front)
    for name in ("lipschitz", "rounding"):
        with pytest.raises(InputError, match=f"no number `{name}`"):
            denseam.certify(model, torch.zeros(1, 2, 2))
        setattr(front, name, 1.0)
