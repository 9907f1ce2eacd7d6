"""The shortest way across a decision boundary: a minimum-norm attack, in L2 or Linf.

At the nearest point v + d of a boundary the way d is steepest: in L2 it lies along the gradient of
the margin there, in Linf along its sign, both cut off at the box (the conditions of Karush, Kuhn
and Tucker). So from a point on the boundary one takes the gradient, follows *its* direction from
the clean image to where that ray meets the boundary, and begins again there. The log-energy margin
is smooth and never saturates: two or three rounds are enough as a rule.

The ray is met by its margin itself, not by a linear model of it, so every round ends on the
boundary. Where the boundary is bent so much that a round leads farther away, the next one turns by
half as much.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor, nn

from denseam.checks import choice, whole
from denseam.data.validate import check_labels
from denseam.descent.common import (
    Progress,
    bounds_of,
    check_images,
    in_parts,
)
from denseam.descent.goals import Margin
from denseam.descent.heads import Head, head_of, own_and_best_other
from denseam.descent.loop import Norm, unit
from denseam.descent.result import Descended, DescentResult, Stop, code
from denseam.errors import InputError

__all__ = ["minimum_norm"]

_FIRST = {"l2": 1.0, "linf": 0.1}  # visible units: where on a ray to look first
_LOOKS = 14  # at the first ray, of unknown length
_LOOKS_AGAIN = 6  # at later ones, about as long as the last
_TRIED = 2  # rounds for every start; only the nearest go on
_KEPT = 3
_PUSHES = 45  # lengths to try behind the boundary, from a relative 1e-6 on,
_GROWTH = 1.3  # each by so much farther than the one before
_SAMPLES = 8  # points at which rounding is looked at,
_SAFETY = 4  # and how many times the largest of them an end lies behind the boundary


def minimum_norm(
    model: nn.Module,
    visible: Tensor,
    labels: Tensor | None = None,
    *,
    norm: Norm = "l2",
    rounds: int = 10,
    starts: int = 9,
    clip: bool = True,
    chunk: int = 500,
    on_progress: Progress | None = None,
) -> DescentResult:
    """The nearest images that are labelled otherwise.

    An image that is not labelled as its class to begin with stays where it is, at distance 0. An
    image succeeds when its label has changed for the model and for the same model in float64, there
    by several times what rounding amounts to, so that it keeps it in any other batch.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        visible: (B, N) in [-1, 1]; for other modules what they take, in [-1, 1].
        labels: (B,) right classes; the model's own labels by default.
        norm: "l2" or "linf", what is to be least.
        rounds: gradients along each way.
        starts: towards how many other classes to begin, likeliest first; the ways that are
            shortest after two rounds are followed to the end.
        clip: keep pixels in [-1, 1].
        chunk: images at once; each takes memory for up to ``starts`` ways.
        on_progress: told of images done and images in all.

    Returns:
        ``targets`` are the classes arrived at, ``steps`` count gradients. An image for which no
        ray met a boundary stays where it is, with success False.

    Raises:
        InputError: for images outside [-1, 1], labels that do not fit, or numbers out of range.
    """
    rounds, starts = whole("rounds", rounds), whole("starts", starts)
    chunk, norm = whole("chunk", chunk), choice("norm", norm, get_args(Norm))
    check_images(model, visible)
    shape, flat = visible.shape[1:], visible.flatten(1)
    head = head_of(model, shape, log_energy=True)
    exact = head_of(copy.deepcopy(model).double(), shape, log_energy=True)
    n_classes = head(flat[:1]).values.shape[1]
    if n_classes < 2:
        raise InputError(f"a model of {n_classes} class has no boundary")
    if labels is None:
        labels = in_parts(lambda part: head(flat[part]).values.argmax(dim=1), len(flat), chunk)
    check_labels(labels, n_classes, len(flat))

    def run(part: slice) -> DescentResult:
        start, own = flat[part], labels[part]
        ends = Descended.at_start(start)
        ends.codes.fill_(code(Stop.CROSSED))
        top = head(start).values.argmax(dim=1)
        rows = (top == own).nonzero().flatten()
        if len(rows):
            search = _Search(head, start[rows], own[rows], norm, bounds_of(clip=clip))
            count = search.begin(min(starts, n_classes - 1))
            count += search.refine(rounds)
            images, crossed = _behind(head, exact, search)
            ends.images[rows], ends.steps[rows] = images, count
            ends.codes[rows[~crossed]] = code(Stop.NO_GRADIENT)
        arrived = head(ends.images).values.argmax(dim=1)
        success = ends.codes == code(Stop.CROSSED)
        return DescentResult.of(
            start, ends, own, arrived, success, shape=shape, clipped=clip,
        )  # fmt: skip

    return in_parts(run, len(flat), chunk, on_progress)


@dataclass
class _Ways:
    """Rays from clean images, S for each of A images: v + length * direction, cut at the box."""

    rows: Tensor  # (A S,) int64: whose
    directions: Tensor  # (A S, N), of unit length in the norm
    lengths: Tensor  # (A S,) float64 to behind the boundary; inf where none was met
    distances: Tensor  # (A S,) float64: how far that point is from the image
    turn: Tensor  # (A S,): how far the next round turns towards the gradient, at most 1

    def at(self, picked: Tensor) -> "_Ways":
        return _Ways(
            self.rows[picked], self.directions[picked], self.lengths[picked],
            self.distances[picked], self.turn[picked],
        )  # fmt: skip


class _Search:
    """The ways of a batch, all of whose images are labelled as their classes."""

    def __init__(
        self,
        head: Head,
        start: Tensor,
        labels: Tensor,
        norm: Norm,
        bounds: tuple[float, float] | None,
    ) -> None:
        self.head, self.start, self.labels = head, start, labels
        self.norm, self.bounds = norm, bounds
        self.clean = head(start)
        self.ways: _Ways

    def begin(self, count: int) -> int:
        """Rays along the gradients at the clean images, towards ``count`` classes each."""
        A, values = len(self.start), self.clean.values
        others = values.scatter(1, self.labels[:, None], -math.inf)
        likely = others.argsort(dim=1, descending=True)[:, :count]
        directions = [
            unit(-self.clean.pull(Margin(self.labels, target).weights(values)), self.norm)[0]
            for target in likely.T
        ]
        rows = torch.arange(A, device=self.start.device).repeat_interleave(count)
        stacked = torch.stack(directions, dim=1).flatten(0, 1)
        guess = torch.full((A * count,), _FIRST[self.norm], dtype=torch.float64).to(rows.device)
        self.ways = self._follow(rows, stacked, guess, _LOOKS, torch.ones_like(guess))
        return count

    def refine(self, rounds: int) -> int:
        """Turn towards the gradient on the boundary, as long as that shortens the way."""
        count = 0
        for number in range(rounds):
            if number == _TRIED:
                self._keep_nearest(_KEPT)
            self._round()
            count += len(self.ways.rows) // max(1, len(self.start))
        self._keep_nearest(1)
        ways = self.ways
        guess = torch.where(ways.lengths.isfinite(), ways.lengths, _FIRST[self.norm])
        self.ways = self._follow(ways.rows, ways.directions, guess, _LOOKS, ways.turn)
        return count

    def _round(self) -> None:
        ways = self.ways
        guess = torch.where(ways.lengths.isfinite(), ways.lengths, _FIRST[self.norm])
        points = self.points(ways.rows, ways.directions, guess)
        scores, own = self.head(points), self.labels[ways.rows]
        best = scores.values.scatter(1, own[:, None], -math.inf).argmax(dim=1)
        steepest, _ = unit(-scores.pull(Margin(own, best).weights(scores.values)), self.norm)
        turn = ways.turn[:, None].to(steepest.dtype)
        turned = torch.lerp(ways.directions, steepest, turn)
        if self.norm == "l2":
            turned, _ = unit(turned)
        found = self._follow(ways.rows, turned, guess, _LOOKS_AGAIN, ways.turn)
        nearer = found.distances < ways.distances
        ways.directions[nearer] = found.directions[nearer]
        ways.lengths = torch.where(nearer, found.lengths, ways.lengths)
        ways.distances = torch.where(nearer, found.distances, ways.distances)
        ways.turn = torch.where(nearer, (1.3 * ways.turn).clamp(max=1), ways.turn / 2)

    def _keep_nearest(self, count: int) -> None:
        """Of every image's ways the shortest ones, shortest first."""
        by_image = self.ways.distances.view(len(self.start), -1)
        order = by_image.argsort(dim=1, stable=True)[:, :count]
        first = torch.arange(len(self.start), device=order.device)[:, None] * by_image.shape[1]
        self.ways = self.ways.at((first + order).flatten())

    def _follow(
        self, rows: Tensor, directions: Tensor, guess: Tensor, looks: int, turn: Tensor
    ) -> _Ways:
        """The rays to where they meet the boundary."""
        own = self.labels[rows]

        def margins(lengths: Tensor) -> Tensor:
            return _margin(self.head(self.points(rows, directions, lengths)).values, own)

        at_clean = _margin(self.clean.values, self.labels)[rows]
        lengths = _first_crossing(margins, at_clean, guess, looks)
        met = lengths.isfinite()
        points = self.points(rows, directions, torch.where(met, lengths, 0.0))
        distances = self.distance(points, rows)
        return _Ways(rows, directions, lengths, torch.where(met, distances, math.inf), turn)

    def points(self, rows: Tensor, directions: Tensor, lengths: Tensor) -> Tensor:
        """(R, N): along rays, within the box."""
        start = self.start[rows]
        moved = start + lengths[:, None].to(start.dtype) * directions
        return moved if self.bounds is None else moved.clamp_(*self.bounds)

    def distance(self, points: Tensor, rows: Tensor) -> Tensor:
        """(R,) float64, in the norm."""
        order = 2 if self.norm == "l2" else math.inf
        moved = points - self.start[rows]
        distances: Tensor = torch.linalg.vector_norm(moved, ord=order, dim=1, dtype=torch.float64)
        return distances


