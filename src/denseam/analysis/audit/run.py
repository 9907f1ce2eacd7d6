"""The audit itself: attacks on every surface, attacks on none, and their comparison."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from denseam.analysis.audit import checks
from denseam.analysis.audit.checks import Check
from denseam.analysis.audit.surfaces import (
    GradientFacts,
    Surface,
    climb,
    facts_of_gradient,
    gradient_of,
    surfaces_of,
)
from denseam.checks import number, seed_of, whole
from denseam.data import ImageSet
from denseam.descent import DescentResult, basic_iterative, minimum_norm
from denseam.descent.facts import inputs
from denseam.descent.heads import head_of, own_and_best_other
from denseam.descent.square import square_attack
from denseam.errors import InputError
from denseam.evaluation import wilson_interval
from denseam.saved import describe_model

__all__ = ["Attempt", "Audit", "SurfaceFacts", "audit"]

STEPS = 40  # of the iterative attack, each 2.5 eps / STEPS long (Madry et al. 2018)
_STRETCH = 2.5
EVERYTHING = 2.0  # visible units: any pixel may become any other
LADDER = (0.1, 0.2, 0.4, 0.8, EVERYTHING)  # of eps, besides the one asked for

Told = Callable[[str, int, int], None]
"""Told of what is being done, of the parts done and the parts in all."""


@dataclass(frozen=True)
class Attempt:
    """What one attack left of the accuracy at the size of the audit."""

    name: str
    accuracy: float
    interval: tuple[float, float]  # 95 %
    invalid: int  # images that were NaN or out of bounds, and therefore no successes


@dataclass(frozen=True)
class SurfaceFacts:
    """What attacks through one head saw and did."""

    name: str
    start: GradientFacts  # at the clean images that are labelled rightly
    path: GradientFacts  # on the way of the iterative attack
    only_float32: float  # fraction of the gradients at the start that are zero, but not in float64
    one_step: Attempt
    iterative: Attempt
    budget: tuple[tuple[float, float], ...]  # (eps in visible units, accuracy left), rising

    @property
    def accuracy(self) -> float:
        """What the better of the two leaves: the number one would report."""
        return min(self.one_step.accuracy, self.iterative.accuracy)


@dataclass(frozen=True)
class Audit:
    """What ``audit`` found. Accuracies are fractions of all images, also of those wrong before.

    Attributes:
        model: what it is, as plain JSON values.
        images: what they are called.
        count: B.
        eps: Linf, visible units: half as large in [0, 1] units.
        clean: accuracy without an attack.
        headline: per image the best of all attacks.
        surfaces: the plainest last.
        others: attacks that need none of these surfaces.
        checks: those of the model, then those of each surface.
        distances: "l2", "linf": (B,) of the nearest wrong images, [0, 1] units.
        seconds: of the whole audit.
    """

    model: Mapping[str, Any]
    images: str
    count: int
    eps: float
    clean: float
    headline: Attempt
    surfaces: tuple[SurfaceFacts, ...]
    others: tuple[Attempt, ...]
    checks: tuple[Check, ...]
    distances: Mapping[str, Tensor]
    seconds: float

    @property
    def flagged(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.flagged)

    @property
    def masked(self) -> tuple[str, ...]:
        """The surfaces whose numbers are not to be believed."""
        failed = {check.surface for check in self.flagged}
        return tuple(s.name for s in self.surfaces if s.name in failed)

    @property
    def believed(self) -> bool:
        """Whether a number measured through the plainest surface can be believed."""
        plainest = self.surfaces[-1].name
        return not any(check.surface in (None, plainest) for check in self.flagged)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; distances that were not found are null."""
        found = {**self.__dict__, "masked": self.masked, "believed": self.believed}
        found["headline"] = asdict(self.headline)
        found["surfaces"] = [{**asdict(s), "accuracy": s.accuracy} for s in self.surfaces]
        found["others"] = [asdict(each) for each in self.others]
        found["checks"] = [{**asdict(c), "verdict": str(c.verdict)} for c in self.checks]
        found["distances"] = {
            norm: [d if math.isfinite(d) else None for d in each.tolist()]
            for norm, each in self.distances.items()
        }
        return found


