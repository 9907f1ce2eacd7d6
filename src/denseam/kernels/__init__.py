"""Fast energies: one interface, one file per back end, one choice.

    interface   the methods of a back end
    reference   the back end in PyTorch; cpu: in C; triton: on graphics cards
    eightbit    the one in C with coarser matrix products, for training
    look        overlaps, sums and scores of a batch, with any back end
    objectives  what training makes small
    autograd    the differentiable operators
    products    matrix products; native: calls of the C library
    functions/  the C of each energy function of ``denseam.energies``

To add a back end: see ``choice.BACKENDS``; tests/kernels/test_kernels.py tests all of them.
"""

from denseam.kernels.autograd import energy_gap, exact_log_energy, labels, log_energy
from denseam.kernels.choice import Choice, by_name, choose
from denseam.kernels.interface import Gathered, Kernel, Rule, Sums
from denseam.kernels.look import Look, look_at
from denseam.kernels.objectives import OBJECTIVES, Agreement, CrossEntropy, Margin, Objective, Paper
from denseam.kernels.steps import memory_gradient, step

__all__ = [
    "OBJECTIVES",
    "Agreement",
    "Choice",
    "CrossEntropy",
    "Gathered",
    "Kernel",
    "Look",
    "Margin",
    "Objective",
    "Paper",
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
