"""Small models of every kind, and searches within certificates."""

import math

import torch
from tests.training.small import dataset, images, recipe

import denseam
from denseam.certificates import BOUNDS
from denseam.certificates.fields import fields_of

N, C = 3, 3
DEGENERATE = ("equal", "pairs", "dead", "all dead", "tied votes", "both signs", "near")


def model_of(power, *, seed=0, n_visible=N, K=12, dtype=torch.float32, votes=0.5, classes=C):
    """A model whose memories vote for one class each, so that there are margins to prove."""
    model = denseam.DenseAM(
        n_visible, classes, K, power=power, temperature=1.0, seed=seed, dtype=dtype
    )
    generator = torch.Generator().manual_seed(seed)
    memories = 2 * torch.rand(K, n_visible + classes, generator=generator, dtype=dtype) - 1
    memories[:, n_visible:] *= 0.1
    memories[torch.arange(K), n_visible + torch.arange(K) % classes] += votes
    model.memories.data = memories.clamp(-1, 1)
    return model


def degenerate(kind, power=math.inf):
    model = model_of(power)
    memories = model.memories.data
    if kind == "equal":
        memories[:] = memories[:1]
    elif kind == "pairs":
        memories[6:, :N] = memories[:6, :N]
    elif kind == "dead":
        memories[::2] = -1.0
    elif kind == "all dead":
        memories[:, :N], memories[:, N:] = 0.0, -1.0
    elif kind == "tied votes":
        memories[:, N:] = 0.5
    elif kind == "both signs":
        memories[:, N:] = memories[:, N:].sign()
    elif kind == "near":
        memories[:, :N] = memories[:1, :N] + 1e-4 * memories[:, :N]
        memories[:, N:] = memories[:1, N:] + 1e-5 * memories[:, N:]
    return model


def taught(kind):
    """A model of 25 pixels after a few epochs of training of this kind."""
    choices = {
        "n=3": recipe(3, 6),
        "n=20": recipe(20, 6),
        "adversarial": recipe(
            3, 6, objective="cross-entropy", logit_scale=20.0, adversarial="l2:0.4"
        ),
        "certified": denseam.Recipe.paper(
            network="prototypes", epochs=6, n_memories=12, per_class=5, certify="l2:1"
        ),
    }
    return denseam.train(choices[kind], dataset(), progress=False).model


def images_of_training(count):
    """Images for ``taught`` (count, 25), and their classes."""
    test = images(count, seed=2)
    return test.visible(), test.labels


def points(count, seed=1, n=N, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, n, generator=generator, dtype=dtype) - 1


def length(moved, norm):
    """The size of changes (B, N), in float64."""
    return torch.linalg.vector_norm(moved.double(), ord=2 if norm == "l2" else math.inf, dim=1)


def around(v, radius, norm, count=400, seed=2):
    """Points (count, N) within a radius of v, in the box, most of them at its edge."""
    generator = torch.Generator().manual_seed(seed)
    d = torch.randn(count, len(v), generator=generator, dtype=torch.float64)
    d = d.sign() if norm == "linf" else d / d.norm(dim=1, keepdim=True)
    share = torch.rand(count, 1, generator=generator, dtype=torch.float64) ** 0.05
    return inside(v, radius, norm, (1 - 1e-7) * radius * share * d)


def inside(v, radius, norm, moves):
    """Points of moves (count, N) float64 that float32 leaves within the box and the radius."""
    moved = (v.double() + moves).clamp(-1, 1).to(v.dtype)
    return moved[length(moved - v.double(), norm) < radius]


def assert_nothing_inside(model, v, certificates):
    for i in range(len(v)):
        radius = float(certificates.radii[i])
        if radius > 0:
            near = around(v[i], radius, certificates.norm)
            assert (model.predict(near) == certificates.labels[i]).all(), f"image {i}, {radius}"


def certificates_of_all_bounds(model, v, norm):
    """Certificates of every bound that serves a model, for its own labels."""
    fields = fields_of(model)
    for bound, row in BOUNDS.items():
        if row.serves(fields):
            yield denseam.certify(model, v, norm=norm, bound=bound)
