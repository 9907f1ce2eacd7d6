"""Statistics of trained memories (Fig. 2): shared features, or prototypes of one class.

NIPS16 (arXiv 1606.01164) counts for how many classes a memory votes, and how many memories decide
about an image.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from denseam.checks import image_shape, seed_of, whole
from denseam.classifier import Classifier
from denseam.data import Examples
from denseam.errors import InputError
from denseam.evaluation import check_fit, visible_parts, wilson_interval
from denseam.kernels import choose
from denseam.kernels.autograd import CHUNK
from denseam.showing import Drawn, Shown

FIRM = 0.99
"""A vote this large has been driven to the edge of [-1, 1], where training clips it."""

STRONG = 0.9
"""NIPS16: a memory contributes strongly above this fraction of the largest contribution."""


@dataclass(frozen=True, repr=False)
class MemoryStatistics(Shown, Drawn):
    """Statistics of K memories for C classes, on M images; histograms count memories or images.

    Attributes:
        power: n.
        n_memories: K.
        n_dead: memories whose field is positive for no image, whatever class neuron is on.
        votes: (C + 1,) memories that vote for 0, 1, ..., C classes.
        live_votes: (C + 1,) the same without the dead ones.
        firm_votes: (C + 1,) memories by their votes above ``FIRM``.
        live_firm_votes: (C + 1,) the same without the dead ones.
        n_images: M.
        contributor_bins: (0, 0), (1, 1), (2, 3), (4, 7), ...
        contributors: images on which that many memories contribute strongly.
        prototype_mean: of the live memories' ``prototype_scores``; NaN without any.
        prototype_median: of the same.
    """

    _figure: ClassVar[str] = "votes"

    power: float
    n_memories: int
    n_dead: int
    votes: tuple[int, ...]
    live_votes: tuple[int, ...]
    firm_votes: tuple[int, ...]
    live_firm_votes: tuple[int, ...]
    n_images: int
    contributor_bins: tuple[tuple[int, int], ...]
    contributors: tuple[int, ...]
    prototype_mean: float
    prototype_median: float

    def _summary(self) -> str:
        return (
            f"n = {self.power:g}, {self.n_memories} memories, {self.n_dead} of them dead; "
            f"{100 * self.one_vote:.1f} % vote for one class; one decides about "
            f"{self.one_contributor} of {self.n_images} images"
        )

    @property
    def one_vote(self) -> float:
        """The fraction of memories that vote for exactly one class (NIPS16: over 0.4 at n = 30)."""
        return self.votes[1] / self.n_memories

    @property
    def one_firm_vote(self) -> float:
        """The fraction of live memories with exactly one vote above ``FIRM``; NaN without any."""
        living = self.n_memories - self.n_dead
        return self.live_firm_votes[1] / living if living else math.nan

    @property
    def one_contributor(self) -> int:
        """The number of images with one strong contribution (NIPS16: over 8000 of 10000)."""
        return self.contributors[1]

    @property
    def one_contributor_interval(self) -> tuple[float, float]:
        """The 95 % interval of that number, as a fraction of the images."""
        return wilson_interval(self.one_contributor, self.n_images)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, null instead of NaN."""
        names = ("prototype_mean", "prototype_median", "one_vote", "one_firm_vote")
        values = {name: getattr(self, name) for name in names}
        return {
            **self.__dict__,
            **{name: None if math.isnan(value) else value for name, value in values.items()},
            "one_contributor": self.one_contributor,
            "one_contributor_interval": self.one_contributor_interval,
        }


def memory_statistics(model: Classifier, images: Examples, reference: Examples) -> MemoryStatistics:
    """Return votes, strong contributions and likeness to real images of a model's memories.

    A memory votes for the classes whose component xi_alpha is positive. Its contribution to an
    image is F_n(on) with the neuron of the *predicted* class on, compared with the largest one.
    Without an active memory none counts.

    Args:
        model: the network with these memories.
        images: for contributions: the test images in NIPS16.
        reference: for likeness, usually training images.

    Raises:
        InputError: when ``images`` or ``reference`` do not fit the model, or it has no energy.
    """
    check_fit(model, images)
    alive, counts = _contributions(model, images)
    scores = prototype_scores(model, reference)
    bins = _bins(model.n_memories)
    classes = model.class_memories.detach()
    votes, firm = ((classes > least).sum(dim=1) for least in (0, FIRM))
    living = scores[alive].double()
    return MemoryStatistics(
        power=model.power,
        n_memories=model.n_memories,
        n_dead=int((~alive).sum()),
        votes=_histogram(votes, model.n_classes),
        live_votes=_histogram(votes[alive], model.n_classes),
        firm_votes=_histogram(firm, model.n_classes),
        live_firm_votes=_histogram(firm[alive], model.n_classes),
        n_images=len(images),
        contributor_bins=bins,
        contributors=tuple(int(((low <= counts) & (counts <= high)).sum()) for low, high in bins),
        prototype_mean=float(living.mean()),
        prototype_median=float(living.quantile(0.5)) if len(living) else math.nan,
    )


