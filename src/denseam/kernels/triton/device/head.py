"""The head of training on the card: from sums to the coefficients of the gradient, in float64.

    g = F(scale) / F(T) (values_c - values_off),  Y = tanh g,  C = sum |Y - t|^(2m)   Eqs. 2.1, 2.3

Like `look.energy_gap` and `look.gap_coefficients`, without waiting for the host. Large factors are
logarithms, so that nothing overflows.
"""

import triton
import triton.language as tl

_LARGEST = tl.constexpr(1000.0)
_TINY = tl.constexpr(2.0**-1022)


@triton.jit
def _power(x, exponent: tl.constexpr):
    """Return x^exponent for x >= 0 in float64; 0^0 is 1."""
    out = tl.exp2(tl.minimum(exponent * tl.log2(tl.maximum(x, _TINY)), _LARGEST))
    return tl.where(x > 0, out, 1.0 if exponent == 0 else 0.0)


@triton.jit
def head(
    values,  # (C + 1, B)
    scale,  # (B,)
    labels,  # (B,) int64
    temperature,  # () float64
    activity,  # out: (B, C) float64
    predicted,  # out: (B,) int64
    objective,  # out: (B,) float64
    coefficients,  # out: (C + 1, B)
    B,
    C,
    GAP_FACTOR: tl.constexpr,
    LOG2_PULL: tl.constexpr,
    A: tl.constexpr,
    LOSS_POWER: tl.constexpr,
    LIMIT: tl.constexpr,  # log2 of the largest coefficient
    BLOCK_B: tl.constexpr,
    BLOCK_C: tl.constexpr,  # >= C
):
    """Write Y, label, objective, and dC/dg as coefficients for ``weighted_powers``."""
    b = (tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)).to(tl.int64)
    c = tl.arange(0, BLOCK_C).to(tl.int64)
    inside, valid = b < B, c < C
    mask = inside[:, None] & valid[None, :]
    T = tl.load(temperature)
    field = tl.load(scale + b, mask=inside, other=0.0).to(tl.float64)
    on = tl.load(values + c[None, :] * B + b[:, None], mask=mask, other=0.0).to(tl.float64)
    off = tl.load(values + tl.cast(C, tl.int64) * B + b, mask=inside, other=0.0).to(tl.float64)
    label = tl.load(labels + b, mask=inside, other=0)

    gap = (on - off[:, None]) * GAP_FACTOR(field, T, A)[:, None]
    tl.store(predicted + b, tl.argmax(tl.where(mask, gap, float("-inf")), axis=1), mask=inside)
    decay = tl.exp(-2 * tl.abs(gap))
    Y = tl.where(gap < 0, -1.0, 1.0) * ((1 - decay) / (1 + decay))
    tl.store(activity + b[:, None] * C + c[None, :], Y, mask=mask)

    error = tl.where(mask, Y - tl.where(label[:, None] == c[None, :], 1.0, -1.0), 0.0)
    power = _power(tl.abs(error), 2 * LOSS_POWER - 1)
    tl.store(objective + b, tl.sum(power * tl.abs(error), axis=1), mask=inside)

    # The pull of an image relative to its largest, whose size is a power of two, limited as a
    # whole: a gradient beyond the range keeps its direction.
    sign = tl.where(error < 0, -1.0, tl.where(error > 0, 1.0, 0.0))
    pull = sign * (power * (2 * LOSS_POWER) * (1 - Y * Y))  # sign is in float32
    total = tl.sum(pull, axis=1)
    most = tl.maximum(tl.max(tl.abs(pull), axis=1), tl.abs(total))
    usable = most > 0
    whole = tl.where(usable, most, 1.0)
    size = tl.log2(whole) + LOG2_PULL(field, T, A)
    unit = tl.where(usable, tl.exp2(tl.minimum(size, LIMIT)) / whole, 0.0)
    dtype = coefficients.dtype.element_ty
    at = coefficients + c[None, :] * B + b[:, None]
    tl.store(at, (pull * unit[:, None]).to(dtype), mask=mask)
    tl.store(coefficients + tl.cast(C, tl.int64) * B + b, (-total * unit).to(dtype), mask=inside)
