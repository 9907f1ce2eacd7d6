"""Pairwise bounds: how far a rival memory is, when one memory of the class stands against it.

Memory k of the class beats memory l of another one as long as (A_k - kappa A_l) v + b_k - b_l > 0,
so on a ball of radius gap / ||A_k - kappa A_l||_*. Every l needs one k, and the best one serves.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from denseam.certificates.fields import Fields

__all__ = ["Pairs", "Search"]

_CACHED = 12_000  # memories whose distances to each other are kept: 576 MB
_TINY = 1e-12


@dataclass(frozen=True)
class Pairs:
    """Pairwise bounds of a batch: B images, K rivals, m memories of the class with largest fields.

    Attributes:
        memories: (B, m) the memories that stand for the class.
        own: (B, m) their fields.
        rivals: (B, K) fields times kappa of all memories, as rivals.
        radii: (B, K) the largest bound against each rival; infinite where it never wins.
        best: (B, K) the position in ``memories`` that reaches it, or m for the rival itself.
        base: (B,) the memory that alone does best against all rivals.
        base_radii: (B, K) its bounds.
    """

    memories: Tensor
    own: Tensor
    rivals: Tensor
    radii: Tensor
    best: Tensor
    base: Tensor
    base_radii: Tensor


class Search:
    """A search for bounds in float32; the numbers that it finds are checked in float64."""

    def __init__(self, fields: Fields, norm: str) -> None:
        self.fields, self.norm = fields, norm
        self.A = torch.from_numpy(fields.A).float()
        self.C = fields.b.shape[1]
        self.own_shift = torch.stack([self._shift(fields.own(c)) for c in range(self.C)])
        self.rival_shift = torch.stack([self._shift(fields.rival(c)) for c in range(self.C)])

    @staticmethod
    def _shift(values: object) -> Tensor:
        return torch.as_tensor(values).float()

    @cached_property
    def _apart(self) -> Tensor | None:
        return self._distances(self.A) if len(self.A) <= _CACHED else None

    def _distances(self, rows: Tensor) -> Tensor:
        p = 2.0 if self.norm == "l2" else 1.0
        return torch.cdist(rows, self.fields.kappa * self.A, p=p)

    def distances(self, memories: Tensor) -> Tensor:
        """Return dual norms of A_k - kappa A_l for memories (B, m) and all l, (B, m, K)."""
        if self._apart is not None:
            return self._apart[memories]
        seen, places = torch.unique(memories, return_inverse=True)
        return self._distances(self.A[seen])[places]

    def pairs(self, visible: Tensor, labels: Tensor, count: int = 16) -> Pairs:
        """Return pairwise bounds of images (B, N) float32 of classes (B,)."""
        overlaps = visible @ self.A.T
        own = overlaps + self.own_shift[labels]
        rivals = self.fields.kappa * overlaps + self.rival_shift[labels]
        top, memories = own.topk(min(count, len(self.A)), dim=1)
        apart = self.distances(memories).clamp(min=_TINY)
        radii = (top[:, :, None] - rivals[:, None, :]) / apart  # (B, m, K)
        length = torch.linalg.vector_norm(self.A, ord=2 if self.norm == "l2" else 1, dim=1)
        itself = (own - rivals) / ((self.fields.kappa - 1) * length).clamp(min=_TINY)
        alone = torch.maximum(radii, itself[:, None]).amin(dim=2)  # (B, m): each against all
        chosen = alone.argmax(dim=1)
        rows = torch.arange(len(visible))
        base_radii = torch.maximum(radii[rows, chosen], itself)
        best, which = radii.max(dim=1)
        which = torch.where(itself >= best, top.shape[1], which)
        return Pairs(
            memories, top, rivals, torch.maximum(best, itself), which,
            memories[rows, chosen], base_radii,
        )  # fmt: skip
