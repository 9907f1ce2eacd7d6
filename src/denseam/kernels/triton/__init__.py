"""The back end for graphics cards, in Triton. The only place that imports it.

`device/` is what runs on the card: `powers` and `loops`, the two loops over memories, images and
classes; `head`, `rule` and `batch`, the rest of a training step; `matmul`. `kernel` launches them,
`products` says whose matrix product runs. docs/gpu.md says how it is laid out. On a machine without
a card all of it runs in Triton's interpreter, for tests.
"""

from denseam.kernels.triton.kernel import TritonKernel
from denseam.kernels.triton.products import Products

__all__ = ["Products", "TritonKernel"]
