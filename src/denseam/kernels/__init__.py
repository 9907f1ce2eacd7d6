"""The energies made fast: one signature (`interface`), one file per back end, one choice.

`interface` says what a back end does, `reference` does it in PyTorch, `cpu` in C, `eightbit` in C
with coarser products to train by, `triton` on graphics cards; `look` is how memories look at a
batch, whatever the back end, `autograd` the differentiable operators, `products` the matrix
products, `native` the way to the C library. Energy functions are handed in, see
``denseam.energies``; their loops in C stand in `functions/`.
To add a back end: see ``choice.BACKENDS``; tests/kernels/test_kernels.py drives all of them.
"""

from denseam.kernels.autograd import energy_gap, exact_log_energy, labels, log_energy
from denseam.kernels.choice import Choice, by_name, choose
from denseam.kernels.interface import Kernel, Rule, Sums
from denseam.kernels.look import Look, look_at
from denseam.kernels.steps import memory_gradient, step

__all__ = [
    "Choice",
    "Kernel",
    "Look",
    "Rule",
    "Sums",
    "by_name",
    "choose",
    "energy_gap",
    "exact_log_energy",
    "labels",
    "log_energy",
    "look_at",
    "memory_gradient",
    "step",
]
