"""F(x) = exp(beta (x - at))."""

import math

import triton
import triton.language as tl

from denseam.energies import Exponential

_LARGEST = tl.constexpr(1000.0)  # a gap beyond 2^1000 saturates tanh whatever it is multiplied with


def constants(F: Exponential) -> tuple[float, int, int]:
    """Return beta in base 2, F(x) = 2^(beta_2 (x - at)); the other two are not used."""
    return F.beta / math.log(2), 0, 0


slope_constants = constants


@triton.jit
def cleaned(scale):
    """See the package."""
    return scale


@triton.jit
def prepared(scale):
    """See the package."""
    return scale


@triton.jit
def relative(field, scale, BETA_2: tl.constexpr, _B: tl.constexpr, _C: tl.constexpr):
    """exp(beta (field - scale)), at most 1: images that are not there stay finite."""
    above = tl.minimum(field - scale, tl.zeros_like(field), propagate_nan=tl.PropagateNan.ALL)
    return tl.exp2(above * BETA_2)


@triton.jit
def gap_factor(scale, T, BETA_2: tl.constexpr):
    """See the package."""
    return tl.exp2(tl.minimum((scale - T) * BETA_2, _LARGEST))


@triton.jit
def log2_pull(scale, T, BETA_2: tl.constexpr):
    """See the package."""
    return tl.log2(0.0 * T + 0.6931471805599453 * BETA_2) + (scale - T) * BETA_2
