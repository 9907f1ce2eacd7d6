"""One training step of a dense associative memory: the gradient of the objective, and the rule.

One pass forth and one back with the head in between, Eqs. 2.1 and 2.3:

    g = energy gap,  Y = tanh g,  C = sum (Y - t)^(2m),  dC/dg = 2m (Y - t)^(2m-1) (1 - Y^2)

The training loop, recorded steps, the estimator and the benchmark all take this one.
"""

from typing import Any

from torch import Tensor

from denseam.energies import EnergyFunction
from denseam.kernels.interface import Kernel, Outcome
from denseam.kernels.look import look_at
from denseam.mesh import Mesh

__all__ = ["memory_gradient", "step"]


def memory_gradient(
    kernel: Kernel,
    F: EnergyFunction,
    neurons: Tensor,  # (B, N + C): images in [-1, 1], and 0 in the class neurons
    labels: Tensor,  # (B,) int64
    memories: Tensor,  # (K, N + C)
    *,
    temperature: Any,
    loss_power: float,
    n_classes: int,
    mesh: Mesh | None = None,
) -> tuple[Tensor, Outcome]:
    """Return dC/dxi, (K, N + C), and what the batch looks like.

    With class neurons at 0 the overlaps are those of the visible neurons, while both products
    work on whole rows: neither memories nor gradient are copied. With a ``mesh`` memories are those
    of this process, and the sums those of all; the gradient is of this process's images.
    """
    axis = None if mesh is None else mesh.memory
    seen = look_at(kernel, F, neurons, memories, n_classes, every_class=False, axis=axis)
    coefficients, outcome = kernel.objective(seen.sums, labels, F, temperature, loss_power)
    gradients = seen.gradients(coefficients, out=seen.overlaps)
    return gradients.to_whole_memories(neurons), outcome


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
    loss_power: float,
    n_classes: int,
    mesh: Mesh | None = None,
) -> Outcome:
    """Move memories and velocity in place, and return what the batch looked like before.

    ``rule`` is a ``Rule``, ``temperature`` a number; back ends that record steps also take tensors
    on their device. Other arguments are those of ``memory_gradient``.
    """
    gradient, outcome = memory_gradient(
        kernel, F, neurons, labels, memories, temperature=temperature, loss_power=loss_power,
        n_classes=n_classes, mesh=mesh,
    )  # fmt: skip
    if mesh is not None:
        mesh.data.add(gradient)
    kernel.update(memories, velocity, gradient, rule)
    return outcome
