"""The two loops over memories, images and classes.

A program holds one tile of overlaps, (BLOCK_K, BLOCK_B), in registers and evaluates F of its fields
class by class. It writes sums over one side of the tile, a BLOCK_K-th or a BLOCK_B-th of
B x K x C numbers. A second, small kernel adds them in a fixed order, so that no bit depends on
which program came first. CLEANED, PREPARED and RELATIVE are functions of `functions/`,
with the constants A, B_ and C_ of the energy function.

``partial_sums`` divides by the largest field of the *tile* and image; ``joined_sums`` brings the
tiles to the image's largest in float64. So overlaps are read once, not once more for a maximum.
"""

import triton
import triton.language as tl


@triton.jit
def class_totals(classes, stride, k, present, C, BLOCK_C: tl.constexpr):
    """Return the sum of the class components of memories k, and the largest, at least 0."""
    total = tl.zeros_like(k).to(classes.dtype.element_ty)
    largest = total
    rows = classes + k.to(tl.int64) * stride
    for first in range(0, C, BLOCK_C):
        c = first + tl.arange(0, BLOCK_C)
        mask = present[:, None] & (c < C)[None, :]
        votes = tl.load(rows[:, None] + c[None, :], mask=mask, other=0.0)
        total += tl.sum(votes, axis=1)
        largest = tl.maximum(largest, tl.max(votes, axis=1))
    return total, largest


@triton.jit
def class_shift(classes, stride, k, present, total, c, C):
    """Return what class c on adds to the overlaps of memories k; c = C is all off.

    -inf for the padding of a tile: its fields are 0.
    """
    rows = classes + k.to(tl.int64) * stride
    vote = tl.load(rows + c, mask=present & (c < C), other=0.0)
    return tl.where(present, 2 * vote - total, float("-inf"))


@triton.jit
def _tile(overlaps, k, present, b, inside, B):
    """Return overlaps of memories k with images b; 0 in the padding."""
    at = overlaps + k.to(tl.int64)[:, None] * B + b[None, :]
    return tl.load(at, mask=present[:, None] & inside[None, :], other=0.0)


@triton.jit
def partial_sums(
    overlaps,  # (K, B)
    classes,  # (K, C), rows `stride` apart
    scales,  # out: (tiles of K, B)
    sums,  # out: (tiles of K, C + 1, B)
    stride,
    K,
    B,
    C,
    CLEANED: tl.constexpr,
    PREPARED: tl.constexpr,
    RELATIVE: tl.constexpr,
    A: tl.constexpr,
    B_: tl.constexpr,
    C_: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Write sum_k F(field) / F(scale) over a tile of memories; scale: the largest field in it."""
    tile = tl.program_id(1).to(tl.int64)
    k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    b = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)
    present, inside = k < K, b < B
    overlap = _tile(overlaps, k, present, b, inside, B)
    total, largest = class_totals(classes, stride, k, present, C, BLOCK_C)
    top = tl.where(present, 2 * largest - total, float("-inf"))
    scale = tl.max(overlap + top[:, None], axis=0)
    scale = CLEANED(scale).to(overlap.dtype)
    tl.store(scales + tile * B + b, scale, mask=inside)
    against = PREPARED(scale)[None, :]
    for c in range(C + 1):
        shift = class_shift(classes, stride, k, present, total, c, C)
        values = RELATIVE(overlap + shift[:, None], against, A, B_, C_)
        at = sums + (tile * (C + 1) + c) * B + b
        tl.store(at, tl.sum(values, axis=0), mask=inside)


@triton.jit
def joined_sums(
    scales,  # (tiles, B)
    sums,  # (tiles, C + 1, B)
    scale,  # out: (C + 1, B), or (1, B)
    values,  # out: (C + 1, B)
    tiles,
    B,
    C,
    CLEANED: tl.constexpr,  # noqa: ARG001, loops share their constants
    PREPARED: tl.constexpr,
    RELATIVE: tl.constexpr,
    A: tl.constexpr,
    B_: tl.constexpr,
    C_: tl.constexpr,
    EVERY_CLASS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_B: tl.constexpr,
):
    """Write the sums over all tiles, relative to each image's largest field."""
    c = tl.program_id(1)
    b = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)
    inside = b < B
    best = tl.full((BLOCK_B,), float("-inf"), scales.dtype.element_ty)
    for first in range(0, tiles, BLOCK_T):
        t = first + tl.arange(0, BLOCK_T).to(tl.int64)
        mask = (t < tiles)[:, None] & inside[None, :]
        tile_scales = tl.load(scales + t[:, None] * B + b[None, :], mask=mask, other=float("-inf"))
        best = tl.maximum(best, tl.max(tile_scales, axis=0))
    best = tl.where(inside, best, 0.0)
    against = PREPARED(best.to(tl.float64))[None, :]
    value = tl.zeros((BLOCK_B,), tl.float64)
    for first in range(0, tiles, BLOCK_T):
        t = first + tl.arange(0, BLOCK_T).to(tl.int64)
        mask = (t < tiles)[:, None] & inside[None, :]
        tile_scales = tl.load(scales + t[:, None] * B + b[None, :], mask=mask, other=float("-inf"))
        ratio = RELATIVE(tile_scales.to(tl.float64), against, A, B_, C_)
        at = sums + (t[:, None] * (C + 1) + c) * B + b[None, :]
        share = tl.load(at, mask=mask, other=0.0).to(tl.float64)
        value += tl.sum(ratio * share, axis=0)
    tl.store(values + c.to(tl.int64) * B + b, value.to(values.dtype.element_ty), mask=inside)
    if EVERY_CLASS:
        tl.store(scale + c.to(tl.int64) * B + b, best, mask=inside)
    else:
        tl.store(scale + b, best, mask=inside & (c == 0))


