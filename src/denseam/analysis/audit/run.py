"""The audit: attacks through every surface, attacks that need none, and their comparison."""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

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
from denseam.descent.batch import Batch
from denseam.descent.facts import inputs
from denseam.descent.heads import head_of, own_and_best_other
from denseam.descent.square import square_attack
from denseam.errors import InputError
from denseam.evaluation import wilson_interval
from denseam.precision import in_full_precision
from denseam.saved import describe_model
from denseam.showing import Drawn, Shown, Tabular, room

STEPS = 40  # of the iterative attack, each 2.5 eps / STEPS long (Madry et al. 2018)
_STRETCH = 2.5
EVERYTHING = 2.0  # visible units: any pixel may become any other
LADDER = (0.1, 0.2, 0.4, 0.8, EVERYTHING)  # of eps, besides the one asked for

Progress = Callable[[str, int, int], None]
"""Called with the name of the part that begins, the parts done, and the parts in all."""


@dataclass(frozen=True)
class Attempt:
    """The accuracy that an attack left at the size of the audit."""

    name: str
    accuracy: float
    interval: tuple[float, float]  # 95 %
    invalid: int  # images that were NaN or out of bounds, which count as failures


@dataclass(frozen=True)
class SurfaceFacts:
    """Gradients and accuracies of the attacks through one head."""

    name: str
    start: GradientFacts  # at the clean images that are labelled rightly
    path: GradientFacts  # along the iterative attack
    only_float32: float  # fraction of the gradients at the start that are zero, but not in float64
    one_step: Attempt
    iterative: Attempt
    budget: tuple[tuple[float, float], ...]  # (eps in visible units, accuracy left), rising

    @property
    def accuracy(self) -> float:
        """Return what the better of the two attacks leaves: the number one would report."""
        return min(self.one_step.accuracy, self.iterative.accuracy)


