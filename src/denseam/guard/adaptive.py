"""The attacker who knows the guard: an image must be accepted *and* wrong, or junk and accepted.

Orthogonal projected gradient descent (Bryniarski et al. 2021) through detector and classifier:
while the label is right, a step down the classifier's margin; once it is wrong and the image is
rejected, a step down the detector's score; each without the part that would undo the other. The
radius around the clean image shrinks wherever an image is accepted and wrong, and grows elsewhere
(as in DDN, Rony et al. 2019), so that what is found is near. Starts are the nearest image that
fools the classifier alone, accepted clean images of other classes, and the image with noise.
Whatever is found is drawn back towards the image by bisection, and counts only if
``Guard.predict`` says so.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from denseam.checks import choice, number, seed_of, whole
from denseam.data.validate import check_labels, check_visible
from denseam.descent import minimum_norm
from denseam.descent.heads import own_and_best_other
from denseam.guard.guard import Guard
from denseam.guard.model import GuardedModel
from denseam.guard.verdict import JUNK
from denseam.heads import Norm
from denseam.showing import Shown

_SHRINK, _GROW = 0.98, 1.03  # of the radius, at a success and elsewhere
_BISECTIONS = 12
_ROOM = 1e-3  # of a threshold: how far on the right side a step aims


@dataclass(frozen=True, repr=False)
class AdaptiveResult(Shown):
    """The nearest image found that is accepted and wrong, for each clean one.

    Attributes:
        images: (B, N); the clean image where none was found.
        success: (B,) bool, by ``Guard.predict``.
        distance: (B,) float64, visible units, of the norm asked for; infinite where none was found,
            0 where the clean image is accepted and wrong as it is.
    """

    images: Tensor
    success: Tensor
    distance: Tensor

    def _summary(self) -> str:
        near = self.distance[self.success]
        middle = f", median distance {float(near.median()):.3g}" if len(near) else ""
        return f"{int(self.success.sum())} of {len(self.success)} images get through{middle}"

    def rate(self, budget: float) -> float:
        """Return the share of images with a success within ``budget``, visible units."""
        return float((self.distance <= budget * (1 + 1e-6)).double().mean())


def adaptive_attack(
    guard: Guard,
    visible: Tensor,
    labels: Tensor,
    *,
    pool: Tensor | None = None,
    norm: Norm = "l2",
    steps: int = 200,
    restarts: int = 3,
    budget: float | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> AdaptiveResult:
    """Look for the nearest images that are accepted with a wrong label.

    Args:
        guard: calibrated; detector and classifier with gradients, see `GuardedModel`.
        visible: (B, N) clean images in [-1, 1].
        labels: (B,) right labels.
        pool: (M, N) clean images, of which accepted ones with another label are starts too.
        norm: of the distance.
        steps: gradients of every restart, > 0.
        restarts: the first from where the classifier alone is fooled, then in turn from the pool
            and from noise, > 0.
        budget: most distance, visible units, which all steps then may go; the default is none, and
            the nearest image is looked for from 2 in L2, 0.2 in Linf.
        seed: of noise and of the choice from the pool.
        on_progress: told of restarts done and restarts in all.

    Raises:
        InputError: for images or labels that do not fit the guard, or numbers out of range.
    """
    check_visible(visible, guard.n_visible, allow_empty=False)
    check_labels(labels, guard.n_classes or int(labels.max()) + 1, len(visible))
    norm, steps = choice("norm", norm, get_args(Norm)), whole("steps", steps)
    restarts = whole("restarts", restarts)
    budget = None if budget is None else number("budget", budget, above=0, unit="visible units")
    search = _Search(guard, visible.float(), labels, norm)
    generator = torch.Generator().manual_seed(seed_of(seed))
    search.keep(search.clean)
    for restart in range(restarts):
        start = _start(search, pool, restart, generator)
        search.keep(start)
        search.run(start, steps, budget)
        search.draw_back()
        if on_progress is not None:
            on_progress(restart + 1, restarts)
    return AdaptiveResult(search.best, search.distance.isfinite(), search.distance)


def accept_noise(
    guard: Guard, noise: Tensor, *, steps: int = 200, step: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Descend the detector's score from noise (B, N) until the guard accepts.

    Args:
        guard: calibrated, of a detector with gradients.
        noise: where to begin, in [-1, 1].
        steps: most steps.
        step: L2 length of the first one, visible units; it falls to a tenth.

    Returns:
        The images, as they were when first accepted or else at the end, and which are accepted
        (B,) bool by ``Guard.predict``.
    """
    model, images = GuardedModel(guard), noise.float().clone()
    first, accepted = images.clone(), torch.zeros(len(images), dtype=torch.bool)
    for k in range(steps):
        now = guard.predict(images).accepted & ~accepted
        first[now] = images[now]
        accepted |= now
        if bool(accepted.all()):
            break
        _, slope = _slope(model.score, images)
        images = (images - step * (1 - 0.9 * k / steps) * _unit(slope)).clamp(-1, 1)
    first[~accepted] = images[~accepted]
    return first, accepted


