"""Capacity: how many random patterns a memory holds, measured, beside the laws of the papers.

bit errors   the share of wrong bits of stored patterns after one step (NIPS16, section 2):
             P = erfc((N^(n-1) / (2 K (2n-3)!!))^(1/2)) / 2,  K_max = alpha_n N^(n-1)
no errors    K = N^(n-1) / (2 (2n-3)!! ln N)
transition   where stored patterns stop being fixed points of the dynamics: K = 0.138 N at n = 2
exponential  patterns on a sphere of radius d^(1/2), beta = 1: log K grows in proportion to d
basins       the share of patterns that come back from a share of turned bits
spurious     where random states end
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from denseam.checks import number, seed_of, whole
from denseam.energies import Exponential, Polynomial
from denseam.errors import InputError
from denseam.retrieval.memory import AssociativeMemory

__all__ = [
    "Capacity", "Exponent", "basin", "bit_error_law", "bit_errors", "capacity", "capacity_law",
    "double_factorial", "error_free_law", "error_free_share", "exponent", "on_sphere",
    "random_patterns", "sphere_capacity", "sphere_law", "sphere_success", "spurious", "transition",
]  # fmt: skip

# Of wrong bits: where n = 2 holds 0.138 N by the law of one step (Hertz, Krogh and Palmer, Table
# 2.1). NIPS16 takes an arbitrary 0.5 %, at which it would be 0.151 N.
THRESHOLD = 0.0036
_LOADS = (0.75, 0.85, 0.95, 1.05, 1.15, 1.25)  # of the K that the law gives
_RESAMPLED = 400
_MOST = 10**6  # patterns on a sphere

Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    del done, total


def double_factorial(n: int) -> int:
    """Return (2n - 3)!! of a power n: 1, 3, 15 for 2, 3, 4.

    >>> [double_factorial(n) for n in (2, 3, 4)]
    [1, 3, 15]
    """
    return math.prod(range(2 * n - 3, 0, -2))


def bit_error_law(n: int, N: int, K: float) -> float:
    """Return the share of wrong bits that NIPS16 expects (its Eq. 5)."""
    return math.erfc(math.sqrt(N ** (n - 1) / (2 * K * double_factorial(n)))) / 2


def capacity_law(n: int, N: int, share: float = THRESHOLD) -> float:
    """Return K_max = alpha_n N^(n-1), where ``bit_error_law`` is a share of the bits.

    >>> round(capacity_law(2, 1000) / 1000, 3)
    0.138
    """
    quantile = float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))
    return float(N ** (n - 1) / (quantile**2 * double_factorial(n)))


def error_free_law(n: int, N: int) -> float:
    """Return the number of patterns that NIPS16 expects to be stored without errors (Eq. 6)."""
    return float(N ** (n - 1) / (2 * double_factorial(n) * math.log(N)))


def random_patterns(K: int, N: int, seed: int) -> Tensor:
    """Return K patterns of N fair coins, -1 or +1, (K, N) float32."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(2, (K, N), generator=generator).float() * 2 - 1


def _stored(n: int, N: int, K: int, seed: int) -> tuple[AssociativeMemory, Tensor]:
    patterns = random_patterns(K, N, seed)
    memory = AssociativeMemory.store(patterns, Polynomial(n), domain="binary", centre=False)
    return memory, patterns


def _checked(n: Any, N: Any) -> tuple[int, int]:
    return whole("power", n, 2, 20), whole("n_neurons", N, 4)


# ---- errors of bits --------------------------------------------------------------------------


