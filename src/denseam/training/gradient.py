"""The gradient of the objective for a minibatch, without building an autograd graph.

One forward and one backward pass of the kernels with the head in between, Eqs. 2.1 and 2.3:

    g = energy gap,  Y = tanh g,  C = sum (Y - t)^(2m),  dC/dg = 2m (Y - t)^(2m-1) (1 - Y^2)
"""

from torch import Tensor

from denseam.kernels import Kernel, energies
from denseam.kernels.interface import Outcome

__all__ = ["objective_gradient"]


def objective_gradient(
    kernel: Kernel,
    neurons: Tensor,  # (B, N + C): images in [-1, 1], and 0 in the class neurons
    labels: Tensor,  # (B,) int64
    memories: Tensor,  # (K, N + C)
    *,
    power: float,
    temperature: float,
    loss_power: float,
    n_classes: int,
) -> tuple[Tensor, Outcome]:
    """dC/dxi, (K, N + C), and what the batch looked like.

    With class neurons at 0 the overlaps are those of the visible neurons, while both products
    work on whole rows: neither memories nor gradient are copied.
    """
    overlaps = kernel.overlaps(neurons, memories)
    classes = memories[:, -n_classes:]
    sums = kernel.sums(overlaps, classes, power, every_class=False)
    coefficients, outcome = kernel.objective(sums, labels, power, temperature, loss_power)
    gradients = energies.Gradients(
        kernel, overlaps, classes, coefficients, sums.scale, power, out=overlaps
    )
    return gradients.to_whole_memories(neurons), outcome
