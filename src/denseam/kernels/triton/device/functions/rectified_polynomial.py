"""F_n(x) = x^n for x >= 0, else 0."""

import math

import triton
import triton.language as tl

from denseam.energies import RectifiedPolynomial

# Smaller scales count as 0, so that the reciprocal is finite: the least normal float32.
SMALLEST = tl.constexpr(2.0**-126)
_LARGEST = tl.constexpr(1000.0)  # a gap beyond 2^1000 saturates tanh
_TINY = tl.constexpr(2.0**-1022)


def constants(F: RectifiedPolynomial) -> tuple[float, int, int]:
    """Return n, its whole part, and how many bits of that follow the top one."""
    return _exponent(F.n)


def slope_constants(F: RectifiedPolynomial) -> tuple[float, int, int]:
    """Return the same of n - 1."""
    return _exponent(F.n - 1)


def _exponent(power: float) -> tuple[float, int, int]:
    whole = math.floor(power)
    return float(power), whole, max(whole.bit_length() - 1, 0)


@triton.jit
def cleaned(scale):
    """Return the scale as it is stored, 0 below ``SMALLEST``."""
    return tl.where(scale >= SMALLEST, scale, 0.0)


@triton.jit
def prepared(scale):
    """Return 1 / scale, or 0 for a scale below ``SMALLEST``."""
    usable = scale >= SMALLEST
    return tl.where(usable, 1.0 / tl.where(usable, scale, 1.0), 0.0).to(scale.dtype)


@triton.jit
def relative(field, inverse, POWER: tl.constexpr, WHOLE: tl.constexpr, BITS: tl.constexpr):
    """Return (relu(field) / scale)^n; x^0 is 1 only for x > 0: F_1 has no slope at zero.

    NaN stays NaN, as in the other back ends. Whole powers by repeated squaring from the top bit
    down. Only a fraction goes through logarithms, whose error a whole power would multiply.
    """
    zero = tl.zeros_like(field)
    x = tl.maximum(field, zero, propagate_nan=tl.PropagateNan.ALL) * inverse
    if WHOLE == 0:
        out = tl.where(x > 0, 1.0, 0.0).to(x.dtype)
    else:
        out = x
        for bit in tl.static_range(BITS):
            out = out * out
            if (WHOLE >> (BITS - 1 - bit)) & 1:
                out = out * x
    if POWER > WHOLE:
        out = out * tl.exp2((POWER - WHOLE) * tl.log2(tl.maximum(x, SMALLEST)))
    return out


@triton.jit
def gap_factor(scale, T, POWER: tl.constexpr):
    """Return F(scale) / F(T), at most 2^1000."""
    x = scale / T
    out = tl.exp2(tl.minimum(POWER * tl.log2(tl.maximum(x, _TINY)), _LARGEST))
    return tl.where(x > 0, out, 0.0)


@triton.jit
def log2_pull(scale, T, POWER: tl.constexpr):
    """Return log2 of F'(scale) / F(T)."""
    x = scale / T
    size = tl.log2(POWER / T) + (POWER - 1) * tl.log2(tl.maximum(x, _TINY))
    return tl.where(x > 0, size, float("-inf"))
