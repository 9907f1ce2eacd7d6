"""The gradient of the objective for a minibatch.

One pass forth and one back with the head in between, Eqs. 2.1 and 2.3:

    g = energy gap,  Y = tanh g,  C = sum (Y - t)^(2m),  dC/dg = 2m (Y - t)^(2m-1) (1 - Y^2)

A dense associative memory goes through the kernels, without an autograd graph; the networks that
it is compared with go through autograd.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from denseam import energy
from denseam.classifier import Classifier
from denseam.kernels import Kernel, energies
from denseam.kernels.interface import Outcome, Sums

__all__ = ["network_gradient", "objective_gradient"]


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
    join: Callable[[Sums], Sums] | None = None,
) -> tuple[Tensor, Outcome]:
    """dC/dxi, (K, N + C), of a dense associative memory, and what the batch looked like.

    With class neurons at 0 the overlaps are those of the visible neurons, while both products
    work on whole rows: neither memories nor gradient are copied. Where the memories are only some
    of all, ``join`` makes the sums of these the sums of all.
    """
    overlaps = kernel.overlaps(neurons, memories)
    classes = memories[:, -n_classes:]
    sums = kernel.sums(overlaps, classes, power, every_class=False)
    if join is not None:
        sums = join(sums)
    coefficients, outcome = kernel.objective(sums, labels, power, temperature, loss_power)
    gradients = energies.Gradients(
        kernel, overlaps, classes, coefficients, sums.scale, power, out=overlaps
    )
    return gradients.to_whole_memories(neurons), outcome


def network_gradient(
    model: Classifier, neurons: Tensor, labels: Tensor, loss_power: float
) -> tuple[Tensor, Outcome]:
    """The same of any network, by autograd; the head is in float64, (B, C) numbers only."""
    visible = neurons[:, : model.n_visible]
    activity = torch.tanh(model.scores(visible, "energy_gap").double())
    target = energy.targets(labels, model.n_classes, torch.float64)
    objective = energy.objective(activity, target, loss_power)
    (gradient,) = torch.autograd.grad(objective, model.memories)
    return gradient, Outcome(activity.detach(), activity.argmax(dim=1), objective.detach())
