"""Dynamics of the visible neurons: one loop, and four ways to take a step.

    asynchronous  a sweep over all free neurons in a seeded order, each to the lower energy (NIPS16)
    synchronous   all free neurons at once, each to the lower energy of the same state; may cycle
    gradient      downhill: in a box by steps that are halved where they would raise the energy,
                  in the space by a share of the update
    update        the closed form of the energy, see ``landscape``

Energies never rise in the first and the third, nor in the last where F is convex. Images run by
themselves: results do not depend on the other states of a batch.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from denseam.retrieval.flips import Columns, sweep
from denseam.retrieval.landscape import Domain, Landscape, View

__all__ = ["DYNAMICS", "Dynamics", "Trajectory", "WhyStopped", "run"]

Dynamics = Literal["asynchronous", "synchronous", "gradient", "update"]
DYNAMICS: dict[Domain, tuple[Dynamics, ...]] = {
    "binary": ("asynchronous", "synchronous", "update"),
    "box": ("gradient", "asynchronous", "synchronous", "update"),
    "space": ("update", "gradient"),
}
"""The dynamics of each domain, its default first."""

_HALVINGS = 40
_FIRST_STEP, _LONGEST_STEP = 0.1, 2.0  # of a gradient in a box: its largest component
_SHARE = 0.25  # of the closed-form update that a gradient takes in the space: also below the bound


class WhyStopped(StrEnum):
    """Reasons to stop."""

    FIXED = "fixed point"  # nothing moves any more
    CYCLE = "cycle"  # a state has come back
    LIMIT = "limit"  # max_steps
    INACTIVE = "inactive"  # no memory acts on the state: the energy is flat there


class Trajectory(NamedTuple):
    """B states on their way."""

    states: Tensor  # (B, D)
    energies: Tensor  # (B, S + 1) float64; the last one repeats after a stop
    stopped: tuple[WhyStopped, ...]  # B
    steps: Tensor  # (B,) int64
    path: tuple[Tensor, ...]  # S + 1 times (B, D); empty without ``keep``


@dataclass
class Walk:
    """The states that still move, and how they step; a step takes rows of the batch."""

    landscape: Landscape
    domain: Domain
    dynamics: Dynamics
    free: Tensor  # (B, D) bool
    seed: int
    columns: Callable[[], Columns]
    step_lengths: Tensor  # (B,), of the gradient in a box
    number: int = field(default=0)

    def look(self, states: Tensor) -> View:
        """Return what a step from these states needs to see."""
        sweeps = self.dynamics in ("asynchronous", "synchronous")
        return self.landscape.view(states, target=not sweeps)

    def __call__(self, states: Tensor, rows: Tensor, view: View) -> tuple[Tensor, Tensor]:
        """Return the next states of ``rows`` (b,), and whether some memory acts, (b,) bool."""
        free, self.number = self.free[rows], self.number + 1
        if view.target is None or view.direction is None or view.active is None:
            return self._sweep(states, free), torch.ones_like(rows, dtype=torch.bool)
        if self.dynamics == "update":
            return torch.where(free, view.target, states), view.active
        direction = torch.where(free, view.direction, 0)
        if self.domain == "space":
            return states + _SHARE * direction, view.active
        outwards = (states.abs() >= 1) & (states * direction > 0)  # not out of the box
        direction = direction.masked_fill(outwards, 0)
        size = direction.abs().amax(dim=1, keepdim=True)
        direction = direction / torch.where(size > 0, size, 1)
        return self._downhill(states, direction, view.parts.energy, rows), view.active

    def _sweep(self, states: Tensor, free: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed((self.seed + self.number) % 2**63)
        order = torch.randperm(states.shape[1], generator=generator)
        wide = states.double()
        sweep(self.columns(), wide, free, order, at_once=self.dynamics == "synchronous")
        return wide.to(states.dtype)

    def _downhill(self, states: Tensor, direction: Tensor, energy: Tensor, rows: Tensor) -> Tensor:
        """Take a step that does not raise the energy, halved until it does not."""
        length = self.step_lengths[rows]
        result, open_rows = states.clone(), torch.arange(len(rows), device=rows.device)
        for _ in range(_HALVINGS):
            tried = states[open_rows] + length[open_rows, None] * direction[open_rows]
            tried = tried.clamp(-1, 1)
            after = self.landscape.view(tried, target=False).parts.energy
            falls = after <= energy[open_rows]
            result[open_rows[falls]] = tried[falls]
            open_rows = open_rows[~falls]
            if not len(open_rows):
                break
            length[open_rows] /= 2
        longer = (2 * length).clamp(max=_LONGEST_STEP)
        longer[open_rows] = _FIRST_STEP
        self.step_lengths[rows] = longer
        return result


def run(
    landscape: Landscape,
    domain: Domain,
    dynamics: Dynamics,
    states: Tensor,  # (B, D)
    free: Tensor,  # (B, D) bool
    *,
    max_steps: int,
    tolerance: float,
    seed: int,
    keep: bool,
    columns: Callable[[], Columns],
) -> Trajectory:
    """Follow the dynamics until every state has stopped."""
    B, states = len(states), states.clone()
    first = states.new_full((B,), _FIRST_STEP)
    walk = Walk(landscape, domain, dynamics, free, seed, columns, first)
    stopped = [WhyStopped.LIMIT] * B
    steps = torch.zeros(B, dtype=torch.int64)
    path = [states.clone()] if keep else []
    running = torch.arange(B, device=states.device)
    view = walk.look(states)
    energies = [view.parts.energy]
    memento, lap = states.clone(), 1  # Brent: a state to come back to, renewed at powers of two
    for number in range(1, max_steps + 1):
        if not len(running):
            break
        now = states[running]
        after, active = walk(now, running, view)
        moved = (after - now).abs().amax(dim=1)
        fixed = moved <= tolerance * now.abs().amax(dim=1).clamp(min=1)
        back = ~fixed & (after == memento[running]).all(dim=1)
        for reason, hit in (
            (WhyStopped.CYCLE, back), (WhyStopped.FIXED, fixed), (WhyStopped.INACTIVE, ~active)
        ):  # fmt: skip
            for b in running[hit].tolist():
                stopped[b] = reason
        states[running] = after
        steps[running.cpu()] = number
        ends = fixed | back | ~active
        energy = energies[-1].clone()
        if bool(ends.any()):
            last = landscape.view(after[ends], target=False)
            energy[running[ends]] = last.parts.energy
        running = running[~ends]
        if len(running):
            view = walk.look(states[running])
            energy[running] = view.parts.energy
        energies.append(energy)
        if keep:
            path.append(states.clone())
        if number == lap:
            memento, lap = states.clone(), 2 * lap
    return Trajectory(states, torch.stack(energies, dim=1), tuple(stopped), steps, tuple(path))
