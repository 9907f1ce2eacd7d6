"""Energies of retrieval alone: log-sum-ReLU, and the sparse ones of Fenchel and Young.

Neither classifies: log-sum-ReLU looks at distances, which have no class term, and Entmax is no sum
over memories. So neither has a row in ``FUNCTIONS``.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from denseam.checks import number
from denseam.energies.base import EnergyFunction


@dataclass(frozen=True)
class LogSumReLU(EnergyFunction):
    """The ReLU of a distance, F(x) = max(0, 1 + beta x) with x = -|v - xi|^2 / 2.

    The energy of Hoover et al. (arXiv 2506.10801) is E(v) = -log sum_mu F(x_mu) / beta, the log of
    an Epanechnikov density. A memory acts within the radius (2 / beta)^(1/2) alone. So one that
    stands apart is retrieved exactly, and where balls overlap the mean of their centres can
    be a minimum as well. For retrieval only.

    Args:
        beta: > 0, per squared unit of a state.

    Raises:
        InputError: for another beta.

    >>> LogSumReLU(2.0).value(torch.tensor([0.0, -0.25, -1.0]))
    tensor([1.0000, 0.5000, 0.0000])
    """

    name: ClassVar[str] = "log_sum_relu"
    beta: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", number("beta", self.beta, above=0))

    @classmethod
    def matched(cls, power: float, temperature: float) -> Self:
        return cls(power / temperature)

    @property
    def power(self) -> float:
        return 1.0

    def value(self, x: Tensor) -> Tensor:
        return (1 + self.beta * x).clamp(min=0)

    def slope(self, x: Tensor) -> Tensor:
        return self.beta * (1 + self.beta * x > 0).to(x.dtype)

    def log(self, x: Tensor) -> Tensor:
        return self.value(x).log()

    def ratio(self, x: Tensor, y: Tensor | float) -> Tensor:
        return self._over(self.value(x), self.value(torch.as_tensor(y, dtype=x.dtype)))

    def slope_ratio(self, x: Tensor, y: Tensor | float) -> Tensor:
        return self.slope(x) / self.beta

    def pull(self, x: Tensor, y: Tensor | float) -> Tensor:
        return self._over(self.slope(x), self.value(torch.as_tensor(y, dtype=x.dtype)))

    def size(self, x: Tensor) -> Tensor:
        return x.clamp(min=-1 / self.beta)

    def active(self, scale: Tensor) -> Tensor:
        return self.value(scale) > 0

    @staticmethod
    def _over(x: Tensor, y: Tensor) -> Tensor:
        return torch.where(y > 0, x / torch.where(y > 0, y, 1), torch.zeros_like(x))


@dataclass(frozen=True)
class Entmax:
    """The conjugate of Tsallis' negative entropy: sparse attention over memories.

    Santos et al. (arXiv 2402.13725): E(v) = -Omega*(beta Xi v) / beta + |v|^2 / 2 + constant, whose
    update weighs memories by alpha-entmax: exactly one-hot where the largest overlap leads by
    1 / (beta (alpha - 1)), so that a memory is retrieved exactly. With h the overlaps,

        p_mu = max(0, (alpha - 1) beta h_mu - tau)^(1 / (alpha - 1)),   tau so that they sum to 1

    No sum over memories, and so no ``EnergyFunction``: for retrieval only.

    Args:
        beta: > 0, per unit of an overlap.
        alpha: 1 < alpha <= 2. 2 is sparsemax; 1 would be the softmax of ``Exponential``.

    Raises:
        InputError: for numbers out of range.

    >>> Entmax(beta=1.0, alpha=2.0).weights(torch.tensor([[2.0, 1.5, 0.0]]))
    tensor([[0.7500, 0.2500, 0.0000]])
    """

    name: ClassVar[str] = "entmax"
    beta: float
    alpha: float = 1.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", number("beta", self.beta, above=0))
        object.__setattr__(self, "alpha", number("alpha", self.alpha, above=1, most=2))

    def weights(self, overlaps: Tensor) -> Tensor:
        """Return p, (B, K) -> (B, K), exact zeros outside of its support."""
        scores = (self.alpha - 1) * self.beta * overlaps
        top = scores.amax(dim=1, keepdim=True)
        rows = torch.arange(len(scores), device=scores.device).repeat_interleave(scores.shape[1])
        offsets = (scores - top).flatten().double()
        tau = self.threshold(offsets, rows, len(scores))
        powers = (offsets - tau[rows]).clamp(min=0) ** (1 / (self.alpha - 1))
        return powers.reshape(scores.shape).to(overlaps.dtype)

    def threshold(self, offsets: Tensor, rows: Tensor, count: int) -> Tensor:
        """Return tau below the largest score, (B,) float64, by Newton's method from the left.

        Args:
            offsets: (L,) float64, scores (alpha - 1) beta h below the largest one of their row.
            rows: (L,) int64 in 0 .. B - 1; every row has an offset of 0.
            count: B.
        """
        inner = 1 / (self.alpha - 1)  # >= 1: the sum is convex and falls, and is >= 1 at -1
        tau = offsets.new_full((count,), -1.0)
        for _ in range(60):
            above = (offsets - tau[rows]).clamp(min=0)
            total = tau.new_zeros(count).index_add_(0, rows, above**inner)
            powers = torch.where(above > 0, above ** (inner - 1), 0.0)
            fall = inner * tau.new_zeros(count).index_add_(0, rows, powers)
            step = (total - 1) / fall
            tau = tau + step
            if bool((step.abs() <= 1e-15).all()):
                break
        return tau

    def largest(self, sum_of_powers: Tensor, tau: Tensor) -> Tensor:
        """Return Omega*, (B,), of sum_mu p^alpha and tau (that of the scores themselves)."""
        alpha = self.alpha
        return sum_of_powers / alpha + tau / (alpha - 1) + 1 / (alpha * (alpha - 1))

    def entropy_of(self, count: int) -> float:
        """Return -Omega of the uniform distribution over K memories; log K at alpha = 1."""
        alpha = self.alpha
        return float((1 - count ** (1 - alpha)) / (alpha * (alpha - 1)))
