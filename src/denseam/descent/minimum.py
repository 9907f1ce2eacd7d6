"""The shortest way across a decision boundary: a minimum-norm attack, in L2 or Linf.

At the nearest point v + d of a boundary d is the steepest direction: in L2 the gradient of the
margin there, in Linf its sign, both clipped to the box (the conditions of Karush, Kuhn and Tucker).
So a round takes the gradient at a point on the boundary, follows *its* direction from the clean
image to where that ray meets the boundary, and the next round begins there. The log-energy margin
is smooth and never saturates: two or three rounds are usually enough.

The crossing is found on the margin itself, not on a linear model of it, so every round ends on the
boundary. Where the boundary is so curved that a round leads farther away, the next one turns by
half as much.
"""

import math
from dataclasses import dataclass, fields
from typing import get_args

import torch
from torch import Tensor, nn

from denseam.checks import choice, whole
from denseam.data.pixels import as_written
from denseam.descent.batch import Batch, Progress
from denseam.descent.goals import Margin
from denseam.descent.heads import Head, own_and_best_other
from denseam.descent.loop import Pace, descend
from denseam.descent.result import Descended, DescentResult, Stop, code
from denseam.descent.roots import first_crossing
from denseam.errors import InputError
from denseam.heads import Norm, unit

_FIRST = {"l2": 1.0, "linf": 0.1}  # visible units: where on a ray to look first
_LOOKS = 14  # at the first ray, of unknown length
_LOOKS_AGAIN = 6  # at later ones, about as long as the last
_CURVE_STEP = 0.25  # of the first look: where no ray meets a boundary, curves are followed,
_CURVE_STEPS = 200  # by at most so many steps
_TRIED = 2  # rounds for every start; only the nearest go on
_KEPT = 3
_PUSHES = 45  # lengths to try behind the boundary,
_FIRST_PUSH = 1e-6, 1e-4  # by this part of themselves first: of floats, of 256 levels,
_GROWTH = 1.3  # each farther than the last by this factor
_SAMPLES = 8  # points at which the rounding error is measured,
_SAFETY = 4  # and how many times the largest of these an end lies behind the boundary


def minimum_norm(
    model: nn.Module,
    visible: Tensor,
    labels: Tensor | None = None,
    *,
    norm: Norm = "l2",
    rounds: int = 10,
    starts: int = 9,
    eight_bit: bool | None = None,
    clip: bool = True,
    exact: nn.Module | None = None,
    chunk: int = 500,
    on_progress: Progress | None = None,
) -> DescentResult:
    """Find the nearest images that are labelled otherwise.

    An image that is not labelled as its class to begin with stays where it is, at distance 0. An
    image succeeds when its label has changed for the model, and for the same model in float64 by a
    margin of several times the rounding error, so that other batches cannot change it back.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        visible: (B, N) in [-1, 1]; other modules may take another shape (B, ...).
        labels: (B,) right classes; the model's own labels by default.
        norm: the norm of the distance, "l2" or "linf".
        rounds: gradients along each way.
        starts: number of other classes to begin towards, likeliest first; the ways that are
            shortest after two rounds are followed to the end.
        eight_bit: find images of 256 levels, which stay wrong when they are written as 8-bit
            pictures. What lies between two levels is rounded before the search. By default, where
            the images have 256 levels themselves; False finds the nearest images of any floats.
        clip: keep pixels in [-1, 1].
        exact: the same model in float64, which decides; a copy of it by default.
        chunk: images at once; each takes memory for up to ``starts`` ways.
        on_progress: called with the number of images done and of all.

    Returns:
        A ``DescentResult``: ``targets`` are the classes arrived at, ``steps`` count gradients. An
        image for which no ray met a boundary stays where it is, with success False.

    Raises:
        InputError: for images outside [-1, 1], labels that do not fit, or numbers out of range.

    >>> import denseam
    >>> model = denseam.load_pretrained("mnist-n30")
    >>> visible = denseam.data.load("mnist").test.visible()[:4]
    >>> nearest = denseam.minimum_norm(model, visible, norm="linf")
    >>> nearest.success.tolist(), bool((model.predict(nearest.images) != nearest.labels).all())
    ([True, True, True, True], True)
    """
    rounds, starts = whole("rounds", rounds), whole("starts", starts)
    choice("norm", norm, get_args(Norm))
    if eight_bit and not clip:
        raise InputError("eight_bit: pictures hold pixels in [-1, 1], wanted clip = True")
    batch = Batch(model, visible, log_energy=True, clip=clip, chunk=chunk, on_progress=on_progress)
    if batch.n_classes < 2:
        raise InputError(f"a model of {batch.n_classes} class has no boundary")
    decides = batch.exact_head(exact, log_energy=True)
    labels = batch.scores.argmax(dim=1) if labels is None else labels
    batch.check_labels(labels)

    if eight_bit is None:
        eight_bit = clip and torch.equal(as_written(batch.flat), batch.flat)

    def run(chunk_rows: slice) -> DescentResult:
        clean, right = batch.flat[chunk_rows], labels[chunk_rows]
        start = as_written(clean) if eight_bit else clean
        ends = Descended.at_start(start)
        ends.codes.fill_(code(Stop.CROSSED))
        rows = (batch.head(start).values.argmax(dim=1) == right).nonzero().flatten()
        if len(rows):
            search = _Search(batch.head, start[rows], right[rows], norm, clip=clip)
            gradients = search.begin(min(starts, batch.n_classes - 1)) + search.refine(rounds)
            images, crossed = _behind(search, decides, eight_bit=eight_bit)
            ends.images[rows], ends.steps[rows] = images, gradients
            ends.codes[rows[~crossed]] = code(Stop.NO_GRADIENT)
        arrived = batch.head(ends.images).values.argmax(dim=1)
        return batch.result(clean, ends, right, arrived, ends.codes == code(Stop.CROSSED))

    return batch.in_chunks(run)


