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


def _largest(bound: str, *tries: dict[str, Any]) -> Callable[[Work, Tensor, Tensor], Proofs]:
    """Return the search for the largest radius at which the verifier finds an inequality true.

    Args:
        bound: its name.
        tries: what else a proof says, the cheapest first; each begins where the last one ended.
    """

    def find(work: Work, visible: Tensor, labels: Tensor) -> Proofs:
        proofs: Proofs = []
        guess = 0.25
        for v, y in zip(np.asarray(visible.double()), labels.tolist(), strict=True):
            proof: dict[str, Any] = {"bound": bound, "radius": 0.0}
            for more in tries or ({},):
                proof |= more

                def holds(radius: float, v: Any = v, y: int = y, proof: Any = proof) -> bool:
                    return work.verifier(v[None], [y], [proof | {"radius": radius}])[0]

                proof["radius"] = _bisected(holds, proof["radius"] or guess)
            guess = proof["radius"] or guess
            proofs.append(proof)
        return proofs

    return find


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
        "the difference of the votes, memory by memory", _powers,
        _largest("votes", {"depth": 0}, {"depth": _DEPTH}),
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