@triton.jit
def rescaled_sums(
    overlaps,  # (K, B)
    classes,  # (K, C), rows `stride` apart
    scale,  # in and out: (C + 1, B)
    values,  # in and out: (C + 1, B)
    stride,
    K,
    B,
    C,
    TOO_SMALL: tl.constexpr,
    CLEANED: tl.constexpr,
    PREPARED: tl.constexpr,
    RELATIVE: tl.constexpr,
    A: tl.constexpr,
    B_: tl.constexpr,
    C_: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Sum a class again on a scale of its own if it has lost terms to underflow.

    The card decides, so that the host does not wait; most often there is nothing to do.
    """
    c = tl.program_id(1)
    b = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)
    inside = b < B
    at = c.to(tl.int64) * B + b
    before = tl.load(scale + at, mask=inside, other=0.0)
    value = tl.load(values + at, mask=inside, other=1.0)
    lost = inside & (value < TOO_SMALL)
    if tl.max(lost.to(tl.int32), axis=0) > 0:
        best = tl.full((BLOCK_B,), float("-inf"), before.dtype)
        for first in range(0, K, BLOCK_K):
            k = first + tl.arange(0, BLOCK_K)
            present = k < K
            total, _ = class_totals(classes, stride, k, present, C, BLOCK_C)
            shift = class_shift(classes, stride, k, present, total, c, C)
            overlap = _tile(overlaps, k, present, b, inside, B)
            best = tl.maximum(best, tl.max(overlap + shift[:, None], axis=0))
        best = CLEANED(best).to(before.dtype)
        against = PREPARED(best)[None, :]
        again = tl.zeros_like(before)
        for first in range(0, K, BLOCK_K):
            k = first + tl.arange(0, BLOCK_K)
            present = k < K
            total, _ = class_totals(classes, stride, k, present, C, BLOCK_C)
            shift = class_shift(classes, stride, k, present, total, c, C)
            overlap = _tile(overlaps, k, present, b, inside, B)
            again += tl.sum(RELATIVE(overlap + shift[:, None], against, A, B_, C_), axis=0)
        tl.store(scale + at, best, mask=lost)
        tl.store(values + at, again, mask=lost)


@triton.jit
def weighted_powers(
    overlaps,  # (K, B)
    classes,  # (K, C), rows `stride` apart
    scale,  # (C + 1, B), or with ONE_SCALE (1, B)
    coefficients,  # (C + 1, B)
    weights,  # out: (K, B); may be the overlaps
    shares,  # out: (tiles of B, C + 1, K)
    stride,
    K,
    B,
    C,
    CLEANED: tl.constexpr,  # noqa: ARG001, loops share their constants
    PREPARED: tl.constexpr,
    RELATIVE: tl.constexpr,
    A: tl.constexpr,
    B_: tl.constexpr,
    C_: tl.constexpr,
    SHARES: tl.constexpr,
    ONE_SCALE: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_B: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """Write sum_c coefficient F'(field) / F'(scale) of a tile, and each class's sum per memory."""
    tile = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * BLOCK_K + tl.arange(0, BLOCK_K)
    b = tl.program_id(0) * BLOCK_B + tl.arange(0, BLOCK_B)
    present, inside = k < K, b < B
    overlap = _tile(overlaps, k, present, b, inside, B)
    total, _ = class_totals(classes, stride, k, present, C, BLOCK_C)
    against = PREPARED(tl.load(scale + b, mask=inside, other=0.0))
    weight = tl.zeros_like(overlap)
    for c in range(C + 1):
        row = tl.cast(c, tl.int64) * B + b
        if not ONE_SCALE:
            against = PREPARED(tl.load(scale + row, mask=inside, other=0.0))
        factor = tl.load(coefficients + row, mask=inside, other=0.0)
        shift = class_shift(classes, stride, k, present, total, c, C)
        share = RELATIVE(overlap + shift[:, None], against[None, :], A, B_, C_) * factor[None, :]
        weight += share
        if SHARES:
            at = shares + (tile * (C + 1) + c) * K + k
            tl.store(at, tl.sum(share, axis=1), mask=present)
    at = weights + k.to(tl.int64)[:, None] * B + b[None, :]
    tl.store(at, weight, mask=present[:, None] & inside[None, :])


@triton.jit
def class_gradients(
    shares,  # (tiles of B, C + 1, K)
    gradient,  # out: (K, C)
    tiles,
    K,
    C,
    BLOCK_K: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Write 2 share_c - sum_c' share_c' of every memory; ROWS >= C + 1."""
    k = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    c = tl.arange(0, ROWS)
    mask = (c <= C)[:, None] & (k < K)[None, :]
    share = tl.zeros((ROWS, BLOCK_K), shares.dtype.element_ty)
    for tile in range(tiles):
        row = tl.cast(tile, tl.int64) * (C + 1) + c[:, None]
        share += tl.load(shares + row * K + k[None, :], mask=mask, other=0.0)
    out = 2 * share - tl.sum(share, axis=0)[None, :]
    at = gradient + k.to(tl.int64)[None, :] * C + c[:, None]
    tl.store(at, out, mask=(c < C)[:, None] & (k < K)[None, :])
