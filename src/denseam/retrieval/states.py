"""The entrance of states: shapes, dtypes, domains, masks, class neurons."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from denseam.checks import choice
from denseam.checks import whole as whole_number
from denseam.errors import InputError
from denseam.retrieval.landscape import Domain

__all__ = ["States"]


@dataclass(frozen=True)
class States:
    """The states that a memory takes, and what completes them."""

    n_components: int  # D = N + C
    n_classes: int  # C
    dtype: torch.dtype
    device: torch.device
    domain: Domain
    middle: Tensor  # (D,): where components that say nothing begin

    @property
    def n_visible(self) -> int:
        """N."""
        return self.n_components - self.n_classes

    def two_axes(self, states: Tensor) -> Tensor:
        """Return states as (B, D) or (B, N)."""
        D, N = self.n_components, self.n_visible
        rows = torch.as_tensor(states)
        if rows.ndim and rows.shape[-1] not in (D, N) and rows.numel():
            pictures = rows.ndim >= 2 and rows.shape[-2] * rows.shape[-1] == N
            rows = rows.flatten(-2) if pictures else rows
        rows = rows[None] if rows.ndim == 1 else rows
        sizes = f"{N}" if N == D else f"{N} or {D}"
        if rows.ndim != 2 or rows.shape[1] not in (D, N):
            raise InputError(f"states have shape {tuple(torch.as_tensor(states).shape)}: wanted "
                             f"(B, {sizes})")  # fmt: skip
        kind = self.dtype, self.device
        if (rows.dtype, rows.device) != kind:
            raise InputError(
                f"states are {rows.dtype} on {rows.device}, the patterns {kind[0]} on {kind[1]}: "
                "convert one with .to()"
            )
        return rows.detach()

    def with_classes(self, visible: Tensor) -> Tensor:
        missing = self.n_components - visible.shape[1]
        return torch.nn.functional.pad(visible, (0, missing), value=-1.0) if missing else visible

    def whole(self, states: Tensor) -> Tensor:
        """Return states with all their class neurons, (B, D), checked against the domain."""
        rows = self.with_classes(self.two_axes(states))
        if not bool(rows.isfinite().all()):
            raise InputError("states hold NaN or infinity: wanted finite numbers")
        if self.domain == "binary" and not bool((rows.abs() == 1).all()):
            raise InputError("states beyond domain 'binary': wanted -1 and +1 alone")
        if self.domain == "box" and bool((rows.abs() > 1).any()):
            worst = float(rows.abs().max())
            raise InputError(f"states beyond domain 'box': |v| up to {worst:g}, wanted at most 1")
        return rows

    def mask(self, known: Any, count: int) -> Tensor:
        """Return the known components of each state, (B, D) bool."""
        D, N = self.n_components, self.n_visible
        device = self.device
        if known is None:
            return torch.zeros(count, D, dtype=torch.bool, device=device)
        mask = torch.as_tensor(known).to(device)
        if mask.dtype != torch.bool:
            raise InputError(f"known is {mask.dtype}: wanted bool, True for components that stay")
        flat = mask.flatten(-2) if mask.ndim >= 2 and mask.shape[-1] not in (D, N) else mask
        flat = flat[None] if flat.ndim == 1 else flat
        if flat.ndim != 2 or flat.shape[1] not in (D, N) or len(flat) not in (1, count):
            raise InputError(
                f"known has shape {tuple(mask.shape)}: wanted ({N},) or ({count}, {N})"
            )
        flat = torch.nn.functional.pad(flat, (0, D - flat.shape[1]), value=False)
        return flat.expand(count, D).clone()

    def started(self, states: Tensor, free: Tensor, masked: bool, start: str | None) -> Tensor:
        if start is None:
            start = "centre" if masked and self.domain != "binary" else "given"
        choice("start", start, ("given", "centre"))
        rows = self.with_classes(self.two_axes(states))
        if start == "centre":
            if self.domain == "binary":
                raise InputError("start = 'centre': binary states are -1 or +1, wanted 'given'")
            visible = torch.arange(rows.shape[1], device=rows.device) < self.n_visible
            rows = torch.where(free & visible, self.middle, rows)
        return self.whole(rows)

    def clamped(self, states: Tensor, free: Tensor, label: int | None) -> Tensor:
        """Clamp the class neurons to a label."""
        if label is None:
            return states
        if not self.n_classes:
            raise InputError(f"label = {label}: these patterns have no class neurons")
        position = self.n_visible + whole_number("label", label, 0, self.n_classes - 1)
        states = states.clone()
        states[:, self.n_visible :] = -1
        states[:, position] = 1
        free[:, self.n_visible :] = False
        return states
