"""The table of bounds: what each one serves, and how it finds the radius that it proves."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from denseam.certificates.distance import linear_proofs
from denseam.certificates.fields import Fields
from denseam.certificates.pairwise import Search
from denseam.certificates.verifier import Verifier

__all__ = ["BOUNDS", "Bound", "Proofs", "Work", "bounds_for"]

Proofs = list[dict[str, Any]]
_BISECTIONS = 14
_GROWTH = 4.0
_DEPTH = 5  # 32 slabs


@dataclass(frozen=True)
class Work:
    """Fields, a search and the verifier of one model, to find a bound with."""

    search: Search
    verifier: Verifier
    box: bool


@dataclass(frozen=True)
class Bound:
    """A row of ``BOUNDS``."""

    title: str
    serves: Callable[[Fields], bool]
    find: Callable[[Work, Tensor, Tensor], Proofs]  # images (B, N), classes (B,)


def _linear(*, exact: bool) -> Callable[[Work, Tensor, Tensor], Proofs]:
    def find(work: Work, visible: Tensor, labels: Tensor) -> Proofs:
        return linear_proofs(work.search, visible.float(), labels, exact=exact, box=work.box)

    return find


def _largest(bound: str, *depths: int) -> Callable[[Work, Tensor, Tensor], Proofs]:
    """Return the search for the largest radius at which the verifier finds an inequality true.

    Args:
        bound: its name.
        depths: of the proofs of "votes", the cheapest first.
    """

    def find(work: Work, visible: Tensor, labels: Tensor) -> Proofs:
        proofs: Proofs = []
        guess = 0.25
        for v, y in zip(np.asarray(visible.double()), labels.tolist(), strict=True):
            proof: dict[str, Any] = {"bound": bound, "radius": 0.0}
            for depth in depths or (None,):

                def holds(radius: float, v: Any = v, y: int = y, depth: int | None = depth) -> bool:
                    tried = {"bound": bound, "radius": radius}
                    return work.verifier(v[None], [y], [tried | _depth(depth)])[0]

                radius = _bisected(holds, proof["radius"] or guess)
                proof |= {"radius": radius} | _depth(depth)
            guess = proof["radius"] or guess
            proofs.append(proof)
        return proofs

    return find


def _depth(depth: int | None) -> dict[str, int]:
    return {} if depth is None else {"depth": depth}


def _bisected(holds: Callable[[float], bool], guess: float) -> float:
    """Return the largest radius that holds, to a relative 1e-4; 0 if none does."""
    low, high = 0.0, guess
    while holds(high) and high < 1e4:
        low, high = high, high * _GROWTH
    while low == 0.0 and high > 1e-5:
        half = high / _GROWTH
        low, high = (half, high) if holds(half) else (0.0, half)
    for _ in range(_BISECTIONS if low else 0):
        half = (low + high) / 2
        low, high = (half, high) if holds(half) else (low, half)
    return low


def _powers(fields: Fields) -> bool:
    return 2 <= fields.power < float("inf")


BOUNDS: dict[str, Bound] = {
    "distance": Bound(
        "least distance to the region of any rival memory", lambda _: True, _linear(exact=True)
    ),
    "pairwise": Bound(
        "one memory of the class against each rival", lambda _: True, _linear(exact=False)
    ),
    "votes": Bound(
        "the difference of the votes, memory by memory", _powers, _largest("votes", 0, _DEPTH)
    ),
    "convex": Bound("tangent of one class, rise of another", _powers, _largest("convex")),
    "lipschitz": Bound(
        "Lipschitz constant of all scores",
        lambda fields: fields.extra == 0 and fields.power >= 1, _largest("lipschitz"),
    ),
}  # fmt: skip
"""Bounds by name, the sharpest first."""


def bounds_for(fields: Fields, bound: str) -> list[str]:
    """Return the bounds to try: one by its name, or those of "best" for this model."""
    if bound != "best":
        return [bound]
    if _powers(fields):
        return ["votes"] if fields.power < 100 else ["votes", "distance"]
    return ["distance"]


def as_batch(proofs: Proofs) -> Tensor:
    """Return the radii of proofs, (B,) float64."""
    return torch.tensor([proof["radius"] for proof in proofs], dtype=torch.float64)