def bit_errors(n: int, N: int, K: int, *, bits: int, seed: int) -> tuple[int, int, int, int]:
    """Count the bits of stored patterns that one step turns.

    Args:
        n: the power.
        N: neurons.
        K: random patterns.
        bits: look at so many of them at least, over as many draws as that takes.
        seed: of the patterns.

    Returns:
        Wrong bits, bits, patterns without any wrong bit, patterns.
    """
    wrong = seen = clean = patterns_seen = draw = 0
    while seen < bits:
        memory, patterns = _stored(n, N, K, seed + 1000 * draw)
        some = patterns[: max(1, min(K, 64, (bits - seen) // N + 1))]
        turned = memory.flip_gaps(some) * some < 0
        wrong, seen = wrong + int(turned.sum()), seen + turned.numel()
        clean += int((~turned.any(dim=1)).sum())
        patterns_seen, draw = patterns_seen + len(some), draw + 1
    return wrong, seen, clean, patterns_seen


@dataclass(frozen=True)
class Capacity:
    """The number of patterns at which a share of bits, 0.36 %, is wrong after one step."""

    n: int
    n_neurons: int
    patterns: float  # K_max
    low: float  # of its 95 % interval
    high: float
    measured: tuple[tuple[int, int, int], ...]  # K, wrong bits, bits

    @property
    def alpha(self) -> float:
        """K_max / N^(n-1)."""
        return float(self.patterns / self.n_neurons ** (self.n - 1))


def capacity(
    n: int, N: int, *, bits: int = 20_000, seed: int = 0, progress: Progress = _silent
) -> Capacity:
    """Measure how many patterns N neurons hold at a power n, with 0.36 % of wrong bits.

    Args:
        n: the power, a whole number, 2 <= n.
        N: neurons.
        bits: measured at each of six loads.
        seed: of the patterns, and of the resampling that gives the interval.
        progress: called with the loads done, and all.

    Raises:
        InputError: for numbers out of range, and for sizes at which K_max is below 2.
    """
    n, N = _checked(n, N)
    expected = capacity_law(n, N)
    loads = sorted({max(2, round(load * expected)) for load in _LOADS})
    if len(loads) < 3:
        raise InputError(f"n_neurons = {N}: too few for the capacity at n = {n}")
    measured = []
    for i, K in enumerate(loads):
        wrong, seen, _, _ = bit_errors(n, N, K, bits=whole("bits", bits), seed=seed_of(seed) + i)
        measured.append((K, wrong, seen))
        progress(i + 1, len(loads))
    best = _crossing(loads, [(w + 0.5) / s for _, w, s in measured])
    generator = torch.Generator().manual_seed(seed)
    rates = torch.tensor([[float(w) for _, w, _ in measured]]).expand(_RESAMPLED, -1)
    drawn = torch.poisson(rates.contiguous(), generator=generator)
    crossings = torch.tensor(
        [_crossing(loads, [(w + 0.5) / s for w, (_, _, s) in zip(row, measured, strict=True)])
         for row in drawn.tolist()], dtype=torch.float64
    )  # fmt: skip
    low, high = torch.quantile(crossings, torch.tensor([0.025, 0.975]).double()).tolist()
    return Capacity(n, N, best, low, high, tuple(measured))


def _crossing(loads: Sequence[float], shares: Sequence[float]) -> float:
    """Return K at the threshold: the line of normal quantiles against K^(-1/2)."""
    x = torch.tensor([K**-0.5 for K in loads], dtype=torch.float64)
    y = -torch.special.ndtri(torch.tensor(shares, dtype=torch.float64))
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
    slope = slope if float(slope) > 0 else y.mean() / x.mean()
    target = -torch.special.ndtri(torch.tensor(THRESHOLD, dtype=torch.float64))
    root = x.mean() + (target - y.mean()) / slope
    return float(root.clamp(min=1e-6) ** -2)


@dataclass(frozen=True)
class Exponent:
    """The power of N by which a capacity grows: a line through logarithms."""

    value: float
    low: float
    high: float
    factor: float  # alpha, at the whole power


def exponent(capacities: Sequence[Capacity]) -> Exponent:
    """Fit K_max = alpha N^x to capacities of several N.

    Raises:
        InputError: for fewer than two different N.
    """
    N = torch.tensor([float(c.n_neurons) for c in capacities], dtype=torch.float64).log()
    K = torch.tensor([c.patterns for c in capacities], dtype=torch.float64).log()
    if len({c.n_neurons for c in capacities}) < 2:
        raise InputError("exponent: wanted capacities of two numbers of neurons or more")
    sides = [(math.log(c.high) - math.log(c.low)) / 3.92 for c in capacities]
    deviation = torch.tensor(sides, dtype=torch.float64).clamp(min=1e-6)
    weight = deviation**-2 / (deviation**-2).sum()
    middle = (weight * N).sum()
    spread = (weight * (N - middle) ** 2).sum()
    slope = float((weight * (N - middle) * K).sum() / spread)
    error = float((1 / (deviation**-2).sum() / spread).sqrt())
    alphas = torch.tensor([c.alpha for c in capacities], dtype=torch.float64)
    factor = float((weight * alphas.log()).sum().exp())
    return Exponent(slope, slope - 1.96 * error, slope + 1.96 * error, factor)


def error_free_share(n: int, N: int, *, draws: int = 20, seed: int = 0) -> tuple[int, int, int]:
    """Store as many patterns as the law without errors allows, and count those without one.

    Returns:
        Patterns without a wrong bit after one step, patterns looked at, K.
    """
    n, N = _checked(n, N)
    K = max(2, round(error_free_law(n, N)))
    _, _, clean, seen = bit_errors(n, N, K, bits=whole("draws", draws) * N * min(K, 64), seed=seed)
    return clean, seen, K


# ---- dynamics --------------------------------------------------------------------------------


def transition(
    N: int, loads: Sequence[float], *, n: int = 2, states: int = 60, seed: int = 0,
    progress: Progress = _silent,
) -> list[tuple[float, float, float]]:  # fmt: skip
    """Follow the dynamics from stored patterns to a fixed point.

    Args:
        N: neurons.
        loads: K / N^(n-1), one after another.
        n: the power.
        states: patterns to begin at for each load.
        seed: of the patterns.
        progress: called with the loads done, and all.

    Returns:
        For each load K / N^(n-1) (of the whole K), the mean final overlap, and the share of
        states whose final overlap is above 0.9.
    """
    n, N = _checked(n, N)
    rows = []
    for i, load in enumerate(loads):
        K = max(2, round(number("load", load, above=0) * N ** (n - 1)))
        final: list[Tensor] = []
        while sum(map(len, final)) < states:
            memory, patterns = _stored(n, N, K, seed + 7919 * i + len(final))
            some = patterns[: min(K, states - sum(map(len, final)), 32)]
            ends = memory.retrieve(some, max_steps=60, seed=seed).states
            final.append((ends * some).mean(dim=1))
        overlaps = torch.cat(final)
        share = float((overlaps > 0.9).double().mean())
        rows.append((K / N ** (n - 1), float(overlaps.mean()), share))
        progress(i + 1, len(loads))
    return rows


def basin(
    n: int, N: int, K: int, shares: Sequence[float], *, states: int = 100, seed: int = 0
) -> list[tuple[float, int, int]]:
    """Turn a share of the bits of stored patterns, and count those that come back.

    Returns:
        For each share: it, patterns that came back (overlap above 0.95), patterns.
    """
    n, N = _checked(n, N)
    memory, patterns = _stored(n, N, K, seed)
    some = patterns[: min(K, states)]
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(some.shape, generator=generator).argsort(dim=1)
    rows = []
    for share in shares:
        turned = order < round(share * N)
        ends = memory.retrieve(torch.where(turned, -some, some), max_steps=60, seed=seed).states
        rows.append((share, int(((ends * some).mean(dim=1) > 0.95).sum()), len(some)))
    return rows


def spurious(n: int, N: int, K: int, *, states: int = 200, seed: int = 0) -> dict[str, int]:
    """Count where random states end: at a pattern, at the negative of one, or elsewhere.

    "elsewhere" are spurious minima, such as mixtures of patterns.
    """
    n, N = _checked(n, N)
    memory, patterns = _stored(n, N, K, seed)
    ends = memory.retrieve(random_patterns(states, N, seed + 1), max_steps=100, seed=seed).states
    overlaps = ends @ patterns.T / N
    most, least = overlaps.amax(dim=1), overlaps.amin(dim=1)
    pattern, negative = most > 0.95, (least < -0.95) & (most <= 0.95)
    elsewhere = ~(pattern | negative)
    return {"pattern": int(pattern.sum()), "negative": int(negative.sum()),
            "elsewhere": int(elsewhere.sum())}  # fmt: skip


# ---- patterns on a sphere ----------------------------------------------------------------------


def on_sphere(K: int, d: int, seed: int) -> Tensor:
    """Return K random patterns of length d^(1/2), (K, d) float32."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(K, d, generator=generator)
    return math.sqrt(d) * torch.nn.functional.normalize(normal, dim=1)


def sphere_law(beta: float = 1.0) -> float:
    """Return the growth of log K by dimension that random patterns allow.

    Wrong memories together weigh K E[exp(beta xi . xi')] against exp(beta d) of the right one. At
    large d the mean is exp(d max_c (beta c + log(1 - c^2) / 2)), so log K = d (beta - that).

    >>> round(sphere_law(), 3)
    0.623
    """
    c = (math.sqrt(1 + 4 * beta**2) - 1) / (2 * beta)
    return beta - (beta * c + math.log(1 - c**2) / 2)


def sphere_success(d: int, K: int, *, beta: float = 1.0, states: int = 200, seed: int = 0) -> float:
    """Return the share of stored patterns that one update leaves nearest to themselves and close.

    Close is a tenth of the squared length: an update from the pattern itself, as in Theorem 3 of
    Ramsauer et al.
    """
    patterns = on_sphere(K, d, seed)
    memory = AssociativeMemory.store(patterns, Exponential(beta), domain="space")
    some = patterns[: min(K, states)]
    moved = (memory.step(some) - some).square().sum(dim=1)
    return float((moved <= 0.1 * d).double().mean())


def sphere_capacity(d: int, *, beta: float = 1.0, states: int = 200, seed: int = 0) -> float:
    """Return the number of patterns of d dimensions of which half are held, by bisection of log K.

    Raises:
        InputError: for d out of range: below 2, or where over 10^6 patterns are held.
    """
    d = whole("dimension", d, 2)
    low = high = math.log(2)
    while sphere_success(d, round(math.exp(high)), beta=beta, states=states, seed=seed) >= 0.5:
        low, high = high, high + math.log(4)
        if high > math.log(_MOST):
            raise InputError(f"dimension = {d}: over {_MOST} patterns are held, wanted a smaller d")
    for step in range(6):
        middle = (low + high) / 2
        share = sphere_success(d, round(math.exp(middle)), beta=beta, states=states,
                               seed=seed + step)  # fmt: skip
        low, high = (middle, high) if share >= 0.5 else (low, middle)
    return math.exp((low + high) / 2)
