"""No attack lands inside a certificate: of any kind, on any model, by the kernels' own labels."""

import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import denseam

from . import models
from .models import (
    DEGENERATE,
    around,
    assert_nothing_inside,
    certificates_of_all_bounds,
    inside,
    length,
    model_of,
    points,
    taught,
)

FINE = 1 - 1e-6  # of a radius: where float32 decides by its rounding
TAUGHT = ("n=3", "n=20", "adversarial", "certified")


def assert_attacks_outside(model, v, certificates, attacked):
    """``attacked`` (B, N) float32 in the box, each nearer than the radius, must keep its label."""
    distances = length(attacked - v.double(), certificates.norm)
    near = (distances <= certificates.radii) & (certificates.radii > 0)
    assert (model.predict(attacked)[near] == certificates.labels[near]).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("power", [2, 3, 30, 300, math.inf])
@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerate_models_keep_their_labels_within_every_bound(kind, power, norm):
    model, v = models.degenerate(kind, power), points(6)
    for certificates in certificates_of_all_bounds(model, v, norm):
        assert_nothing_inside(model, v, certificates)


@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("power", [2, 5, 40, math.inf])
def test_an_exhaustive_search_of_a_plane_and_of_space_finds_nothing(power, norm):
    for n, side in ((2, 61), (3, 17)):
        model, v = model_of(power, n_visible=n, seed=n), points(5, n=n)
        line = torch.linspace(-FINE, FINE, side, dtype=torch.float64)
        for certificates in certificates_of_all_bounds(model, v, norm):
            for image, radius, label in zip(
                v, certificates.radii.tolist(), certificates.labels, strict=True
            ):
                grid = torch.cartesian_prod(*[line] * n) * radius
                if norm == "l2":  # of a cube's shells, the shells of a ball
                    largest = grid.abs().amax(dim=1, keepdim=True)
                    lengths = grid.norm(dim=1, keepdim=True).clamp(min=1e-300)
                    grid = grid * largest / lengths
                near = inside(image, radius, norm, grid)
                assert (model.predict(near) == label).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_float32_decides_as_certified_to_the_edge_of_the_radius(norm):
    """Memories that differ by little of large overlaps: at the edge, rounding is of that size."""
    model, N = model_of(math.inf, n_visible=200, K=9, votes=0.0), 200
    memories, base = model.memories.data, model.memories.data[0, :200].sign()
    memories[:, :N] = base * (1 - 0.01 * memories[:, :N].abs())
    memories[:, N:] = 0.5
    memories[torch.arange(9), N + torch.arange(9) % models.C] += 0.01
    v = base * (0.5 + 0.1 * points(6, n=N))
    shares = FINE * (1 - torch.linspace(0, 2e-4, 200, dtype=torch.float64))
    for bound in ("distance", "pairwise"):
        certificates = denseam.certify(model, v, norm=norm, bound=bound)
        assert (certificates.radii > 0.01).sum() > 3
        for image, radius, label, proof in zip(
            v, certificates.radii, certificates.labels, certificates.proofs, strict=True
        ):
            if proof is None:
                continue
            towards = ways_out(memories[:, :N].double(), proof, norm)
            moves = float(radius) * shares[:, None, None] * towards
            near = inside(image, float(radius), norm, moves.flatten(0, 1))
            assert len(near) > 100
            for batch in (near, near[:1], near[:7]):  # products add in other orders
                assert (model.predict(batch) == label).all()


def ways_out(A, proof, norm):
    """Directions (M, N) of length 1 in which the memories of a proof lose to their rivals."""
    z = [A - A[proof["base"]]]
    for rival, against, multipliers in proof["rivals"]:
        weights = torch.tensor(multipliers, dtype=torch.float64)[:, None]
        z.append((weights * (A[rival] - A[against])).sum(dim=0, keepdim=True))
    towards = torch.cat(z).sign() if norm == "linf" else torch.cat(z)
    sizes = length(towards, norm)[:, None]
    return (towards / sizes)[sizes[:, 0] > 0]


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 7),
    K=st.integers(1, 15),
    classes=st.integers(2, 5),
    power=st.sampled_from([1, 1.5, 2, 2.5, 3, 7, 30, 150, 1e4, math.inf]),
    votes=st.sampled_from([-1.0, 0.0, 0.3, 1.0]),
    norm=st.sampled_from(["l2", "linf"]),
    double=st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_models_of_any_shape_keep_their_labels(seed, n, K, classes, power, votes, norm, double):
    dtype = torch.float64 if double else torch.float32
    model = model_of(
        power, seed=seed, n_visible=n, K=K, votes=votes, classes=classes, dtype=dtype
    )  # fmt: skip
    v = points(3, seed=seed, n=n, dtype=dtype)
    for certificates in certificates_of_all_bounds(model, v, norm):
        assert_nothing_inside(model, v, certificates)


