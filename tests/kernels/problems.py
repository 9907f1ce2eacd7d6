"""Random problems whose fields are exact in float32, and how far a kernel may be off on them.

Tolerances. Pixels and memories are multiples of 1/64, so that every field h is exact in float32
and in float64, and no field lies within rounding of the kink of F_n. What remains is (h/s)^n:
rounding h/s costs 1.5 ulp/2, n times over in the power, and n products add n/2 ulp more: 1.25 n
eps. Sums and matrix products of L terms add at most L/2 eps, a few more operations a few eps.
Everything is relative to the sum of the *absolute* terms, because gain and loss may cancel.
Powers below the smallest normal number (1e-38) are flushed to 0 on purpose. A class is divided by
a sum of at least 1e-25, so this loses 1e-13 of the largest result at most (``LOST``, rounded up).
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from denseam import energy
from denseam.energies import RectifiedPolynomial
from denseam.kernels import native

needs_c = pytest.mark.skipif(native.library() is None, reason="the C kernels are not installed")
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
BACKENDS = [
    pytest.param("reference"),
    pytest.param("cpu", marks=needs_c),
    pytest.param("triton", marks=needs_triton),
]
# Random problems for each back end: Triton's interpreter takes a second for one, and a card as
# long to compile for a new power.
EXAMPLES = {"triton": 4}
DTYPES = [torch.float32, torch.float64]
LOST = {torch.float32: 1e-12, torch.float64: 1e-26}


@dataclass(frozen=True)
class Problem:
    """Inputs of both energies."""

    visible: Tensor  # (B, N) in [-1, 1]
    memories: Tensor  # (K, N + C) in [-1, 1]
    power: float
    temperature: float

    @property
    def F(self) -> RectifiedPolynomial:  # noqa: N802
        return RectifiedPolynomial(self.power)

    @property
    def n_visible(self) -> int:
        return self.visible.shape[1]

    @property
    def n_classes(self) -> int:
        return self.memories.shape[1] - self.n_visible

    @property
    def classes(self) -> Tensor:
        return self.memories[:, self.n_visible :]

    def to(self, dtype: torch.dtype) -> "Problem":
        return Problem(
            self.visible.detach().to(dtype, copy=True),
            self.memories.detach().to(dtype, copy=True),
            self.power,
            self.temperature,
        )


def grid(generator: torch.Generator, *shape: int) -> Tensor:
    """Multiples of 1/64 in [-1, 1]."""
    return torch.randint(-64, 65, shape, generator=generator) / 64


def make_problem(
    B: int, K: int, N: int, C: int, *, power: float, hotness: float = 1.0, seed: int = 0
) -> Problem:
    """``hotness`` is T in units of the largest field, so that no energy leaves float32."""
    generator = torch.Generator().manual_seed(seed)
    visible, memories = grid(generator, B, N), grid(generator, K, N + C)
    on, off = energy.fields(visible, memories)
    largest = max(float(on.max()), float(off.max()), 1.0)
    return Problem(visible, memories, float(power), hotness * largest)


POWERS = st.one_of(st.integers(1, 40), st.floats(1, 40))


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Sizes on both sides of a tile (64 images), of a chunk (64 memories) and of an item (8)."""
    return make_problem(
        draw(st.integers(1, 70)),
        draw(st.integers(1, 70)),
        draw(st.integers(1, 40)),
        draw(st.integers(1, 11)),
        power=draw(POWERS),
        hotness=draw(st.sampled_from([0.5, 1.0, 2.0])),
        seed=draw(st.integers(0, 10**6)),
    )


def on_examples(
    backend: str, check: Callable[..., None], examples: int = 40, **strategies: Any
) -> None:
    """Check random cases, as many as the back end has time for."""
    few = settings(max_examples=min(examples, EXAMPLES.get(backend, examples)))
    few(given(**strategies)(check))()


def rtol(p: Problem, dtype: torch.dtype) -> float:
    """See the head of this file; the relative rounding of a sum of absolute terms."""
    longest = max(*p.visible.shape, *p.memories.shape)
    return (2 * p.power + longest + 32) * torch.finfo(dtype).eps


def assert_within(actual: Tensor, expected: Tensor, size: Tensor, relative: float) -> None:
    """|found - wanted| <= relative * size, elementwise; NaN never passes."""
    lost = LOST[actual.dtype] * float(size.max()) + torch.finfo(actual.dtype).tiny
    error = (actual.double() - expected).abs() / (relative * size + lost)
    worst = float(error.nan_to_num(nan=torch.inf).max())
    assert worst <= 1, f"{worst:.3g} times the tolerance"


def gap_size(p: Problem) -> Tensor:
    """(B, C): the energy gap with all its terms made positive."""
    on, off = energy.fields(p.visible, p.memories)
    gain = energy.rectified_polynomial(on / p.temperature, p.power)
    loss = energy.rectified_polynomial(off / p.temperature, p.power)
    return gain.sum(dim=1) + loss.sum(dim=1, keepdim=True)


def _gradient_sizes(p: Problem, slope_on: Tensor, slope_off: Tensor) -> tuple[Tensor, Tensor]:
    weights = slope_on.sum(dim=2) + slope_off  # (B, K)
    to_classes = 2 * slope_on.sum(dim=0) + weights.sum(dim=0)[:, None]
    to_memories = torch.cat([weights.T @ p.visible.abs(), to_classes], dim=1)
    return to_memories, weights @ p.memories[:, : p.n_visible].abs()


def gap_gradient_sizes(p: Problem, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """(K, N + C), (B, N): the gradients of the gap with all their terms made positive."""
    on, off = energy.fields(p.visible, p.memories)
    slope_on = energy.rectified_polynomial_slope(on / p.temperature, p.power) / p.temperature
    slope_off = energy.rectified_polynomial_slope(off / p.temperature, p.power) / p.temperature
    total = upstream.abs().sum(dim=1, keepdim=True)
    return _gradient_sizes(p, upstream.abs()[:, None, :] * slope_on, total * slope_off)


def log_gradient_sizes(p: Problem, upstream: Tensor) -> tuple[Tensor, Tensor]:
    """The same of the log-energy."""
    on, off = energy.fields(p.visible, p.memories)
    largest = on.amax(dim=1, keepdim=True).clamp(min=1e-300)
    total = energy.rectified_polynomial(on / largest, p.power).sum(dim=1, keepdim=True)
    share = energy.rectified_polynomial_slope(on / largest, p.power) / largest
    share = torch.where(total > 0, share / total, torch.zeros_like(share))
    return _gradient_sizes(p, upstream.abs()[:, None, :] * share, torch.zeros_like(off))
