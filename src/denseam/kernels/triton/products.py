"""Matrix products on the card, by precision.

"full"      float32 products as cuBLAS makes them, 24 bits.
"tf32"      operands to 11 bits on the tensor cores, sums in float32.
"bfloat16"  operands to 8 bits, likewise.

cuBLAS makes TF32 products by a switch that is global to the process, so coarse products have a
kernel of our own. It also makes the full ones if the user has turned that switch on.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
import triton
from torch import Tensor

from denseam.kernels.triton.device.matmul import tiled_product

Products = Literal["full", "tf32", "bfloat16"]

_PRECISION = {"full": "ieee", "tf32": "tf32", "bfloat16": "ieee"}

# Sizes by products, from what the assembler says of registers; see docs/gpu.md.
SIZES: dict[Products, dict[str, int]] = {
    "full": {"BLOCK_M": 64, "BLOCK_N": 64, "BLOCK_L": 16, "GROUP": 8, "num_warps": 4},
    "tf32": {"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_L": 32, "GROUP": 8, "num_warps": 8},
    "bfloat16": {"BLOCK_M": 128, "BLOCK_N": 128, "BLOCK_L": 32, "GROUP": 8, "num_warps": 8},
}


def multiply(a: Tensor, b: Tensor, products: Products) -> Tensor:
    """Return a @ b.T, (M, L), (N, L) -> (M, N), with float32 or float64 sums."""
    plain = products == "full" or a.dtype is not torch.float32
    empty = a.numel() == 0 or b.numel() == 0
    if empty or (plain and (a.dtype is not torch.float32 or not _coarse_by_default())):
        return torch.mm(a, b.T)
    return tiled(a, b, products)


def tiled(a: Tensor, b: Tensor, products: Products) -> Tensor:
    """Return a @ b.T by our own kernel, whatever cuBLAS would do."""
    (M, L), N = a.shape, len(b)
    out = a.new_empty(M, N)
    coarse = products == "bfloat16"
    sizes: dict[str, Any] = SIZES[products]
    blocks = triton.cdiv(M, sizes["BLOCK_M"]) * triton.cdiv(N, sizes["BLOCK_N"])
    with on_device_of(a):
        tiled_product[(blocks,)](
            a, b, out, M, N, L, *a.stride(), *b.stride(), PRECISION=_PRECISION[products],
            COARSE=coarse, EMULATED=coarse and not isinstance(tiled_product, triton.JITFunction),
            **sizes,
        )  # fmt: skip
    return out


def on_device_of(x: Tensor) -> AbstractContextManager[Any]:
    """Return a context in which Triton launches on the device of ``x``."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def _coarse_by_default() -> bool:
    """Return whether this process lets cuBLAS round float32 operands."""
    settings = torch.backends.cuda.matmul
    precision = getattr(settings, "fp32_precision", None)
    return bool(settings.allow_tf32) if precision is None else precision == "tf32"