def _margin(values: Tensor, labels: Tensor) -> Tensor:
    """(B, C), (B,) -> (B,): the score of the class minus the best other one; a tie is 0.

    Where no memory is active, and all scores are -inf, there is a tie as well.
    """
    own, other = own_and_best_other(values, labels)
    return torch.where(own == other, 0.0, own - other)


def _first_crossing(
    margins: Callable[[Tensor], Tensor], at_clean: Tensor, guess: Tensor, looks: int
) -> Tensor:
    """Lengths (R,) at which the margins are no longer positive, about the least; inf if not met.

    Regula falsi with the Illinois rule between a length in front of the boundary and one behind;
    until there is one behind, lengths double.
    """
    near, far = torch.zeros_like(guess), torch.full_like(guess, math.inf)
    margin_near, margin_far = at_clean.clone(), torch.full_like(guess, -1.0)
    length, behind_before = guess, torch.zeros_like(guess, dtype=torch.bool)
    for look in range(looks):
        found = margins(length)
        behind = ~(found > 0)
        # The end that stays where it is twice counts half, or it would stay for good.
        again = (behind == behind_before) & (look > 0)
        margin_near = torch.where(behind & again, margin_near / 2, margin_near)
        margin_far = torch.where(~behind & again, margin_far / 2, margin_far)
        near, margin_near = _pick(behind, (near, margin_near), (length, found))
        far, margin_far = _pick(behind, (length, found), (far, margin_far))
        behind_before = behind
        part = margin_near / (margin_near - margin_far).clamp(min=torch.finfo(far.dtype).tiny)
        between = near + part.nan_to_num(0.5).clamp(0.01, 0.99) * (far - near)
        length = torch.where(far.isfinite(), between, 2 * length)
    return far


