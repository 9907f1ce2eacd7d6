"""Changes of what is stored, and which decisions depend on a memory."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from denseam.errors import InputError
from denseam.retrieval.patterns import FilePatterns, Patterns, stacked
from denseam.retrieval.result import Retrieval

__all__ = ["Change", "chosen_rows", "edited_rows", "rows_to_add"]


@dataclass(frozen=True, eq=False)
class Change:
    """What a change of the memories changes for B probes.

    Attributes:
        before: retrievals from the probes before it.
        after: retrievals after it.
        names: (K', ) int64: for each pattern after the change its position before, -1 for new ones.
        tolerance: the change of a component that counts.
    """

    before: Retrieval
    after: Retrieval
    names: Tensor
    tolerance: float = 1e-3

    @property
    def moved(self) -> Tensor:
        """Return which retrieved states are others now, (B,) bool."""
        apart = (self.before.states - self.after.states).abs().amax(dim=1)
        return apart > self.tolerance

    @property
    def relabelled(self) -> Tensor:
        """Return which labels are others now, (B,) bool; none without class neurons."""
        if self.before.labels is None or self.after.labels is None:
            return torch.zeros(len(self.before), dtype=torch.bool)
        return self.before.labels != self.after.labels

    @property
    def reassigned(self) -> Tensor:
        """Return which probes end at another memory now, (B,) bool."""
        return self.names[self.after.nearest] != self.before.nearest

    @property
    def depends(self) -> Tensor:
        """Return which decisions depend on the change, (B,) bool: any of the three."""
        return self.moved | self.relabelled | self.reassigned

    def __repr__(self) -> str:
        count = len(self.before)
        return (
            f"Change({int(self.depends.sum())} of {count} decisions depend on it: "
            f"{int(self.reassigned.sum())} end at another memory, {int(self.moved.sum())} in "
            f"another state, {int(self.relabelled.sum())} labels)"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values: positions of the probes that depend on the change."""
        return {
            name: getattr(self, name).nonzero()[:, 0].tolist()
            for name in ("depends", "reassigned", "moved", "relabelled")
        }


def chosen_rows(positions: Any, count: int) -> Tensor:
    """Return positions of patterns as (M,) int64.

    Raises:
        InputError: for none, one twice, or one out of range.
    """
    rows = torch.as_tensor(positions).reshape(-1)
    if rows.dtype == torch.bool or rows.is_floating_point() or not len(rows):
        raise InputError(f"positions = {positions!r}: wanted whole numbers in 0 .. {count - 1}")
    if int(rows.min()) < 0 or int(rows.max()) >= count or len(set(rows.tolist())) < len(rows):
        raise InputError(f"positions = {rows.tolist()}: wanted different ones in 0 .. {count - 1}")
    return rows.long()


def rows_to_add(patterns: Any, like: Patterns) -> Tensor:
    """Return patterns in the dtype of those that are stored, (M, D).

    Raises:
        InputError: for patterns of another length, or stored ones that lie in a file.
    """
    if isinstance(like, FilePatterns):
        raise InputError(f"{like.path}: patterns in a file are read only; store them in memory")
    rows = stacked(patterns)
    if rows.shape[1] != like.n_components:
        raise InputError(f"patterns have {rows.shape[1]} components, wanted {like.n_components}")
    return rows.to(like.device, like.dtype)


def edited_rows(
    patterns: Patterns, *, remove: Tensor | None = None, add: Tensor | None = None
) -> tuple[Patterns, Tensor]:
    """Return patterns after a change, and the old position of each, -1 for new ones.

    Raises:
        InputError: when none would be left, or they lie in a file.
    """
    if isinstance(patterns, FilePatterns):
        raise InputError(f"{patterns.path}: patterns in a file are read only; store them in memory")
    names = torch.arange(len(patterns))
    rows = patterns.whole()
    if remove is not None:
        stays = torch.ones(len(rows), dtype=torch.bool)
        stays[remove] = False
        if not bool(stays.any()):
            raise InputError(f"all {len(rows)} patterns would go: one has to stay")
        rows, names = rows[stays.to(rows.device)], names[stays]
    if add is not None:
        rows = torch.cat([rows, add])
        names = torch.cat([names, torch.full((len(add),), -1)])
    return Patterns(rows), names