def live_memories(model: Classifier, images: Examples) -> Tensor:
    """Return True for each memory that is active for some image and class: (K,) bool.

    Raises:
        InputError: when ``images`` do not fit the model, or it has no energy.
    """
    check_fit(model, images)
    return _contributions(model, images)[0]


def prototype_scores(model: Classifier, reference: Examples) -> Tensor:
    """Return how much each memory looks like some image, (K,) in [-1, 1].

    The largest Pearson correlation of its visible part with an image of the set, behind a front
    with what that makes of one: 1 for a copy, up to brightness and contrast; 0 with anything
    constant.

    Raises:
        InputError: when ``reference`` does not fit the model.
    """
    check_fit(model, reference)
    memories, N = model.visible_memories.detach(), model.n_seen
    parts = (model.neurons(model.visible(part)) for part in visible_parts(model, reference))
    return _likeness(memories, (part[:, :N] for part in parts))


def likeness(visible: Tensor, reference: Examples) -> Tensor:
    """Return how much each of B images looks like some image of a set, (B,) in [-1, 1].

    The largest Pearson correlation with one of them, as in ``prototype_scores``.

    Args:
        visible: (B, N) floating.
        reference: images of N pixels.

    Raises:
        InputError: when the sizes differ.
    """
    if visible.ndim != 2 or visible.shape[1] != reference.n_inputs:
        raise InputError(
            f"visible is {tuple(visible.shape)}: wanted (B, {reference.n_inputs}), as the images "
            f"of {reference.name}"
        )
    places = torch.split(torch.arange(len(reference)), CHUNK)
    subsets = (reference.subset(some) for some in places)
    return _likeness(visible, (each.inputs(visible.dtype, visible.device) for each in subsets))


def _likeness(visible: Tensor, parts: Iterable[Tensor]) -> Tensor:
    """Return the largest correlation of each row (B, N) with a row of the parts, (B,)."""
    kernel = choose(visible.device, visible.dtype).kernel
    rows = _standard(visible)
    best = rows.new_full((len(rows),), -1.0)
    with torch.no_grad():
        for images in parts:
            best = torch.maximum(best, kernel.overlaps(_standard(images), rows).amax(dim=1))
    return best.clamp(max=1.0)


def pick_memories(
    model: Classifier,
    count: int = 25,
    seed: int = 0,
    *,
    shape: tuple[int, int] | None = None,
    among: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return random memories to look at (Fig. 2), all equally likely.

    Args:
        model: the network with these memories.
        count: the number of memories, all different.
        seed: the same seed takes the same places in any model of K memories.
        shape: (H, W) of an image; by default a square.
        among: (K,) bool, the memories to pick from, such as ``live_memories``; by default all, dead
            ones too.

    Returns:
        Their visible parts, (count, H, W) in [-1, 1], and their places in the model, (count,).

    Raises:
        InputError: for another count, or a shape that is not that of N pixels.
    """
    chosen = _to_pick(model, among)
    count = whole("count", count, 1, len(chosen))
    side = round(model.n_visible**0.5)
    height, width = image_shape("shape", shape or (side, side), model.n_visible)
    generator = torch.Generator().manual_seed(seed_of(seed))
    chosen = chosen[torch.randperm(len(chosen), generator=generator)[:count]]
    visible = model.visible_memories.detach().cpu()[chosen]
    return visible.reshape(count, height, width), chosen


def _to_pick(model: Classifier, among: Tensor | None) -> Tensor:
    """Return the places of the memories to pick from, (at most K,) int64."""
    if among is None:
        return torch.arange(model.n_memories)
    if among.dtype is not torch.bool or among.shape != (model.n_memories,):
        shape, dtype = tuple(among.shape), among.dtype
        raise InputError(f"among: wanted bools ({model.n_memories},), got {shape} {dtype}")
    return among.cpu().nonzero().flatten()


def _contributions(model: Classifier, images: Examples) -> tuple[Tensor, Tensor]:
    """Return the live memories, (K,) bool, and counts of strong contributions, (M,)."""
    if not model.has_energy:
        raise InputError(f"contributions to an energy: wanted a DenseAM, not {model.kind!r}")
    alive, counts = torch.zeros(model.n_memories, dtype=torch.bool), []
    for inputs in visible_parts(model, images):
        active, shares = model.contributions(inputs)
        alive = alive.to(active.device) | active
        counts.append((shares > STRONG).sum(dim=0))
    return alive, torch.cat(counts)


def _standard(rows: Tensor) -> Tensor:
    """Return rows (B, N) with mean 0 and length 1, or 0 if constant: products are correlations."""
    low, high = rows.aminmax(dim=1, keepdim=True)
    centred = rows - rows.mean(dim=1, keepdim=True)
    length = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    return torch.where(high > low, centred / torch.where(high > low, length, 1), 0.0)


def _bins(most: int) -> tuple[tuple[int, int], ...]:
    """Return (0, 0), (1, 1), (2, 3), (4, 7), ..., up to ``most``."""
    edges = [0, 1]
    while edges[-1] <= most:
        edges.append(2 * edges[-1])
    return tuple((low, min(high - 1, most)) for low, high in pairwise(edges))


def _histogram(counts: Tensor, most: int) -> tuple[int, ...]:
    return tuple(torch.bincount(counts, minlength=most + 1).tolist())