@pytest.fixture(scope="module", params=TAUGHT)
def trained(request):
    return taught(request.param)


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_no_shortest_attack_lands_inside_on_trained_models(trained, norm):
    v, _ = models.images_of_training(12)
    attack = denseam.minimum_norm(trained, v, norm=norm, eight_bit=False)
    proven = 0
    for certificates in certificates_of_all_bounds(trained, v, norm):
        assert_attacks_outside(trained, v, certificates, attack.images)
        distances = length(attack.images - v.double(), norm)
        assert (distances >= certificates.radii)[attack.success].all()
        assert_nothing_inside(trained, v, certificates)
        proven += int((certificates.radii > 0).sum())
    assert proven


@pytest.mark.slow  # many models, many points
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_no_search_lands_inside_on_many_models(norm):
    generator = torch.Generator().manual_seed(7)
    powers = (2, 2.5, 4, 30, 500, math.inf)
    for seed in range(36):
        n, K = (int(torch.randint(2, 20, (), generator=generator)) for _ in range(2))
        model = model_of(powers[seed % 6], seed=seed, n_visible=n, K=K + 2, votes=0.1 * (seed % 11))
        v = points(4, seed=seed, n=n)
        shortest = denseam.minimum_norm(model, v, norm=norm, eight_bit=False)
        for certificates in certificates_of_all_bounds(model, v, norm):
            assert_attacks_outside(model, v, certificates, shortest.images)
            for i, image in enumerate(v):
                radius = float(certificates.radii[i])
                near = around(image, radius, norm, count=1000, seed=seed)
                assert (model.predict(near) == certificates.labels[i]).all()


# ---- other people's attacks ---------------------------------------------------------------------


def pictures_for(model):
    """The model as toolkits take it, and images: visible, and (B, 1, H, W) in [0, 1]."""
    v, _ = models.images_of_training(6)
    return denseam.ImageClassifier(model, scale=100), v, v.reshape(-1, 1, 5, 5) / 2 + 0.5


def visible(pictures):
    return (2 * pictures.double() - 1).flatten(1).clamp(-1, 1).float()


def sharpest(model, v, norm):
    """The radii and labels of the largest certificates, all bounds together."""
    everything = list(certificates_of_all_bounds(model, v, norm))
    return torch.stack([each.radii for each in everything]).amax(dim=0), everything[0].labels


@pytest.mark.slow  # other people's attack, image by image
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_autoattack_at_the_radius_lands_outside(trained, norm):
    pyautoattack = pytest.importorskip("pyautoattack", reason="needs denseam[robustness]")
    there, v, pictures = pictures_for(trained)
    radii, labels = sharpest(trained, v, norm)
    for i in (radii > 0).nonzero()[:2, 0].tolist():
        attack = pyautoattack.AutoAttack(
            there, attacks=["apgd-ce", "apgd-dlr", "fab-t", "square"], seed=0, version="custom",
            norm=norm.capitalize(), eps=float(radii[i]) / 2,
        )  # fmt: skip
        attack.apgd.n_iter = attack.fab.n_iter = 20
        attack.apgd.n_restarts = attack.fab.n_restarts = attack.fab.n_target_classes = 2
        attack.square.n_queries = 200
        moved, _ = attack.run_standard_evaluation(pictures[[i]], labels[[i]])
        near = length(visible(moved) - v[[i]].double(), norm) <= radii[i]
        assert (trained.predict(visible(moved))[near] == labels[i]).all()


@pytest.mark.slow  # numba compiles the attack: half a minute for its L2 form, as long for Linf
def test_brendel_bethge_from_many_starts_lands_outside(trained):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please import `gaussian_filter`", DeprecationWarning)
        foolbox = pytest.importorskip("foolbox", reason="needs denseam[robustness]")
    pytest.importorskip("numba", reason="needs denseam[robustness]")
    there, v, pictures = pictures_for(trained)
    radii, labels = sharpest(trained, v, "l2")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "At the first initialisation")
        attack = foolbox.attacks.L2BrendelBethgeAttack(steps=60, lr=1e-2)
    everywhere = points(400, n=25)
    for start in range(0, 400, 100):
        some = everywhere[start:]
        starts = torch.stack([some[trained.predict(some) != label][0] for label in labels])
        moved = visible(attack(
            foolbox.PyTorchModel(there, bounds=(0, 1)), pictures, labels, epsilons=None,
            starting_points=starts.reshape(pictures.shape) / 2 + 0.5,
        )[0])  # fmt: skip
        near = length(moved - v.double(), "l2") <= radii
        assert (trained.predict(moved)[near] == labels[near]).all()
