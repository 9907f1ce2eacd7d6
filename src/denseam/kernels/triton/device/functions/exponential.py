"""F(x) = exp(beta (x - at))."""

import math

import triton
import triton.language as tl

from denseam.energies import Exponential

_LARGEST = tl.constexpr(1000.0)  # a gap beyond 2^1000 saturates tanh


def constants(F: Exponential) -> tuple[float, int, int]:
    """Return beta in base 2, F(x) = 2^(beta_2 (x - at)); the other two are not used."""
    return F.beta / math.log(2), 0, 0


slope_constants = constants


@triton.jit
def cleaned(scale):
    """Return the scale as it is stored."""
    return scale


@triton.jit
def prepared(scale):
    """Return the scale for ``relative``."""
    return scale


@triton.jit
def relative(field, scale, BETA_2: tl.constexpr, _B: tl.constexpr, _C: tl.constexpr):
    """Return exp(beta (field - scale)), at most 1, so that padding stays finite."""
    above = tl.minimum(field - scale, tl.zeros_like(field), propagate_nan=tl.PropagateNan.ALL)
    return tl.exp2(above * BETA_2)


@triton.jit
def gap_factor(scale, T, BETA_2: tl.constexpr):
    """Return F(scale) / F(T), at most 2^1000."""
    return tl.exp2(tl.minimum((scale - T) * BETA_2, _LARGEST))


@triton.jit
def log2_pull(scale, T, BETA_2: tl.constexpr):
    """Return log2 of F'(scale) / F(T)."""
    return tl.log2(0.0 * T + 0.6931471805599453 * BETA_2) + (scale - T) * BETA_2