def audit(
    model: nn.Module,
    images: ImageSet,
    eps: float = 0.2,
    *,
    substitutes: Mapping[str, nn.Module] | None = None,
    queries: int = 1000,
    input_shape: tuple[int, ...] | None = None,
    seed: int = 0,
    on_progress: Told | None = None,
) -> Audit:
    """Attack a model in every way there is here, and say which of the numbers to believe.

    An attack succeeds on an image when the image is in [-1, 1], within ``eps`` of the clean one and
    without NaN, and the score of the right class is no longer the largest one; ties count.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        images: with the right labels.
        eps: Linf size in visible units, where black and white are 2 apart.
        substitutes: other models, by name, that are attacked in the place of this one.
        queries: of the random search, for each image.
        input_shape: of one image as the module takes it; (N,) by default.
        seed: of the random search.
        on_progress: told of what is being done.

    Raises:
        InputError: for images that do not fit, or none that is labelled rightly, or eps <= 0.
    """
    eps = number("eps", eps, above=0, most=EVERYTHING, unit="visible units")
    seed, queries = seed_of(seed), whole("queries", queries)
    begun = time.perf_counter()
    work = _Work(model, images, eps, input_shape)
    if not work.right.any():
        raise InputError(
            f"{images.name}: none of its {len(images)} images is labelled rightly, nothing is left "
            "to attack"
        )
    tell = _Teller(on_progress, len(work.surfaces) + 4 + len(substitutes or {}))

    seen = []
    for surface in work.surfaces:
        tell(surface.name)
        seen.append(work.through(surface))
    tell("exact directions")
    others = [work.attempt("exact directions, log-energy margin", work.exact(work.model))]
    tell("nearest wrong images")
    nearest = {norm: work.nearest(norm) for norm in ("l2", "linf")}
    others.append(work.attempt("minimum norm", work.images_within(nearest["linf"])))
    tell("random search")
    searched = square_attack(
        work.model, work.visible, work.labels, eps, shape=images.shape, queries=queries, seed=seed
    )
    black = work.attempt("random search (Square)", searched.images)
    transferred = []
    for name, other in (substitutes or {}).items():
        tell(f"transfer from {name}")
        transferred.append(work.attempt(f"transfer from {name}", work.exact(other)))
    tell("comparison")
    found = work.judged(seen, black, transferred)
    tell.done()
    return Audit(
        describe_model(model), images.name, len(images), eps,
        float(work.right.double().mean()), work.headline(), tuple(seen),
        (*others, black, *transferred), tuple(found),
        {norm: each[1] for norm, each in nearest.items()}, time.perf_counter() - begun,
    )  # fmt: skip


class _Teller:
    """Counts the parts of an audit for whoever watches."""

    def __init__(self, told: Told | None, parts: int) -> None:
        self._told, self._parts, self._begun = told, parts, 0

    def __call__(self, what: str) -> None:
        if self._told is not None:
            self._told(what, self._begun, self._parts)
        self._begun += 1

    def done(self) -> None:
        if self._told is not None:
            self._told("done", self._parts, self._parts)


