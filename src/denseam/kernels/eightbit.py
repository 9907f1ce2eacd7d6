"""Training by 8-bit products: pixels are 8-bit numbers anyway, and memories fit in as many.

Overlaps are sums of whole numbers, of pixels and memories rounded to steps of 1/127.5 and 1/127;
byte images lose nothing by it. Up to 1,032 neurons (N + C) they are exact whatever the order; of
more, up to the 132,104 whose sums fit 32 bits, 8-bit products round once, at the end. Beyond them
the products are those of float32. The gradient is a product of bfloat16
numbers where the processor has them: weights span too many orders of magnitude for 8 bits, and the
max-norm rule needs no more than the relation of its components. For the same reason images that
weigh little for every memory are left out of it, once many do: at large n four of five. What that
costs the gradient of trained models was measured, and is less than bfloat16 does; it is no bound.
Memories, velocity, powers and sums stay in float32.

On processors with 8-bit dot products (AVX-512 VNNI and later) a step takes 0.5 to 0.9 of the time
of float32 products. Others multiply the same rounded numbers in float32, whose sums of more than
1,032 are rounded as they go.
`docs/developers/log.md` has times, and errors of models trained either way.
"""

from functools import cache

import torch
from torch import Tensor

from denseam.kernels.cpu import CpuKernel
from denseam.kernels.interface import Kernel, with_classes

__all__ = ["EightBitKernel", "available"]

_PIXEL_STEPS = 127.5
_MEMORY_STEPS = 127.0
_MOST_COMPONENTS = (2**31 - 1) // (127 * 128)  # whose largest sum fits 32 bits

# Of an image's weight, as a part of the largest of the memory.
_LEAST_WEIGHT = 2.0**-12
_WORTH_IT = 3 / 4  # of the images; beyond that copying the rest takes longer than the product saves
_TILE = 128  # memories, whose weights stay in the cache


class EightBitKernel(CpuKernel):
    """``CpuKernel`` with coarse products in the two places where training spends its time.

    Only for float32, and only to train: decisions and attacks belong to exact overlaps.
    """

    @property
    def product(self) -> str:
        return "8-bit"

    def with_product(self, product: str | None) -> Kernel:
        return self

    def overlaps(self, visible: Tensor, memories: Tensor) -> Tensor:
        """(B, N) in [-1, 1], (K, N or more) in [-1, 1] -> (K, B)."""
        visible = with_classes(visible, memories)
        # v = (p + 1/2) / 127.5 with p = -128 .. 127 has no 0: the class neurons of training, which
        # are 0 in every image, are kept out by the memories' side.
        pixels = (visible * _PIXEL_STEPS).sub_(0.5).round_().to(torch.int8)
        seen = visible.abs().amax(dim=0) > 0 if len(visible) else visible.new_ones(())
        whole = (memories * _MEMORY_STEPS).round_().mul_(seen)
        half = whole.sum(dim=1, keepdim=True).mul_(0.5)
        # The operator knows no empty batch, and of one column it makes nonsense.
        fits = 1 < memories.shape[1] <= _MOST_COMPONENTS
        if available() and len(visible) and fits:
            overlaps = _whole_products(whole, pixels)
        else:
            overlaps = torch.mm(whole, pixels.float().T)
        return overlaps.add_(half).mul_(1 / (_PIXEL_STEPS * _MEMORY_STEPS))

    def to_memories(self, weights: Tensor, visible: Tensor) -> Tensor:
        """(K, B), (B, N) -> (K, N)."""
        if not len(visible):
            return weights.new_zeros(len(weights), visible.shape[1])
        rows = _rows_that_matter(weights)
        if len(rows) < _WORTH_IT * len(visible):
            weights, visible = weights.index_select(1, rows), visible.index_select(0, rows)
        if _has_bfloat16():
            return torch.mm(weights.bfloat16(), visible.bfloat16()).float()
        return torch.mm(weights, visible)


def _rows_that_matter(weights: Tensor) -> Tensor:
    """(K, B) -> the images that weigh something beside the heaviest of some memory, ascending."""
    most = weights.new_zeros(weights.shape[1])
    for tile in torch.split(weights, _TILE):
        sizes = tile.abs()
        heaviest = sizes.amax(dim=1, keepdim=True).clamp_(min=torch.finfo(weights.dtype).tiny)
        torch.maximum(most, sizes.div_(heaviest).amax(dim=0), out=most)
    return (~(most < _LEAST_WEIGHT)).nonzero()[:, 0]  # NaN matters


def _whole_products(memories: Tensor, pixels: Tensor) -> Tensor:
    """Whole numbers -127 .. 127 (K, N) and int8 (B, N) -> memories @ pixels.T, (K, B) float32."""
    return torch._int_mm(memories.to(torch.int8), pixels.T).float()  # noqa: SLF001


@cache
def _has_bfloat16() -> bool:
    """Whether the processor multiplies them; those that do not take longer than for float32."""
    found: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # new in PyTorch 2.11
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


@cache
def available() -> bool:
    """Whether this build of PyTorch multiplies 8-bit matrices here, without saturating.

    Processors without 8-bit dot products add pairs in 16 bits, where 2 * 255 * 127 has no room.
    """
    memories = torch.full((3, 66), 127.0)
    pixels = torch.full((5, 66), 127, dtype=torch.int8)
    pixels[1::2] = -128
    try:
        found = _whole_products(memories, pixels)
    except (AttributeError, RuntimeError):  # a build without this operator
        return False
    return torch.equal(found, memories @ pixels.float().T)
