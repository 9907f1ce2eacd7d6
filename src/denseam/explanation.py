"""Explanations of a label: the memories that voted for it, and how much.

The energy is a sum over memories, so the share of every memory is exact. With
S_c = sum_mu F_n(on_c^mu), whose logarithm is the log-energy, and r the rival of class c, the best
of all others:

    share         F_n(on_c^mu) / S_c                                they sum to 1
    contribution  (F_n(on_c^mu) - F_n(on_r^mu)) / max(S_c, S_r)     they sum to the margin
    margin        (S_c - S_r) / max(S_c, S_r)                       in [-1, 1]

A memory that votes alike for c and r, xi_c = xi_r, contributes nothing, however large its share.
F is taken relative to F(largest h) in float64: nothing overflows, nothing that matters underflows.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from denseam import energy
from denseam.checks import choice, whole
from denseam.energies import EnergyFunction
from denseam.showing import Drawn, Shown, Tabular

__all__ = ["ClassVotes", "Explanation", "Order", "explain"]

Order = Literal["share", "contribution"]

_ROUNDING = 1e-12  # of a sum of shares, so that two halves are a half
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True, eq=False, repr=False)
class ClassVotes(Shown, Tabular):
    """The memories that make the energy of one class, the M largest first.

    Attributes:
        label: the class c.
        rival: the class r with the largest log-energy of all others; None where there is no other.
        margin: (S_c - S_r) / max(S_c, S_r), in [-1, 1]; 0 where both are 0.
        n_active: memories with a share above 0.
        n_half: the fewest memories that make 50 % of S_c; 0 where it is 0.
        n_most: the fewest that make 90 % of it.
        n_deciding: the fewest whose contributions reach the margin; 0 where that is 0.
        positions: (M,) int64, in the model. M is the requested count, or less where fewer memories
            have a share (or contribution, in that order) above 0.
        shares: (M,) float64, in [0, 1].
        contributions: (M,) float64, to the margin.
        visible: (M, N), the visible part of these memories.
        votes: (M, C), their class memories xi in [-1, 1].
        places: (M,) int64, where each of them sees that patch; None where memories see the whole.
    """

    label: int
    rival: int | None
    margin: float
    n_active: int
    n_half: int
    n_most: int
    n_deciding: int
    positions: Tensor
    shares: Tensor
    contributions: Tensor
    visible: Tensor
    votes: Tensor
    places: Tensor | None = None

    def _summary(self) -> str:
        lead = ""
        if self.rival is not None:
            way = "ahead of" if self.margin >= 0 else "behind"
            lead = f", {100 * abs(self.margin):.3g} % {way} class {self.rival}"
        return f"class {self.label}{lead}; {self.n_half} memories carry half of its energy"

    def _columns(self) -> dict[str, list[Any]]:
        return {
            "class": [self.label] * len(self.positions),
            "memory": self.positions.tolist(),
            **({} if self.places is None else {"place": self.places.tolist()}),
            "share": self.shares.tolist(),
            "contribution": self.contributions.tolist(),
            "votes for": [*self.votes_for],
        }

    @property
    def votes_for(self) -> tuple[tuple[int, ...], ...]:
        """Return the classes with xi > 0 of each of the M memories, the firmest vote first."""
        order = self.votes.argsort(dim=1, descending=True, stable=True)
        return tuple(
            tuple(int(c) for c in best if votes[c] > 0)
            for votes, best in zip(self.votes, order, strict=True)
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; pixels are left out."""
        numbers = ("label", "rival", "margin", "n_active", "n_half", "n_most", "n_deciding")
        columns: tuple[Tensor, ...]
        columns = (self.positions, self.shares, self.contributions, self.votes)
        names = ["position", "share", "contribution", "votes"]
        if self.places is not None:
            names, columns = [*names, "place"], (*columns, self.places)
        names = [*names, "votes_for"]
        rows = zip(*(c.tolist() for c in columns), map(list, self.votes_for), strict=True)
        return {
            **{name: getattr(self, name) for name in numbers},
            "memories": [dict(zip(names, row, strict=True)) for row in rows],
        }