class _Work:
    """A model, images, and which of them every attack so far has left."""

    def __init__(
        self, model: nn.Module, images: ImageSet, eps: float, input_shape: tuple[int, ...] | None
    ) -> None:
        # Without gradients to its parameters, which nobody asks for, attacks take half the time.
        self.model, self.eps = copy.deepcopy(model).requires_grad_(requires_grad=False), eps
        self.visible = inputs(model, images, input_shape)
        self.labels = images.labels.to(self.visible.device)
        self.shape = self.visible.shape[1:]
        self.head = head_of(self.model, self.shape, log_energy=True)
        self.in_float64 = copy.deepcopy(self.model).double()
        self.surfaces = surfaces_of(self.model, self.visible)
        self.exact_surfaces = surfaces_of(self.in_float64, self.visible.double())
        self.right = self.is_right(self.visible, self.labels)
        self.left = self.right.clone()  # after all attacks
        self.attacked: list[Tensor] = []

    def is_right(self, images: Tensor, labels: Tensor) -> Tensor:
        """(B,) bool: the score of the right class is larger than every other one."""
        own, other = own_and_best_other(self.head(images.flatten(1)).values, labels)
        return own > other

    def outlives(self, images: Tensor, eps: float) -> tuple[Tensor, int]:
        """Which images are labelled rightly still, (B,) bool, and how many are no images."""
        moved = (images - self.visible).flatten(1).abs().amax(dim=1)
        slack = 1e-5  # of float32 sums at the edge of the ball
        valid = (moved <= eps + slack) & (images.flatten(1).abs().amax(dim=1) <= 1)
        checked = torch.where(valid.view(-1, *[1] * len(self.shape)), images, self.visible)
        right = self.right & (~valid | self.is_right(checked, self.labels))
        return right, int((~valid).sum())

    def attempt(self, name: str, images: Tensor) -> Attempt:
        """What an attack left, and what all have left so far."""
        right, invalid = self.outlives(images, self.eps)
        self.left &= right
        if not invalid:
            self.attacked.append(images)
        return self._attempt(name, right, invalid)

    def headline(self) -> Attempt:
        """Per image the best of all attacks."""
        return self._attempt("all attacks, image by image", self.left, 0)

    def _attempt(self, name: str, right: Tensor, invalid: int) -> Attempt:
        count = int(right.sum())
        return Attempt(name, count / len(right), wilson_interval(count, len(right)), invalid)

    def through(self, surface: Surface) -> SurfaceFacts:
        """What one sees and reaches through a head, in the way that anyone would try first."""
        v, labels, eps = self.visible, self.labels, self.eps
        at_start = gradient_of(surface, v[self.right], labels[self.right])
        zero = at_start.flatten(1).abs().amax(dim=1) == 0
        exact = next(s for s in self.exact_surfaces if s.name == surface.name)
        in_float64 = gradient_of(exact, v[self.right].double(), labels[self.right])
        hidden = zero & (in_float64.flatten(1).abs().amax(dim=1) > 0)
        one = climb(surface, v, labels, eps, 1, eps, self.is_right).images
        budget = {}
        for size in sorted({*LADDER, eps}):
            step = _STRETCH * size / STEPS
            found = climb(surface, v, labels, size, STEPS, step, self.is_right)
            budget[size] = float(self.outlives(found.images, size)[0].double().mean())
            if size == eps:
                asked = found
        return SurfaceFacts(
            surface.name,
            facts_of_gradient(at_start),
            asked.path,
            float(hidden.double().mean()),
            self.attempt(f"one step through {surface.name}", one),
            self.attempt(f"{STEPS} steps through {surface.name}", asked.images),
            tuple(budget.items()),
        )

    def exact(self, model: nn.Module) -> Tensor:
        """Many small steps along exact directions of a model's margin; no gradient can vanish."""
        size = _STRETCH * self.eps / STEPS
        climbed: DescentResult = basic_iterative(
            model, self.visible, self.labels, self.eps, steps=STEPS, step=size, loss="margin"
        )
        return climbed.images

    def nearest(self, norm: Any) -> tuple[Tensor, Tensor]:
        """The nearest wrong images (B, ...), and how far they are (B,), [0, 1] units."""
        found = minimum_norm(self.model, self.visible, self.labels, norm=norm)
        distances = found.distances.l2 if norm == "l2" else found.distances.linf
        return found.images, torch.where(found.success, distances / 2, math.inf)

    def images_within(self, nearest: tuple[Tensor, Tensor]) -> Tensor:
        """The nearest wrong images where they lie within eps, the clean ones elsewhere."""
        images, distances = nearest
        inside = (2 * distances <= self.eps).view(-1, *[1] * len(self.shape))
        return torch.where(inside, images, self.visible)

    def judged(
        self, seen: list[SurfaceFacts], black: Attempt, transferred: list[Attempt]
    ) -> list[Check]:
        """All checks, the model's own first."""
        headline = float(self.left.double().mean())
        other = min((each.accuracy for each in transferred), default=None)
        found = [self._precision()]
        for surface in seen:
            name, white = surface.name, surface.accuracy
            found += [
                checks.gradients(
                    name, surface.start.useless, surface.path.useless, surface.only_float32
                ),
                checks.steps(name, surface.one_step.accuracy, surface.iterative.accuracy),
                checks.black_box(name, white, black.accuracy),
                checks.transfer(name, white, other),
                checks.unbounded(name, surface.budget[-1][1]),
                checks.overstated(name, white, headline),
            ]
        return found

    def _precision(self) -> Check:
        exact = head_of(self.in_float64, self.shape, log_energy=True)
        differ = count = 0
        for images in (self.visible, *self.attacked):
            flat = images.flatten(1)
            here = self.head(flat).values.argmax(dim=1)
            differ += int((here != exact(flat.double()).values.argmax(dim=1)).sum())
            count += len(flat)
        return checks.precision(differ / count, count)