class _Search:
    """The best found so far, for all images at once."""

    def __init__(self, guard: Guard, clean: Tensor, labels: Tensor, norm: Norm) -> None:
        self.guard, self.model = guard, GuardedModel(guard)
        self.clean, self.labels, self.norm = clean, labels, norm
        self.best = clean.clone()
        self.distance = torch.full((len(clean),), torch.inf, dtype=torch.float64)

    def fooled(self, images: Tensor) -> Tensor:
        """Return which images are accepted and wrong by exact verdicts, (B,) bool."""
        verdicts = self.guard.predict(images)
        return verdicts.accepted & (verdicts.labels != self.labels)

    def far(self, images: Tensor) -> Tensor:
        """Return distances from the clean images, (B,) float64."""
        moved = (images - self.clean).double()
        return moved.norm(dim=1) if self.norm == "l2" else moved.abs().amax(dim=1)

    def keep(self, images: Tensor) -> Tensor:
        """Remember images that fool the guard and are nearer than before; return which fool it."""
        fooled, far = self.fooled(images), self.far(images)
        better = fooled & (far < self.distance)
        self.best[better], self.distance[better] = images[better], far[better]
        return fooled

    def run(self, start: Tensor, steps: int, budget: float | None) -> None:
        """Steps from ``start``, the radius following success and failure, or the budget."""
        images = start.clone()
        radius = budget or (2.0 if self.norm == "l2" else 0.2)
        radii = torch.full((len(images),), radius, dtype=torch.float64)
        known = self.distance.isfinite() & (self.distance > 0)
        if budget is None:
            radii[known] = self.distance[known]
        for k in range(steps):
            length = 0.1 * radii * (1 - 0.9 * k / steps)
            images = self.inside(images - self.step(images, length), radii)
            fooled = self.keep(images)
            if budget is None:
                radii = torch.where(
                    fooled, self.far(images).clamp(max=radii) * _SHRINK, radii * _GROW
                )

    def step(self, images: Tensor, length: Tensor) -> Tensor:
        """Return a step (B, N) down the margin while the label is right, then down the score."""
        margin, to_wrong = _slope(self.margin, images)
        score, to_accepted = _slope(self.model.score, images)
        threshold = self.model.threshold
        rejected = score > threshold - _ROOM * abs(threshold)
        right = margin > -_ROOM
        first = _without(to_wrong, to_accepted)
        second = _without(to_accepted, to_wrong)
        neither = _unit(to_wrong) * 0  # fooled already: only the radius shrinks
        way = torch.where(right[:, None], first, torch.where(rejected[:, None], second, neither))
        # In Linf too along the gradient, not its sign, which cannot leave pixels as they are.
        far = length if self.norm == "l2" else length * math.sqrt(images.shape[1])
        return (far[:, None] * _unit(way)).to(images.dtype)

    def margin(self, images: Tensor) -> Tensor:
        """Return the right label's lead over the best other one, (B,), relative to the spread."""
        logits = self.model.logits(images)
        own, other = own_and_best_other(logits, self.labels)
        spread = (logits - logits.mean(dim=1, keepdim=True)).detach().abs().amax(dim=1)
        return (own - other) / spread.clamp(min=torch.finfo(logits.dtype).tiny)

    def inside(self, images: Tensor, radii: Tensor) -> Tensor:
        """Return images moved into their radius around the clean ones, and into [-1, 1]."""
        moved, limit = images - self.clean, radii[:, None].to(images.dtype)
        if self.norm == "linf":
            moved = moved.clamp(-limit, limit)
        else:
            moved = moved * (limit / moved.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
        return (self.clean + moved).clamp(-1, 1)

    def draw_back(self) -> None:
        """Bisect between the clean images and the best ones so far."""
        low, high = torch.zeros(len(self.clean)), torch.ones(len(self.clean))
        end = self.best.clone()
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            fooled = self.keep(self.clean + middle[:, None] * (end - self.clean))
            low, high = torch.where(fooled, low, middle), torch.where(fooled, middle, high)


class _Alone(nn.Module):
    """The classifier without a guard: (B, N) in [-1, 1] -> scores (B, C)."""

    def __init__(self, model: GuardedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, visible: Tensor) -> Tensor:
        return self.model.logits(visible)


def _fooling(search: _Search) -> Tensor:
    """Return the nearest images that the classifier alone labels wrongly."""
    alone = minimum_norm(
        _Alone(search.model), search.clean, search.labels, norm=search.norm, eight_bit=False
    )
    return alone.images.float()


def _start(
    search: _Search, pool: Tensor | None, restart: int, generator: torch.Generator
) -> Tensor:
    """Return images to start from: fooling ones, accepted ones of other classes, or noisy ones."""
    if restart == 0:
        return _fooling(search)
    if pool is None or restart % 2 == 0:
        noise = torch.randn(search.clean.shape, generator=generator)
        return (search.clean + 0.2 * noise).clamp(-1, 1)
    chosen = pool[torch.randperm(len(pool), generator=generator)[:1000]].float()
    verdicts = search.guard.predict(chosen)
    usable = verdicts.labels[None] != search.labels[:, None]
    usable &= (verdicts.labels != JUNK)[None]
    far = torch.cdist(search.clean, chosen).masked_fill(~usable, torch.inf)
    nearest = far.argmin(dim=1)
    none = ~usable.any(dim=1)
    return torch.where(none[:, None], search.clean, chosen[nearest])


def _slope(function: Callable[[Tensor], Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    """Return values (B,) float64 and gradients (B, N), 0 where they are not finite."""
    with torch.enable_grad():
        leaf = images.detach().requires_grad_()
        values = function(leaf)
        (slope,) = torch.autograd.grad(values.clamp(-1e30, 1e30).sum(), leaf)
    return values.detach(), slope.nan_to_num(0, 0, 0)


def _unit(vectors: Tensor) -> Tensor:
    """Return rows (B, N) scaled to length 1; zero rows stay zero."""
    largest = vectors.abs().amax(dim=1, keepdim=True)
    scaled = vectors / largest.clamp(min=torch.finfo(vectors.dtype).tiny)
    unit: Tensor = scaled / scaled.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return unit


def _without(vectors: Tensor, others: Tensor) -> Tensor:
    """Return rows of the first less their component along those of the second."""
    along = _unit(others)
    unit = _unit(vectors)
    return unit - (unit * along).sum(dim=1, keepdim=True) * along
