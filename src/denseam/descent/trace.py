"""The two objectives along one image's way, from clean until it converges (Fig. 4, top)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from denseam.descent.goals import Goal, log_objective
from denseam.descent.heads import Head
from denseam.descent.loop import Pace, Step, descend
from denseam.showing import Shown


@dataclass(frozen=True, repr=False)
class Trace(Shown):
    """The objectives along one image's descent, which goes on behind the boundary."""

    sample: int  # which image of the batch
    top: int
    target: int
    log_top: Tensor  # (S,) float64: log C_top before every step and at the end
    log_target: Tensor  # (S,) float64: log C_target
    crossing: float | None  # where C_target falls below C_top, in steps
    final: Tensor  # (N,): where it converged, or where it was after the last step

    def moved(self, offset: int, shape: torch.Size) -> "Trace":
        """Return the trace for a batch that begins ``offset`` images earlier, of this shape."""
        return replace(self, sample=self.sample + offset, final=self.final.reshape(shape))

    @property
    def steps(self) -> int:
        """Number of steps taken."""
        return len(self.log_top) - 1


def trace(
    head: Head,
    gap_head: Head,
    start: Tensor,  # (B, N)
    goal: Goal,
    classes: tuple[Tensor, Tensor],  # (B,) each: top choices and targets
    samples: Sequence[int],
    pace: Pace,
    loss_power: float,
) -> tuple[Trace, ...]:
    """Descend the samples again, without stopping at the boundary, and record C.

    ``head`` steers; ``gap_head`` gives the energy gaps that C is a function of.
    """
    if not samples:
        return ()
    chosen = torch.tensor(samples, dtype=torch.int64, device=start.device)
    top, targets = (each[chosen] for each in classes)
    seen: list[list[tuple[float, float]]] = [[] for _ in samples]

    def record(step: Step) -> None:
        gap = gap_head(step.images).values
        logs = [log_objective(gap, c[step.rows], loss_power) for c in (top, targets)]
        for row, pair in zip(step.rows.tolist(), torch.stack(logs, 1).tolist(), strict=True):
            seen[row].append((pair[0], pair[1]))

    end = descend(head, start[chosen], goal.at(chosen), pace, on_step=record)
    logs = [torch.tensor(pairs, dtype=torch.float64).T for pairs in seen]
    return tuple(
        Trace(
            sample, int(top[i]), int(targets[i]), logs[i][0], logs[i][1], _crossing(*logs[i]),
            end.images[i],
        )
        for i, sample in enumerate(samples)
    )  # fmt: skip


def _crossing(log_top: Tensor, log_target: Tensor) -> float | None:
    """Find where two curves first cross, by linear interpolation between steps."""
    lead = log_top - log_target  # negative while C_target is the larger one
    behind = (lead >= 0).nonzero().flatten()
    if not len(behind):
        return None
    i = int(behind[0])
    if i == 0:
        return 0.0
    return i - 1 + float(lead[i - 1] / (lead[i - 1] - lead[i]))