def _pick(
    condition: Tensor, yes: tuple[Tensor, Tensor], no: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    return torch.where(condition, yes[0], no[0]), torch.where(condition, yes[1], no[1])


def _behind(head: Head, exact: Head, search: _Search) -> tuple[Tensor, Tensor]:
    """The ends of the ways (A, N), behind the boundary in float64 by more than float32 is off.

    And which of them have got there, (A,); the others are the clean images.
    """
    ways, labels = search.ways, search.labels
    met = ways.lengths.isfinite()
    lengths = torch.where(met, ways.lengths, 0.0)
    off = _off(head, exact, search, lengths)
    images = search.points(ways.rows, ways.directions, lengths)
    crossed = met & _is_behind(head, exact, images, labels, off)
    for push in range(_PUSHES):
        left = (met & ~crossed).nonzero().flatten()
        if not len(left):
            break
        pushed = lengths[left] * (1 + 1e-6 * _GROWTH**push)
        images[left] = search.points(ways.rows[left], ways.directions[left], pushed)
        crossed[left] = _is_behind(head, exact, images[left], labels[left], off[left])
    return torch.where(crossed[:, None], images, search.start), crossed


def _off(head: Head, exact: Head, search: _Search, lengths: Tensor) -> Tensor:
    """By how much the model's margin is off that of float64 about the end of each way, (A,).

    The most of a few points, in one batch: at a single point it may be small by chance, and another
    batch, another number of threads, rounds in another way.
    """
    ways, labels = search.ways, search.labels
    points = [
        search.points(ways.rows, ways.directions, lengths * (1 + 1e-6 * 2**push))
        for push in range(_SAMPLES)
    ]
    images, own = torch.cat(points), labels.repeat(_SAMPLES)
    margins = _margin(exact(images.double()).values, own)
    off = (margins - _margin(head(images).values, own)).abs()
    off = torch.where(off.isfinite(), off, 0.0)  # of classes that are masked by -inf
    return off.view(_SAMPLES, -1).amax(dim=0)


def _is_behind(head: Head, exact: Head, images: Tensor, labels: Tensor, off: Tensor) -> Tensor:
    """(A,) bool: for the model, and in float64 by a multiple of what the model is off."""
    here = _margin(head(images).values, labels)
    margins = _margin(exact(images.double()).values, labels)
    return (here < 0) & (margins < -_SAFETY * off)
