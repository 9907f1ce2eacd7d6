"""Minibatches drawn from a training set that lies on the card."""

import triton
import triton.language as tl


@triton.jit
def drawn_batch(
    pixels,  # (M, N), bytes or floats
    labels,  # (M,) int64
    order,  # (batches, B) int64: rows of the images
    number,  # () int64: which batch
    neurons,  # out: (B, width): pixels, then 0
    batch_labels,  # out: (B,) int64
    B,
    N,
    width,
    BYTES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Write one image as neurons; bytes p become v = p / 127.5 - 1, as in ``ImageSet.visible``."""
    image = tl.program_id(0).to(tl.int64)
    row = tl.load(order + tl.load(number) * B + image)
    if tl.program_id(1) == 0:
        tl.store(batch_labels + image, tl.load(labels + row))
    i = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    pixel = tl.load(pixels + row * N + i, mask=i < N, other=0)
    dtype = neurons.dtype.element_ty
    if BYTES and dtype == tl.float32:
        visible = tl.div_rn(pixel.to(tl.float32), 127.5) - 1.0
    elif BYTES:
        visible = pixel.to(dtype) / 127.5 - 1.0
    else:
        visible = pixel.to(dtype)
    tl.store(neurons + image * width + i, tl.where(i < N, visible, 0.0), mask=i < width)
