"""The back end for graphics cards, in Triton, which is imported when it is needed.

`device/` runs on the card: `loops` over memories, images and classes, with the formulas of each
energy function in `functions/`; `head`, `rule` and `batch`, the rest of a training step; `matmul`.
`kernel` launches them, `products` chooses the matrix product. docs/gpu.md explains the design.
Tests run it in Triton's interpreter on machines without a card.
"""

from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from denseam.energies import EnergyFunction

if TYPE_CHECKING:
    from denseam.kernels.triton.kernel import TritonKernel
    from denseam.kernels.triton.products import Products

__all__ = ["make", "obstacle"]

# TF32 and bfloat16 products, and as much fast memory as the tiles are cut for.
_LEAST_CAPABILITY = (8, 0)


def make(products: "Products" = "full") -> "TritonKernel":
    """Return the back end with one of the ``products``."""
    from denseam.kernels.triton.kernel import TritonKernel  # noqa: PLC0415

    return TritonKernel(products)


def obstacle(  # noqa: PLR0911, one obstacle after the other
    device: torch.device, dtype: torch.dtype, F: EnergyFunction
) -> str | None:
    """Return the reason why these kernels cannot run for tensors and a function, or None."""
    if dtype not in (torch.float32, torch.float64):
        return f"the Triton kernels know float32 and float64, not {dtype}"
    if find_spec("triton") is None:
        return "Triton is not installed: pip install 'denseam[gpu]'"
    if not torch.cuda.is_available():
        return "PyTorch finds no CUDA card, or was built without CUDA"
    if torch.version.hip is not None:
        return "the Triton kernels have been written for NVIDIA cards, not for ROCm"
    capability = torch.cuda.get_device_capability(device)
    if capability < _LEAST_CAPABILITY:
        return "the Triton kernels need compute capability {}.{}, this card has {}.{}".format(
            *_LEAST_CAPABILITY, *capability
        )
    if find_spec(f"{__name__}.device.functions.{F.name}") is None:
        return f"the energy function {F.name!r} has no Triton kernels"
    return None
