"""Rectified fields to a power, on a tile; and the shifts that turn overlaps into fields."""

import triton
import triton.language as tl

# Below it a scale is taken for 0, so that its reciprocal is finite: the least normal float32.
SMALLEST = tl.constexpr(2.0**-126)


@triton.jit
def raised(x, WHOLE: tl.constexpr, BITS: tl.constexpr, FRACTION: tl.constexpr):
    """x^(WHOLE + FRACTION) for x in [0, 1]; x^0 is 1 only where x > 0: F_1 has no slope at zero.

    Whole powers by repeated squaring from the top bit down; BITS is how many follow the top one.
    Only a fraction goes through logarithms, whose error a whole power would multiply.
    """
    if WHOLE == 0:
        out = tl.where(x > 0, 1.0, 0.0).to(x.dtype)
    else:
        out = x
        for bit in tl.static_range(BITS):
            out = out * out
            if (WHOLE >> (BITS - 1 - bit)) & 1:
                out = out * x
    if FRACTION > 0:
        out = out * tl.exp2(FRACTION * tl.log2(tl.maximum(x, SMALLEST)))
    return out


@triton.jit
def relative_field(overlap, shift, inverse):
    """relu(overlap + shift) / scale; NaN stays NaN, as in the other back ends."""
    zero = tl.zeros_like(overlap)
    field = tl.maximum(overlap + shift, zero, propagate_nan=tl.PropagateNan.ALL)
    return field * inverse


@triton.jit
def reciprocal(scale):
    """1 / scale, and 0 where scale is 0 or as good as."""
    usable = scale >= SMALLEST
    return tl.where(usable, 1.0 / tl.where(usable, scale, 1.0), 0.0).to(scale.dtype)


@triton.jit
def class_totals(classes, stride, k, present, C, BLOCK_C: tl.constexpr):
    """Of the memories k: the sum of their class components, and the largest, at least 0."""
    total = tl.zeros_like(k).to(classes.dtype.element_ty)
    largest = total
    rows = classes + k.to(tl.int64) * stride
    for first in range(0, C, BLOCK_C):
        c = first + tl.arange(0, BLOCK_C)
        mask = present[:, None] & (c < C)[None, :]
        part = tl.load(rows[:, None] + c[None, :], mask=mask, other=0.0)
        total += tl.sum(part, axis=1)
        largest = tl.maximum(largest, tl.max(part, axis=1))
    return total, largest


@triton.jit
def class_shift(classes, stride, k, present, total, c, C):
    """What is added to the overlaps of memories k with class c on; all off for c = C.

    -inf for memories that are not there: their fields are 0.
    """
    rows = classes + k.to(tl.int64) * stride
    own = tl.load(rows + c, mask=present & (c < C), other=0.0)
    return tl.where(present, 2 * own - total, float("-inf"))
