"""The energies made fast: one signature (`interface`), one file per back end, one choice.

`interface` says what a back end does, `reference` does it in PyTorch, `cpu` in C, `eightbit` in C
with coarser products to train by, `triton` on graphics cards; `energies` holds the formulas they
share, `autograd` the differentiable operators, `products` the matrix products, `native` the way to
the C library.
To add a back end: write its file, test it with tests/kernels/test_kernels.py, name it in `choice`.
"""

from denseam.kernels import energies
from denseam.kernels.autograd import decide, energy_gap, log_energy
from denseam.kernels.choice import Choice, by_name, choose
from denseam.kernels.interface import Kernel, Sums

__all__ = [
    "Choice",
    "Kernel",
    "Sums",
    "by_name",
    "choose",
    "decide",
    "energies",
    "energy_gap",
    "log_energy",
]
