"""One training step of a dense associative memory: gradient of the objective, and update.

A forward pass, the head and a backward pass; for the paper's objective, Eqs. 2.1 and 2.3:

    g = energy gap,  Y = tanh g,  C = sum (Y - t)^(2m),  dC/dg = 2m (Y - t)^(2m-1) (1 - Y^2)

The training loop, recorded steps, the estimator and the benchmark all use this step.
"""

from typing import Any

import torch
from torch import Tensor

from denseam.energies import EnergyFunction
from denseam.kernels.interface import Kernel, Outcome
from denseam.kernels.look import look_at
from denseam.kernels.objectives import Objective
from denseam.mesh import Mesh


def memory_gradient(
    kernel: Kernel,
    F: EnergyFunction,
    neurons: Tensor,  # (B, N + C): images in [-1, 1], and 0 in the class neurons
    labels: Tensor,  # (B,) int64
    memories: Tensor,  # (K, N + C)
    *,
    temperature: Any,
    objective: Objective,
    n_classes: int,
    mesh: Mesh | None = None,
) -> tuple[Tensor, Outcome]:
    """Return dC/dxi, (K, N + C), and the outcome of the batch.

    Class neurons at 0 change no overlap, and let both products work on whole rows: neither memories
    nor gradient are copied. With a ``mesh``, memories and images are those of this process; sums
    are over the memories of all processes. Neurons that a learning front has made get their
    gradient passed back.
    """
    axis = None if mesh is None else mesh.memory
    classes, rows = memories[:, -n_classes:], neurons.detach()
    seen = look_at(kernel, F, rows, memories, classes, every_class=objective.every_class, axis=axis)
    coefficients, outcome = objective.coefficients(kernel, seen.sums, labels, F, temperature)
    gradients = seen.gradients(coefficients, out=seen.overlaps)
    if neurons.requires_grad:  # what comes back to class neurons ends there: they are padding
        torch.autograd.backward(neurons, gradients.to_images(memories))
    return gradients.to_whole_memories(rows), outcome


def step(
    kernel: Kernel,
    F: EnergyFunction,
    neurons: Tensor,
    labels: Tensor,
    memories: Tensor,
    velocity: Tensor,  # (K, N + C)
    rule: Any,
    *,
    temperature: Any,
    objective: Objective,
    n_classes: int,
    mesh: Mesh | None = None,
) -> Outcome:
    """Update memories and velocity in place; return the outcome of the batch before.

    ``rule`` is a ``Rule``, ``temperature`` a number; back ends that record steps also take tensors
    on their device. Other arguments are those of ``memory_gradient``.
    """
    gradient, outcome = memory_gradient(
        kernel, F, neurons, labels, memories, temperature=temperature, objective=objective,
        n_classes=n_classes, mesh=mesh,
    )  # fmt: skip
    if mesh is not None:
        mesh.data.add(gradient)
    kernel.update(memories, velocity, gradient, rule)
    return outcome