@dataclass
class _Ways:
    """Rays from clean images, S for each of A: v + length * direction, clipped to the box."""

    rows: Tensor  # (A S,) int64: which image
    directions: Tensor  # (A S, N), of unit length in the norm
    lengths: Tensor  # (A S,) float64 to behind the boundary; inf where none was met
    distances: Tensor  # (A S,) float64 from the image to that point
    turn: Tensor  # (A S,): how far the next round turns towards the gradient, at most 1

    def at(self, chosen: Tensor) -> "_Ways":
        return _Ways(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


class _Search:
    """The ways of images (A, N), all of which are labelled as their classes (A,)."""

    ways: _Ways

    def __init__(
        self, head: Head, start: Tensor, labels: Tensor, norm: Norm, *, clip: bool
    ) -> None:
        self.head, self.start, self.labels = head, start, labels
        self.norm, self.clip = norm, clip
        self.clean = head(start)

    def begin(self, count: int) -> int:
        """Follow the gradients at the clean images towards ``count`` classes each."""
        values = self.clean.values
        others = values.scatter(1, self.labels[:, None], -math.inf)
        likely = others.argsort(dim=1, descending=True)[:, :count]
        directions = [
            unit(-self.clean.pull(Margin(self.labels, target).weights(values)), self.norm)[0]
            for target in likely.T
        ]
        rows = torch.arange(len(self.start), device=self.start.device).repeat_interleave(count)
        stacked = torch.stack(directions, dim=1).flatten(0, 1)
        guess = torch.full((len(rows),), _FIRST[self.norm], dtype=torch.float64).to(rows.device)
        self.ways = self._follow(rows, stacked, guess, _LOOKS, torch.ones_like(guess))
        self._go_round(likely[:, 0])
        return count

    def _go_round(self, targets: Tensor) -> None:
        """Begin behind a boundary that a curve meets, for images of which no ray has met one.

        In the box a straight way may end in a corner where the gradient has turned long before.
        """
        met = self.ways.lengths.isfinite().view(len(self.start), -1)
        lost = (~met.any(dim=1)).nonzero().flatten()
        if not len(lost):
            return
        start, labels = self.start[lost], self.labels[lost]
        pace = Pace(_CURVE_STEP * _FIRST[self.norm], _CURVE_STEPS, self.norm, clip=self.clip)
        end = descend(
            self.head, start, Margin(labels, targets[lost]), pace,
            crossed=lambda scores, active: scores.argmax(dim=1) != labels[active],
        )  # fmt: skip
        moved = end.images - start
        order = 2 if self.norm == "l2" else math.inf
        length = torch.linalg.vector_norm(moved, ord=order, dim=1, keepdim=True)
        direction = moved / length.clamp(min=torch.finfo(moved.dtype).tiny)
        guess = length.squeeze(1).double()
        ways = self._follow(lost, direction, guess, _LOOKS, torch.ones_like(guess))
        for field in fields(ways):
            getattr(self.ways, field.name)[lost * met.shape[1]] = getattr(ways, field.name)

    def refine(self, rounds: int) -> int:
        """Turn towards the gradient on the boundary, as long as that shortens the way."""
        gradients = 0
        for number in range(rounds):
            if number == _TRIED:
                self._keep_nearest(_KEPT)
            self._turn()
            gradients += len(self.ways.rows) // max(1, len(self.start))
        self._keep_nearest(1)
        ways = self.ways
        self.ways = self._follow(ways.rows, ways.directions, self._guess(), _LOOKS, ways.turn)
        return gradients

    def _turn(self) -> None:
        ways, guess = self.ways, self._guess()
        scores = self.head(self.points(ways.rows, ways.directions, guess))
        right = self.labels[ways.rows]
        best = scores.values.scatter(1, right[:, None], -math.inf).argmax(dim=1)
        steepest, _ = unit(-scores.pull(Margin(right, best).weights(scores.values)), self.norm)
        turn = ways.turn[:, None].to(steepest.dtype)
        turned = torch.lerp(ways.directions, steepest, turn)
        if self.norm == "l2":
            turned, _ = unit(turned)
        tried = self._follow(ways.rows, turned, guess, _LOOKS_AGAIN, ways.turn)
        nearer = tried.distances < ways.distances
        ways.directions[nearer] = tried.directions[nearer]
        ways.lengths = torch.where(nearer, tried.lengths, ways.lengths)
        ways.distances = torch.where(nearer, tried.distances, ways.distances)
        ways.turn = torch.where(nearer, (1.3 * ways.turn).clamp(max=1), ways.turn / 2)

    def _guess(self) -> Tensor:
        lengths = self.ways.lengths
        return torch.where(lengths.isfinite(), lengths, _FIRST[self.norm])

    def _keep_nearest(self, count: int) -> None:
        """Keep the shortest ways of every image, shortest first."""
        by_image = self.ways.distances.view(len(self.start), -1)
        order = by_image.argsort(dim=1, stable=True)[:, :count]
        first = torch.arange(len(self.start), device=order.device)[:, None] * by_image.shape[1]
        self.ways = self.ways.at((first + order).flatten())

    def _follow(
        self, rows: Tensor, directions: Tensor, guess: Tensor, looks: int, turn: Tensor
    ) -> _Ways:
        """Follow rays to where they meet the boundary."""

        def margins(lengths: Tensor) -> Tensor:
            return _margin(self.head, self.points(rows, directions, lengths), self.labels[rows])

        at_clean = _margin_of(self.clean.values, self.labels)[rows]
        lengths = first_crossing(margins, at_clean, guess, looks)
        met = lengths.isfinite()
        moved = self.points(rows, directions, torch.where(met, lengths, 0.0)) - self.start[rows]
        order = 2 if self.norm == "l2" else math.inf
        distances = torch.linalg.vector_norm(moved, ord=order, dim=1, dtype=torch.float64)
        return _Ways(rows, directions, lengths, torch.where(met, distances, math.inf), turn)

    def points(self, rows: Tensor, directions: Tensor, lengths: Tensor) -> Tensor:
        """Return points along rays, within the box, (R, N)."""
        start = self.start[rows]
        moved = start + lengths[:, None].to(start.dtype) * directions
        return moved.clamp_(-1, 1) if self.clip else moved

    def ends(self, lengths: Tensor, chosen: Tensor | slice = slice(None)) -> Tensor:
        """Return the points at ``lengths`` (A,) along the ways that are left, one per image."""
        return self.points(self.ways.rows[chosen], self.ways.directions[chosen], lengths)


def _margin(head: Head, images: Tensor, labels: Tensor) -> Tensor:
    return _margin_of(head(images).values, labels)


def _margin_of(values: Tensor, labels: Tensor) -> Tensor:
    """Return the score of the class minus the best other one, (B,); a tie is 0.

    Where no memory is active, and all scores are -inf, there is a tie as well.
    """
    right, other = own_and_best_other(values, labels)
    return torch.where(right == other, 0.0, right - other)


def _behind(search: _Search, exact: Head, *, eight_bit: bool) -> tuple[Tensor, Tensor]:
    """Move the ends of the ways behind the boundary in float64, by more than float32 is off.

    With ``eight_bit``, as far as it takes until the image of 256 levels next to the end is there.

    Returns images (A, N), and which of them got there (A,); the others are the clean images.
    """
    met = search.ways.lengths.isfinite()
    lengths = torch.where(met, search.ways.lengths, 0.0)
    off = _rounding(search, exact, lengths)
    first = _FIRST_PUSH[eight_bit]

    def ends(lengths: Tensor, chosen: Tensor | slice = slice(None)) -> Tensor:
        images = search.ends(lengths, chosen)
        return as_written(images) if eight_bit else images

    def is_behind(images: Tensor, labels: Tensor, off: Tensor) -> Tensor:
        here = _margin(search.head, images, labels)
        return (here < 0) & (_margin(exact, images.double(), labels) < -_SAFETY * off)

    images = ends(lengths)
    crossed = met & is_behind(images, search.labels, off)
    for push in range(_PUSHES):
        left = (met & ~crossed).nonzero().flatten()
        if not len(left):
            break
        images[left] = ends(lengths[left] * (1 + first * _GROWTH**push), left)
        crossed[left] = is_behind(images[left], search.labels[left], off[left])
    return torch.where(crossed[:, None], images, search.start), crossed


def _rounding(search: _Search, exact: Head, lengths: Tensor) -> Tensor:
    """Return by how much the model's margin is off that of float64 near the end of each way, (A,).

    It is the largest of a few points, in one batch. At a single point it may be small by chance;
    another batch, or another number of threads, rounds differently.
    """
    points = [search.ends(lengths * (1 + 1e-6 * 2**push)) for push in range(_SAMPLES)]
    images, labels = torch.cat(points), search.labels.repeat(_SAMPLES)
    off = (_margin(exact, images.double(), labels) - _margin(search.head, images, labels)).abs()
    off = torch.where(off.isfinite(), off, 0.0)  # of classes that are masked by -inf
    return off.view(_SAMPLES, -1).amax(dim=0)
