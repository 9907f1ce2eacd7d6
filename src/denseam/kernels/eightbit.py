"""Training with 8-bit products: pixels are bytes, and memories are rounded to bytes.

Overlaps are sums of whole numbers: pixels and memories rounded to steps of 1/127.5 and 1/127, which
is exact for byte images. With at most 1,032 neurons (N + C) the sums are exact in any order; with
at most 132,104, the most whose sums fit 32 bits, they are rounded once, at the end. Larger products
are in float32. The gradient is a product in bfloat16 where the processor has it: weights span too
many orders of magnitude for 8 bits, and the max-norm rule needs only the ratios of components. For
the same reason it leaves out images of little weight for every memory, if they are many: four of
five at large n. On trained models that changed the gradient less than bfloat16 did (measured, not
a bound). Memories, velocity, powers and sums stay in float32.

On processors with 8-bit dot products (AVX-512 VNNI and later) a step takes 0.5 to 0.9 of the time
of float32 products. Others multiply the same rounded numbers in float32, with more rounding beyond
1,032 neurons.
`docs/developers/log.md` has times, and errors of models trained either way.
"""

from functools import cache

import torch
from torch import Tensor

from denseam.kernels.cpu import CpuKernel
from denseam.kernels.interface import Kernel, with_classes

_PIXEL_STEPS = 127.5
_MEMORY_STEPS = 127.0
_MOST_COMPONENTS = (2**31 - 1) // (127 * 128)  # whose largest sum fits 32 bits

# Of an image's weight, as a part of the largest of the memory.
_LEAST_WEIGHT = 2.0**-12
_WORTH_IT = 3 / 4  # of the images; beyond that copying the rest takes longer than the product saves
_TILE = 128  # memories, whose weights stay in the cache


class EightBitKernel(CpuKernel):
    """A ``CpuKernel`` with coarse products in the two places where training spends its time.

    Only for float32, and only to train: decisions and attacks belong to exact overlaps.
    """

    @property
    def product(self) -> str:
        return "8-bit"

    def with_product(self, product: str | None) -> Kernel:
        return self

    def overlaps(self, visible: Tensor, memories: Tensor) -> Tensor:
        """Return overlaps, (B, N), (K, N or more), both in [-1, 1] -> (K, B)."""
        visible = with_classes(visible, memories)
        # v = (p + 1/2) / 127.5 with p = -128 .. 127 is never 0. Components that are 0 in every
        # image, such as class neurons in training, are set to 0 in the memories instead.
        pixels = (visible * _PIXEL_STEPS).sub_(0.5).round_().to(torch.int8)
        seen = visible.abs().amax(dim=0) > 0 if len(visible) else visible.new_ones(())
        whole = (memories * _MEMORY_STEPS).round_().mul_(seen)
        half = whole.sum(dim=1, keepdim=True).mul_(0.5)
        # The operator refuses an empty batch, and is wrong for one column.
        fits = 1 < memories.shape[1] <= _MOST_COMPONENTS
        if available() and len(visible) and fits:
            overlaps = _whole_products(whole, pixels)
        else:
            overlaps = torch.mm(whole, pixels.float().T)
        return overlaps.add_(half).mul_(1 / (_PIXEL_STEPS * _MEMORY_STEPS))

    def to_memories(self, weights: Tensor, visible: Tensor) -> Tensor:
        """Return weights @ visible, (K, B), (B, N) -> (K, N)."""
        if not len(visible):
            return weights.new_zeros(len(weights), visible.shape[1])
        rows = _rows_that_matter(weights)
        if len(rows) < _WORTH_IT * len(visible):
            weights, visible = weights.index_select(1, rows), visible.index_select(0, rows)
        if _has_bfloat16():
            return torch.mm(weights.bfloat16(), visible.bfloat16()).float()
        return torch.mm(weights, visible)


def _rows_that_matter(weights: Tensor) -> Tensor:
    """Return the images, ascending, whose weight (K, B) counts beside the largest of a memory."""
    most = weights.new_zeros(weights.shape[1])
    for tile in torch.split(weights, _TILE):
        sizes = tile.abs()
        heaviest = sizes.amax(dim=1, keepdim=True).clamp_(min=torch.finfo(weights.dtype).tiny)
        torch.maximum(most, sizes.div_(heaviest).amax(dim=0), out=most)
    return (~(most < _LEAST_WEIGHT)).nonzero()[:, 0]  # NaN matters


def _whole_products(memories: Tensor, pixels: Tensor) -> Tensor:
    """Return memories @ pixels.T, (K, B), of whole numbers in -127 .. 127 and int8 (B, N)."""
    return torch._int_mm(memories.to(torch.int8), pixels.T).float()  # noqa: SLF001


@cache
def _has_bfloat16() -> bool:
    """Return whether the processor multiplies bfloat16; others are slower than in float32."""
    abilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # 2.11
    return bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))


@cache
def available() -> bool:
    """Return whether this build of PyTorch multiplies 8-bit matrices without saturating.

    Processors without 8-bit dot products add pairs in 16 bits, where 2 * 255 * 127 has no room.
    """
    memories = torch.full((3, 66), 127.0)
    pixels = torch.full((5, 66), 127, dtype=torch.int8)
    pixels[1::2] = -128
    try:
        product = _whole_products(memories, pixels)
    except (AttributeError, RuntimeError):  # a build without this operator
        return False
    return torch.equal(product, memories @ pixels.float().T)
