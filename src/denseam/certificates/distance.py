"""Least distances: how far the region is in which a rival memory beats all of the class.

Every rival memory l wins in a polyhedron: its field is above those of all memories of the class.
The nearest of these polyhedra is the boundary of the class where n is infinite. First, pairwise
bounds against all rivals; then the exact distance to those that may be nearest. They are solved
in rounds, the nearest first: an exact distance rules out all rivals whose bound is larger.
"""

import math

import torch
from torch import Tensor

from denseam.certificates.dual import least_distance, least_linf, proven
from denseam.certificates.pairwise import Pairs, Search

__all__ = ["linear_proofs"]

_ROUNDS = ((2, 12), (6, 12), (24, 8), (64, 6), (200, 4))  # (rivals at once, memories against each)
_MOST = 400  # problems in one solve
Found = dict[int, tuple[list[int], list[float]]]


def linear_proofs(
    search: Search, visible: Tensor, labels: Tensor, *, exact: bool, box: bool
) -> list[dict[str, object]]:
    """Return proofs for images (B, N) float32 of classes (B,), which they are labelled as.

    Args:
        search: of the model.
        visible: the images.
        labels: their classes.
        exact: solve least-distance problems; otherwise pairwise bounds only.
        box: whether images stay in [-1, 1].
    """
    pairs = search.pairs(visible, labels)
    bounds = pairs.radii.clone()
    solved: list[Found] = [{} for _ in labels]
    if exact:
        _refine(search, visible, pairs, bounds, solved, box=box)
    radii = bounds.amin(dim=1)
    name = "distance" if exact else "pairwise"
    return [
        {
            "bound": name, "radius": float(radii[i]), "base": int(pairs.base[i]),
            "rivals": _exceptions(pairs, i, float(radii[i]), solved[i], search),
        }
        for i in range(len(labels))
    ]  # fmt: skip


def _refine(
    search: Search, visible: Tensor, pairs: Pairs, bounds: Tensor, solved: list[Found], *, box: bool
) -> None:
    """Raise ``bounds`` (B, K) of rivals that may be nearest by least distances."""
    done = torch.zeros_like(bounds, dtype=torch.bool)
    ceiling = torch.full_like(bounds[:, 0], math.inf)  # the nearest rival that has been solved
    for rivals_at_once, memories in _ROUNDS:
        while True:
            waiting = bounds.masked_fill(done, math.inf)
            near = waiting.topk(min(rivals_at_once, bounds.shape[1]), dim=1, largest=False)
            rows, places = (near.values < ceiling[:, None]).nonzero(as_tuple=True)
            if not len(rows):
                return
            rivals = near.indices[rows, places]
            for part in torch.split(torch.arange(len(rows)), _MOST):
                _solve(search, visible, pairs, bounds, solved, rows[part], rivals[part],
                       memories, box=box)  # fmt: skip
            done[rows, rivals] = True
            ceiling = bounds.masked_fill(~done, math.inf).amin(dim=1)
            if rivals_at_once != _ROUNDS[-1][0]:
                break


def _solve(
    search: Search, visible: Tensor, pairs: Pairs, bounds: Tensor, solved: list[Found],
    rows: Tensor, rivals: Tensor, memories: int, *, box: bool,
) -> None:  # fmt: skip
    count = min(memories, pairs.memories.shape[1])
    against, own = pairs.memories[rows, :count], pairs.own[rows, :count]
    C = search.fields.kappa * search.A[rivals][:, None] - search.A[against]
    d = own - pairs.rivals[rows, rivals][:, None]
    low, high = (-1 - visible[rows], 1 - visible[rows]) if box else (None, None)
    lam = (least_linf if search.norm == "linf" else least_distance)(C, d, low, high)
    lam = torch.where(lam > 1e-5 * lam.amax(dim=1, keepdim=True), lam, 0.0)
    radii = proven(search.norm, C, d, low, high, lam).float() * (1 - 1e-5)
    for row, rival, radius, weights, names in zip(
        rows.tolist(), rivals.tolist(), radii.tolist(), lam.tolist(), against.tolist(), strict=True
    ):
        if radius > bounds[row, rival]:
            bounds[row, rival] = radius
            used = [(k, w) for k, w in zip(names, weights, strict=True) if w > 0]
            solved[row][rival] = [k for k, _ in used], [w for _, w in used]


def _exceptions(
    pairs: Pairs, row: int, radius: float, solved: Found, search: Search
) -> list[tuple[int, list[int], list[float]]]:
    """Return (rival, memories, multipliers) of the rivals that the base alone does not keep off."""
    result = []
    close = (pairs.base_radii[row] < radius * (1 + 1e-4)).nonzero().flatten().tolist()
    for rival in close:
        if rival in solved:
            result.append((rival, *solved[rival]))
            continue
        place = int(pairs.best[row, rival])
        if place < pairs.memories.shape[1]:
            k = int(pairs.memories[row, place])
            gap = float(pairs.own[row, place] - pairs.rivals[row, rival])
            apart = search.A[k] - search.fields.kappa * search.A[rival]
            size = float(apart.double().square().sum())
            multiplier = gap / size if search.norm == "l2" and size > 0 else 1.0
            result.append((rival, [k], [multiplier]))
    return result