@dataclass(frozen=True, repr=False)
class Audit(Shown, Drawn, Tabular):
    """The result of ``audit``. Accuracies are fractions of all images, wrong ones included.

    Attributes:
        model: its description, as plain JSON values.
        images: their name.
        count: B.
        eps: Linf, visible units: half as large in [0, 1] units.
        clean: accuracy without an attack.
        headline: the best attack on each image.
        surfaces: the plainest last.
        others: attacks that use none of these surfaces.
        checks: those of the model, then those of each surface.
        distances: "l2", "linf": (B,) of the nearest wrong images, [0, 1] units.
        seconds: of the whole audit.
    """

    _figure: ClassVar[str] = "audit"

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

    def _summary(self) -> str:
        believed = "can be believed" if self.believed else "hides its gradients"
        return (
            f"{self.images}: all attacks leave {100 * self.headline.accuracy:.2f} % of "
            f"{100 * self.clean:.2f} % of {self.count} images right, Linf {self.eps:g} in visible "
            f"units; {self.surfaces[-1].name} {believed}"
        )

    def _columns(self) -> dict[str, list[Any]]:
        through = [each for s in self.surfaces for each in (s.one_step, s.iterative)]
        attempts = [*through, *self.others, self.headline]
        return {
            "attack": [a.name for a in attempts],
            "accuracy": [a.accuracy for a in attempts],
            "low": [a.interval[0] for a in attempts],
            "high": [a.interval[1] for a in attempts],
            "invalid": [a.invalid for a in attempts],
        }

    def save_page(self, path: str | Path, *, name: str | None = None) -> None:
        """Write the audit as one HTML page, as ``denseam audit --page`` does.

        Args:
            path: the file.
            name: of the model; its type by default.

        Raises:
            MissingPackageError: when matplotlib is not installed.
            SaveError: when the file cannot be written.
        """
        room("study.report.audit").save_page(self, path, name=name)

    @property
    def flagged(self) -> tuple[Check, ...]:
        """Return the checks that failed."""
        return tuple(check for check in self.checks if check.flagged)

    @property
    def masked(self) -> tuple[str, ...]:
        """Return the names of surfaces whose numbers cannot be believed."""
        failed = {check.surface for check in self.flagged}
        return tuple(s.name for s in self.surfaces if s.name in failed)

    @property
    def believed(self) -> bool:
        """Return whether a number measured through the plainest surface can be believed."""
        plainest = self.surfaces[-1].name
        return not any(check.surface in (None, plainest) for check in self.flagged)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; infinite distances are null."""
        return {
            **self.__dict__,
            "masked": self.masked,
            "believed": self.believed,
            "headline": asdict(self.headline),
            "surfaces": [{**asdict(s), "accuracy": s.accuracy} for s in self.surfaces],
            "others": [asdict(each) for each in self.others],
            "checks": [{**asdict(c), "verdict": str(c.verdict)} for c in self.checks],
            "distances": {
                norm: [d if math.isfinite(d) else None for d in each.tolist()]
                for norm, each in self.distances.items()
            },
        }


@in_full_precision
def audit(
    model: nn.Module,
    images: ImageSet,
    eps: float = 0.2,
    *,
    substitutes: Mapping[str, nn.Module] | None = None,
    queries: int = 1000,
    input_shape: tuple[int, ...] | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Audit:
    """Attack a model by all attacks of denseam, and say which of the numbers to believe.

    An attack succeeds with an image in [-1, 1], within ``eps`` of the clean one and without NaN,
    for which another class scores at least as high as the right one.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        images: with the right labels.
        eps: Linf size in visible units, where black and white are 2 apart.
        substitutes: other models, by name, that are attacked in place of this one.
        queries: most queries of the random search for an image.
        input_shape: of one image as the module takes it; (N,) by default.
        seed: of the random search.
        on_progress: called as each part begins.

    Raises:
        InputError: for images that do not fit, no image with the right label, or eps <= 0.
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
    parts = iter(range(len(work.surfaces) + 5 + len(substitutes or {})))

    def begin(part: str) -> None:
        if on_progress is not None:
            on_progress(part, next(parts), len(work.surfaces) + 4 + len(substitutes or {}))

    through = []
    for surface in work.surfaces:
        begin(surface.name)
        through.append(work.through(surface))
    begin("exact directions")
    others = [work.attempt("exact directions, log-energy margin", work.exact(work.model))]
    begin("nearest wrong images")
    nearest = {norm: work.nearest(norm) for norm in ("l2", "linf")}
    others.append(work.attempt("minimum norm", work.images_within(nearest["linf"])))
    begin("random search")
    searched = square_attack(
        work.model,
        work.visible,
        work.labels,
        eps,
        shape=images.input_shape,
        queries=queries,
        seed=seed,
    )
    black = work.attempt("random search (Square)", searched.images)
    transferred = []
    for name, other in (substitutes or {}).items():
        begin(f"transfer from {name}")
        transferred.append(work.attempt(f"transfer from {name}", work.exact(other)))
    begin("comparison")
    results = work.checks(through, black, transferred)
    begin("done")
    return Audit(
        describe_model(model), images.name, len(images), eps,
        float(work.right.double().mean()), work.headline(), tuple(through),
        (*others, black, *transferred), tuple(results),
        {norm: each[1] for norm, each in nearest.items()}, time.perf_counter() - begun,
    )  # fmt: skip


