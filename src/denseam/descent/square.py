"""Square attack: random search without a gradient, a check on attacks that use one.

Andriushchenko, Croce, Flammarion and Hein 2020, the Linf version with the margin as its loss: start
with vertical stripes at the edge of the ball, then set random squares to +eps or -eps, smaller and
smaller ones, and keep what lowers the margin.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from denseam.checks import number, seed_of, whole
from denseam.descent.batch import Batch, Progress
from denseam.descent.heads import Head, own_and_best_other
from denseam.descent.result import Descended, DescentResult, Stop, code
from denseam.errors import InputError

_FIRST_SHARE = 0.8  # of an image's pixels in a square, to begin with
# After these shares of 10,000 queries the squares shrink by half.
_SHRINK = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)


def square_attack(
    model: nn.Module,
    visible: Tensor,
    labels: Tensor,
    eps: float,
    *,
    shape: Sequence[int],
    queries: int = 1000,
    seed: int = 0,
    chunk: int = 1000,
    on_progress: Progress | None = None,
) -> DescentResult:
    """Search for wrongly labelled images within ``eps`` at random, asking for scores alone.

    An image succeeds when it is no longer labelled as its class; a tie counts.

    Args:
        model: any network of the package, or a module that returns logits (B, C).
        visible: (B, N) in [-1, 1]; other modules may take another shape (B, ...).
        labels: (B,) right classes.
        eps: Linf size in visible units.
        shape: of an image, (H, W) or (3, H, W), whose product is N.
        queries: how often to ask for the scores of an image, at most.
        seed: of the squares.
        chunk: images at once.
        on_progress: called with the number of images done and of all.

    Raises:
        InputError: for eps <= 0, another shape, images outside [-1, 1], labels that do not fit.

    >>> import denseam
    >>> model, test = denseam.load_pretrained("mnist-n2"), denseam.data.load("mnist").test
    >>> visible, labels = test.visible()[:10], test.labels[:10]
    >>> hit = denseam.descent.square_attack(model, visible, labels, 0.5, shape=(28, 28), queries=50)
    >>> bool((hit.distances.linf <= 0.5 + 1e-6).all())
    True
    """
    queries, seed = whole("queries", queries), seed_of(seed)
    eps = number("eps", eps, above=0, unit="visible units")
    batch = Batch(model, visible, log_energy=True, chunk=chunk, on_progress=on_progress)
    sides = tuple(whole("shape", side) for side in shape)
    if len(sides) not in (2, 3) or math.prod(sides) != batch.flat.shape[1]:
        raise InputError(f"shape = {tuple(shape)}: images have {batch.flat.shape[1]} pixels")
    planes, height, width = sides if len(sides) == 3 else (1, *sides)
    batch.check_labels(labels)

    def run(rows: slice) -> DescentResult:
        generator = torch.Generator().manual_seed(seed + rows.start)
        start, right = batch.flat[rows], labels[rows]
        end = _search(batch.head, start, right, eps, (planes, height, width), queries, generator)
        return batch.result(start, end, right, right, end.codes == code(Stop.CROSSED))

    return batch.in_chunks(run)


def _search(
    head: Head,
    start: Tensor,
    labels: Tensor,
    eps: float,
    shape: tuple[int, int, int],
    queries: int,
    generator: torch.Generator,
) -> Descended:
    ends = Descended.at_start(start)
    ends.codes.fill_(code(Stop.MAX_STEPS))
    planes, height, width = shape
    rows = torch.arange(len(start), device=start.device)
    stripes = _signs((len(start), planes, 1, width), generator).expand(-1, -1, height, -1)
    stripes = stripes.flatten(1)
    here = (start + eps * stripes.to(start)).clamp_(-1, 1)
    best, clean = _margins(head, here, labels), _margins(head, start, labels)
    here[clean <= 0], best[clean <= 0] = start[clean <= 0], clean[clean <= 0]
    for query in range(1, queries + 1):
        done = best <= 0
        if bool(done.any()):
            ends.put(rows[done], here[done], start[rows[done]], query, code(Stop.CROSSED))
            rows, here, best = rows[~done], here[~done], best[~done]
        if not len(rows) or query == queries:
            break
        side = _side(query, queries, (height, width))
        inside = _squares(len(rows), side, (height, width), generator).to(start.device)
        inside = inside.repeat(1, planes)
        sign = _signs((len(rows), planes), generator).to(start)
        sign = sign.repeat_interleave(height * width, dim=1)
        moved = (start[rows] + eps * sign).clamp_(-1, 1)
        tried = torch.where(inside, moved, here)
        margins = _margins(head, tried, labels[rows])
        better = margins < best
        here[better], best[better] = tried[better], margins[better]
    ends.images[rows], ends.steps[rows] = here, queries
    return ends


def _side(query: int, queries: int, shape: tuple[int, int]) -> int:
    """Return the side of a square: its area halves on the schedule of the paper."""
    on_scale = query / queries * 10_000
    share = _FIRST_SHARE / 2 ** sum(on_scale > limit for limit in _SHRINK)
    side = math.sqrt(share * shape[0] * shape[1])
    return max(1, min(*shape, round(side)))


def _squares(count: int, side: int, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw a square of pixels for each image, anywhere inside, (count, N) bool."""
    inside = []
    for length in shape:
        first = torch.randint(0, length - side + 1, (count, 1), generator=generator)
        place = torch.arange(length)
        inside.append((place >= first) & (place < first + side))
    return (inside[0][:, :, None] & inside[1][:, None, :]).flatten(1)


def _signs(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2.0 * torch.randint(0, 2, shape, generator=generator) - 1


def _margins(head: Head, images: Tensor, labels: Tensor) -> Tensor:
    """Return the score of the class minus the best other one, (B,); NaN counts as lost."""
    right, other = own_and_best_other(head(images).values, labels)
    return torch.nan_to_num(right - other, nan=0.0)
