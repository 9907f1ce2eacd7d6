"""The two objectives along one image's way, from clean until it converges (Fig. 4, top)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from denseam.descent.goals import Goal, log_objective
from denseam.descent.heads import Head
from denseam.descent.loop import Norm, Step, descend

__all__ = ["Trace", "trace"]


@dataclass(frozen=True)
class Trace:
    """One image's descent, on through the boundary."""

    sample: int  # which of the images given
    top: int
    target: int
    log_top: Tensor  # (S,) float64: log C_top before every step and at the end
    log_target: Tensor  # (S,) float64: log C_target
    crossing: float | None  # where C_target falls below C_top, in steps
    final: Tensor  # (N,): where it converged, or the limit of steps ended it

    def moved(self, offset: int, shape: torch.Size) -> "Trace":
        """The same for a batch that begins ``offset`` images earlier, of images of ``shape``."""
        return replace(self, sample=self.sample + offset, final=self.final.reshape(shape))

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return len(self.log_top) - 1


def trace(
    head: Head,
    gap_head: Head,
    start: Tensor,  # (B, N)
    goal: Goal,
    top: Tensor,  # (B,)
    targets: Tensor,  # (B,)
    samples: Sequence[int],
    *,
    loss_power: float,
    step: float,
    max_steps: int,
    bounds: tuple[float, float] | None,
    norm: Norm = "l2",
) -> tuple[Trace, ...]:
    """Descend the chosen images again, without stopping at the boundary, and write down C.

    ``head`` steers; ``gap_head`` gives the energy gaps that C is a function of.
    """
    chosen = torch.tensor(samples, dtype=torch.int64, device=start.device)
    top, targets = top[chosen], targets[chosen]
    seen: list[list[tuple[float, float]]] = [[] for _ in samples]

    def look(at: Step) -> None:
        gap = gap_head(at.images).values
        logs = [log_objective(gap, c[at.rows], loss_power) for c in (top, targets)]
        for row, pair in zip(at.rows.tolist(), torch.stack(logs, 1).tolist(), strict=True):
            seen[row].append((pair[0], pair[1]))

    end = descend(
        head, start[chosen], goal.at(chosen), step=step, max_steps=max_steps, bounds=bounds,
        norm=norm, on_step=look,
    )  # fmt: skip
    logs = [torch.tensor(pairs, dtype=torch.float64).T for pairs in seen]
    return tuple(
        Trace(
            sample, int(top[i]), int(targets[i]), logs[i][0], logs[i][1], _crossing(*logs[i]),
            end.images[i],
        )
        for i, sample in enumerate(samples)
    )  # fmt: skip


def _crossing(log_top: Tensor, log_target: Tensor) -> float | None:
    """Where two curves first cross, by linear interpolation between steps."""
    lead = log_top - log_target  # negative while C_target is the larger one
    behind = (lead >= 0).nonzero().flatten()
    if not len(behind):
        return None
    i = int(behind[0])
    if i == 0:
        return 0.0
    return i - 1 + float(lead[i - 1] / (lead[i - 1] - lead[i]))