class _Work:
    """A model, images, and which of them are still labelled rightly after all attacks so far."""

    def __init__(
        self, model: nn.Module, images: ImageSet, eps: float, input_shape: tuple[int, ...] | None
    ) -> None:
        # Attacks take half the time without gradients to the parameters, which nothing uses.
        self.model, self.eps = copy.deepcopy(model).requires_grad_(requires_grad=False), eps
        self.visible = inputs(model, images, input_shape)
        self.labels = images.labels.to(self.visible.device)
        self.shape = self.visible.shape[1:]
        self.head = head_of(self.model, self.shape, log_energy=True)
        Batch(self.model, self.visible, log_energy=True).check_labels(self.labels)
        self.in_float64 = copy.deepcopy(self.model).double()
        self.surfaces = surfaces_of(self.model, self.visible)
        self.exact_surfaces = surfaces_of(self.in_float64, self.visible.double())
        self.right = self.is_right(self.visible, self.labels)
        self.left = self.right.clone()  # after all attacks
        self.attacked: list[Tensor] = []

    def is_right(self, images: Tensor, labels: Tensor) -> Tensor:
        """Return whether the right class has the largest score, alone, (B,) bool."""
        right, other = own_and_best_other(self.head(images.flatten(1)).values, labels)
        return right > other

    def outlives(self, images: Tensor, eps: float) -> tuple[Tensor, int]:
        """Return which images are still labelled rightly, (B,) bool, and how many are invalid."""
        moved = (images - self.visible).flatten(1).abs().amax(dim=1)
        slack = 1e-5  # of float32 sums at the edge of the ball
        valid = (moved <= eps + slack) & (images.flatten(1).abs().amax(dim=1) <= 1)
        checked = torch.where(valid.view(-1, *[1] * len(self.shape)), images, self.visible)
        right = self.right & (~valid | self.is_right(checked, self.labels))
        return right, int((~valid).sum())

    def attempt(self, name: str, images: Tensor) -> Attempt:
        """Record the images of an attack, and return the accuracy that it left."""
        right, invalid = self.outlives(images, self.eps)
        self.left &= right
        if not invalid:
            self.attacked.append(images)
        return self._attempt(name, right, invalid)

    def headline(self) -> Attempt:
        """Return the accuracy that is left by the best attack on each image."""
        return self._attempt("all attacks, image by image", self.left, 0)

    def _attempt(self, name: str, right: Tensor, invalid: int) -> Attempt:
        count = int(right.sum())
        return Attempt(name, count / len(right), wilson_interval(count, len(right)), invalid)

    def through(self, surface: Surface) -> SurfaceFacts:
        """Attack through a head by one step, and by many at several sizes; look at gradients."""
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
            result = climb(surface, v, labels, size, STEPS, step, self.is_right)
            budget[size] = float(self.outlives(result.images, size)[0].double().mean())
            if size == eps:
                iterative = result
        return SurfaceFacts(
            surface.name,
            facts_of_gradient(at_start),
            iterative.path,
            float(hidden.double().mean()),
            self.attempt(f"one step through {surface.name}", one),
            self.attempt(f"{STEPS} steps through {surface.name}", iterative.images),
            tuple(budget.items()),
        )

    def exact(self, model: nn.Module) -> Tensor:
        """Return images after many small steps along exact directions, which cannot vanish."""
        size = _STRETCH * self.eps / STEPS
        climbed: DescentResult = basic_iterative(
            model, self.visible, self.labels, self.eps, steps=STEPS, step=size, loss="margin"
        )
        return climbed.images

    def nearest(self, norm: Any) -> tuple[Tensor, Tensor]:
        """Return the nearest wrong images (B, ...), and their distances (B,) in [0, 1] units."""
        result = minimum_norm(
            self.model, self.visible, self.labels, norm=norm, eight_bit=False, exact=self.in_float64
        )
        distances = result.distances.l2 if norm == "l2" else result.distances.linf
        return result.images, torch.where(result.success, distances / 2, math.inf)

    def images_within(self, nearest: tuple[Tensor, Tensor]) -> Tensor:
        """Return the nearest wrong images where they are within eps, else the clean ones."""
        images, distances = nearest
        inside = (2 * distances <= self.eps).view(-1, *[1] * len(self.shape))
        return torch.where(inside, images, self.visible)

    def checks(
        self, through: list[SurfaceFacts], black: Attempt, transferred: list[Attempt]
    ) -> list[Check]:
        """Return all checks, the model's own first."""
        headline = float(self.left.double().mean())
        other = min((each.accuracy for each in transferred), default=None)
        results = [self._precision()]
        for surface in through:
            name, white = surface.name, surface.accuracy
            results += [
                checks.gradients(
                    name, surface.start.useless, surface.path.useless, surface.only_float32
                ),
                checks.steps(name, surface.one_step.accuracy, surface.iterative.accuracy),
                checks.black_box(name, white, black.accuracy),
                checks.transfer(name, white, other),
                checks.unbounded(name, surface.budget[-1][1]),
                checks.overstated(name, white, headline),
            ]
        return results

    def _precision(self) -> Check:
        exact = head_of(self.in_float64, self.shape, log_energy=True)
        differ = count = 0
        for images in (self.visible, *self.attacked):
            flat = images.flatten(1)
            here = self.head(flat).values.argmax(dim=1)
            differ += int((here != exact(flat.double()).values.argmax(dim=1)).sum())
            count += len(flat)
        return checks.precision(differ / count, count)
