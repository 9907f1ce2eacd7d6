"""Defaults of a store: the domain, the energy and its beta, taken from the patterns."""

import math
import os
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor

from denseam.checks import choice
from denseam.data import Dataset, Examples
from denseam.energies import (
    EnergyFunction,
    Entmax,
    Exponential,
    LogSumReLU,
    Polynomial,
    RectifiedPolynomial,
)
from denseam.errors import InputError
from denseam.retrieval.landscape import Domain
from denseam.retrieval.patterns import Facts, FilePatterns, Patterns, stacked

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["domain_of", "energy_of", "patterns_of", "share_background"]

_SAMPLE = 256  # patterns that a default beta looks at
_COMMON, _FEWEST = 0.5, 16  # share of a square that is common; of so many patterns at least


def patterns_of(patterns: Any, tensor: str | None) -> tuple[Patterns, tuple[int, int] | None]:
    """Return patterns, and the shape of pictures where they have one."""
    if isinstance(patterns, Dataset):
        raise InputError("patterns: a Dataset has two sets; store .train or .test of it")
    if isinstance(patterns, Examples):
        shape = patterns.input_shape
        return Patterns(patterns.inputs(torch.float32)), shape if len(shape) == 2 else None
    if isinstance(patterns, str | os.PathLike):
        rows = FilePatterns(patterns, tensor)
        if not len(rows) or not rows.n_components:
            raise InputError(f"{patterns}: no patterns, wanted (K, D), K and D >= 1")
        return rows, None
    rows_ = stacked(patterns)
    axes = tuple(getattr(patterns, "shape", ()))
    picture = axes[1:] if len(axes) == 3 else None
    return Patterns(rows_), picture


def domain_of(facts: Facts, count: int, domain: Domain | None, energy: Any) -> Domain:
    """Return the domain asked for, where the patterns lie in it, or the one that suits them."""
    if domain is None:
        space = isinstance(energy, Entmax | LogSumReLU) or energy in ("entmax", "log_sum_relu")
        return "binary" if facts.n_binary == count and not space else "space"
    choice("domain", domain, get_args(Domain))
    if domain == "binary" and facts.n_binary < count:
        raise InputError(
            f"patterns of mixed kinds: {facts.n_binary} of {count} are binary, pattern "
            f"{facts.first_other} is not; domain 'binary' takes -1 and +1 alone"
        )
    if domain == "box" and facts.largest > 1:
        raise InputError(f"patterns reach {facts.largest:g}: domain 'box' takes [-1, 1]")
    return domain


def share_background(facts: Facts, count: int) -> bool:
    """Return whether patterns share a background: their overlaps are large beside their squares."""
    square = 2 * float(facts.half_squares.mean())
    if count < _FEWEST or square == 0:
        return False
    between = (count * float(facts.mean.square().sum()) - square) / (count - 1)  # other pairs
    return between > _COMMON * square


def energy_of(energy: Any, rows: Patterns, facts: Facts, domain: Domain) -> EnergyFunction | Entmax:
    """Return an energy function; the names and the default take a beta from the patterns."""
    if isinstance(energy, EnergyFunction | Entmax):
        return energy
    table: dict[str, Callable[[], EnergyFunction | Entmax]] = {
        "exponential": lambda: Exponential(
            beta(), 0.0 if domain == "space" else 2 * float(facts.half_squares.max())
        ),
        "rectified_polynomial": lambda: RectifiedPolynomial(30),
        "polynomial": lambda: Polynomial(2),
        "entmax": lambda: Entmax(beta()),
        "log_sum_relu": lambda: LogSumReLU(2 / _radius_square(rows, facts)),
    }

    def beta() -> float:
        return _separating_beta(rows, facts)

    if energy is None:
        return table["exponential"]()
    if isinstance(energy, str):
        return table[choice("energy", energy, table)]()
    return RectifiedPolynomial(energy)


def _sampled_gaps(rows: Patterns, facts: Facts) -> tuple[Tensor, Tensor]:
    """Return the lead of a pattern over the next one in overlap, and their distance^2 / 2, (S,)."""
    S = min(len(rows), _SAMPLE)
    chosen = torch.linspace(0, len(rows) - 1, S, dtype=torch.float64).long()
    sample, halves = rows.take(chosen), facts.half_squares.to(rows.dtype)
    lead = torch.full((S,), torch.inf, dtype=rows.dtype, device=rows.device)
    near = lead.clone()
    for start, block in rows.blocks():
        overlaps = sample @ block.T  # (S, k)
        here = chosen[:, None].to(rows.device) == start + torch.arange(len(block)).to(rows.device)
        gap = 2 * halves[chosen, None] - overlaps
        distance = gap - halves[chosen, None] + halves[None, start : start + len(block)]
        away = here | (distance <= 1e-6 * halves[chosen, None])  # itself, and equal ones
        lead = torch.minimum(lead, gap.masked_fill(away, torch.inf).amin(dim=1))
        near = torch.minimum(near, distance.masked_fill(away, torch.inf).amin(dim=1))
    return lead.double(), near.double()


def _separating_beta(rows: Patterns, facts: Facts) -> float:
    """Return the beta at which a lead that 9 of 10 patterns have outweighs all other patterns."""
    lead, _ = _sampled_gaps(rows, facts)
    lead = lead[(lead > 0) & lead.isfinite()]
    square = 2 * float(facts.half_squares.max()) or 1.0
    typical = float(lead.quantile(0.1)) if len(lead) else square
    return (math.log(len(rows)) + 5) / typical


def _radius_square(rows: Patterns, facts: Facts) -> float:
    """Return the squared radius in which the median pattern is alone."""
    _, near = _sampled_gaps(rows, facts)
    near = near[near.isfinite()]
    return (
        0.98 * 2 * (float(near.median()) if len(near) else float(facts.half_squares.max()) or 1.0)
    )
