"""A matrix product in tiles, on the tensor cores or in full float32."""

import triton
import triton.language as tl


@triton.jit
def tiled_product(
    a,  # (M, L)
    b,  # (N, L)
    out,  # (M, N)
    M,
    N,
    L,
    a_row,
    a_column,
    b_row,
    b_column,
    PRECISION: tl.constexpr,
    COARSE: tl.constexpr,  # whether operands are rounded to bfloat16
    EMULATED: tl.constexpr,  # where the interpreter has no bfloat16 product
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_L: tl.constexpr,
    GROUP: tl.constexpr,
):
    """Write a @ b.T; GROUP tiles of rows take turns, so that shared columns stay cached."""
    rows, columns = tl.cdiv(M, BLOCK_M), tl.cdiv(N, BLOCK_N)
    number = tl.program_id(0)
    first = number // (GROUP * columns) * GROUP
    height = min(rows - first, GROUP)
    within = number % (GROUP * columns)
    m = (first + within % height) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = within // height * BLOCK_N + tl.arange(0, BLOCK_N)
    step = tl.arange(0, BLOCK_L)
    a_at = a + m.to(tl.int64)[:, None] * a_row + step[None, :] * a_column
    b_at = b + n.to(tl.int64)[None, :] * b_row + step[:, None] * b_column
    total = tl.zeros((BLOCK_M, BLOCK_N), out.dtype.element_ty)
    for start in range(0, L, BLOCK_L):
        left = step < L - start
        x = tl.load(a_at, mask=(m < M)[:, None] & left[None, :], other=0.0)
        y = tl.load(b_at, mask=(n < N)[None, :] & left[:, None], other=0.0)
        if COARSE:
            x, y = x.to(tl.bfloat16), y.to(tl.bfloat16)
        if EMULATED:
            x, y = x.to(tl.float32), y.to(tl.float32)
        total = tl.dot(x, y, total, input_precision=PRECISION, out_dtype=out.dtype.element_ty)
        a_at += BLOCK_L * a_column
        b_at += BLOCK_L * b_column
    at = out + m.to(tl.int64)[:, None] * N + n[None, :]
    tl.store(at, total, mask=(m < M)[:, None] & (n < N)[None, :])