@dataclass(frozen=True, eq=False, repr=False)
class Explanation(Shown, Drawn, Tabular):
    """The label of one image among C classes, and the memories that voted for it.

    Attributes:
        visible: (N,) the image.
        power: n.
        n_memories: K.
        log_energies: (C,) float64: log sum_mu F_n(on); -inf where no memory is active.
        predicted: the votes for the class that the model predicts.
        other: the votes for the requested class, or the runner-up; None without another class.
    """

    _figure: ClassVar[str] = "explanation"

    visible: Tensor
    power: float
    n_memories: int
    log_energies: Tensor
    predicted: ClassVotes
    other: ClassVotes | None

    def _summary(self) -> str:
        if not self.active:
            return "no memory is active: the label means nothing"
        words = repr(self.predicted).removeprefix("ClassVotes(").removesuffix(")")
        return f"n = {self.power:g}, {self.n_memories} memories; {words}"

    def _columns(self) -> dict[str, list[Any]]:
        both = [votes._columns() for votes in (self.predicted, self.other) if votes is not None]  # noqa: SLF001
        return {name: [cell for each in both for cell in each[name]] for name in both[0]}

    @property
    def active(self) -> bool:
        """True where any memory is active for any class; otherwise the label means nothing."""
        return bool((self.log_energies > -torch.inf).any())

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; null for a log-energy of -inf; pixels are left out."""
        logs = self.log_energies.tolist()
        return {
            "power": self.power if math.isfinite(self.power) else None,
            "n_memories": self.n_memories,
            "active": self.active,
            "log_energies": [None if x == -torch.inf else x for x in logs],
            "predicted": self.predicted.to_json(),
            "other": None if self.other is None else self.other.to_json(),
        }


def explain(
    visible: Tensor,
    memories: Tensor,
    F: EnergyFunction,
    predicted: int,
    *,
    count: int = 10,
    label: int | None = None,
    by: Order = "share",
) -> Explanation:
    """Explain a label by the memories that make its energy; see ``DenseAM.explain``.

    Args:
        visible: (N,) in [-1, 1]; or (P, D), the patches of an image.
        memories: (K, N + C).
        F: the energy function.
        predicted: the class that the model predicts.
        count: how many memories to name for a class.
        label: the class to compare it with; the runner-up by default.
        by: which memories to name: those with the largest shares, or contributions.

    Raises:
        InputError: for a count below 1, a label that is no class, or another order.
    """
    image, rows = visible.detach().cpu(), memories.detach().cpu()
    on, _ = energy.fields(image.double().reshape(-1, image.shape[-1]), rows.double())
    fields = on.transpose(0, 1).flatten(0, 1)  # (K, C), or (K * P, C)
    n_classes = fields.shape[1]
    count = whole("count", count)
    if label is not None:
        label = whole("label", label, 0, n_classes - 1)
    choice("by", by, get_args(Order))
    logs = torch.logsumexp(F.log(fields), dim=0)  # (C,)
    compared = predicted if label is None else label
    other = _best_other(logs, predicted) if compared == predicted else compared

    def votes(label: int) -> ClassVotes:
        return _votes(label, _best_other(logs, label), fields, F, rows, count, by)

    return Explanation(
        visible=image.flatten(),
        power=F.power,
        n_memories=len(rows),
        log_energies=logs,
        predicted=votes(predicted),
        other=None if other is None else votes(other),
    )


def _votes(
    label: int,
    rival: int | None,
    fields: Tensor,  # (K, C)
    F: EnergyFunction,
    memories: Tensor,  # (K, N + C); each has as many fields
    count: int,
    by: Order,
) -> ClassVotes:
    classes = [label] if rival is None else [label, rival]
    scales = F.scale(fields[:, classes], dim=0)  # (1, 1 or 2)
    shares = F.ratio(fields[:, label], scales[0, 0])  # (K,)
    shares = shares / shares.sum().clamp(min=_TINY)  # they sum to 1, or all are 0
    values = F.ratio(fields[:, classes], scales.amax())  # (K, 1 or 2)
    energies = values.sum(dim=0)
    rivals = values[:, 1] if rival is not None else torch.zeros_like(shares)
    total = energies.amax().clamp(min=_TINY)
    contributions = (values[:, 0] - rivals) / total
    margin = float((energies[0] - rivals.sum()) / total)
    ranked, order = (shares if by == "share" else contributions).sort(descending=True, stable=True)
    first = order[: min(count, int((ranked > 0).sum()))]
    n_visible = memories.shape[1] - fields.shape[1]
    n_places = len(fields) // len(memories)
    positions = first // n_places
    named = memories[positions]
    return ClassVotes(
        label=label,
        rival=rival,
        margin=margin,
        n_active=int((shares > 0).sum()),
        n_half=_fewest(shares, 0.5),
        n_most=_fewest(shares, 0.9),
        n_deciding=_fewest(contributions if margin > 0 else -contributions, abs(margin)),
        positions=positions,
        shares=shares[first],
        contributions=contributions[first],
        visible=named[:, :n_visible],
        votes=named[:, n_visible:],
        places=first % n_places if n_places > 1 else None,
    )


def _best_other(logs: Tensor, label: int) -> int | None:
    """Return the class with the largest of logs (C,), other than ``label``; the first of ties."""
    others = [c for c in range(len(logs)) if c != label]
    return max(others, key=lambda c: float(logs[c]), default=None)


def _fewest(shares: Tensor, target: float) -> int:
    """Return how many of the shares (K,), the largest first, reach a sum; 0 where all are 0."""
    sums = shares.sort(descending=True).values.clamp(min=0).cumsum(dim=0)
    reached = sums >= min(target - _ROUNDING, float(sums[-1]))
    return int(reached.int().argmax()) + 1 if target > 0 and sums[-1] > 0 else 0
