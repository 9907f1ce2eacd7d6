"""The paper in one file: slow, obvious, any dtype. Everything fast is tested against it.

Krotov and Hopfield, *Dense Associative Memory is Robust to Adversarial Inputs*, Neural
Computation 30(12), 2018. Sizes: B images, N visible neurons, K memories, C classes::

    visible    v   (B, N)      in [-1, 1]
    memories   xi  (K, N + C)  in [-1, 1]; the first N components are the visible part
    power      n   >= 1, of the rectified polynomial F_n(x) = x^n for x >= 0, else 0 (Eq. 2.2);
                   or any other energy function F of ``denseam.energies``
    temperature T  > 0;  beta = 1 / F(T) is never formed: (h / T)^n does not overflow, h^n does

Functions of shape (B, K, C) inside: use them to check, not to train.
"""

import torch
from torch import Tensor

from denseam.energies import (
    EnergyFunction,
    as_function,
    rectified_polynomial,
    rectified_polynomial_slope,
)

__all__ = [
    "class_activity",
    "class_activity_gradient",
    "energy_gap",
    "energy_gap_gradient",
    "fields",
    "log_energy",
    "log_energy_gradient",
    "objective",
    "objective_gradient",
    "rectified_polynomial",
    "rectified_polynomial_slope",
    "state_energy",
    "targets",
]


def fields(visible: Tensor, memories: Tensor) -> tuple[Tensor, Tensor]:
    """Return the field of each memory with one class neuron on, and with all of them off.

    ``on`` is (B, K, C), neuron c at +1 and the others at -1; ``off`` is (B, K), all at -1.
    ``on = off + 2 xi_c``, and ``off`` is the same for every class.
    """
    n_visible = visible.shape[1]
    classes = memories[:, n_visible:]  # (K, C)
    off = visible @ memories[:, :n_visible].T - classes.sum(dim=1)
    return off[:, :, None] + 2 * classes, off


def energy_gap(
    visible: Tensor, memories: Tensor, power: EnergyFunction | float, temperature: float
) -> Tensor:
    """Return the argument of tanh in Eq. 2.1, (B, C): beta (E_off - E_on), with E = -sum_mu F."""
    F = as_function(power)
    on, off = fields(visible, memories)
    gain, loss = F.ratio(on, temperature), F.ratio(off, temperature)  # F(h) / F(T)
    return (gain - loss[:, :, None]).sum(dim=1)


def class_activity(
    visible: Tensor, memories: Tensor, power: EnergyFunction | float, temperature: float
) -> Tensor:
    """Return Y (B, C), the update rule of Eq. 2.1. The label is its argmax."""
    return torch.tanh(energy_gap(visible, memories, power, temperature))


def log_energy(visible: Tensor, memories: Tensor, power: EnergyFunction | float) -> Tensor:
    """Return log sum_mu F(on), (B, C): the same argmax and the same boundaries as Y, at any T.

    The off term is common to all classes, so it decides nothing. -inf where no memory is active.
    """
    on, _ = fields(visible, memories)
    return torch.logsumexp(as_function(power).log(on), dim=1)


def state_energy(states: Tensor, memories: Tensor, power: EnergyFunction | float) -> Tensor:
    """Return E(v) = -sum_mu F(xi^mu . v) of all neurons (NIPS16, Eq. 1), (B, D), (K, D) -> (B,)."""
    return -as_function(power).value(states @ memories.T).sum(dim=1)


def targets(labels: Tensor, n_classes: int, dtype: torch.dtype) -> Tensor:
    """Return t (B, C): +1 for the right class, -1 otherwise."""
    return 2 * torch.nn.functional.one_hot(labels, n_classes).to(dtype) - 1


def objective(activity: Tensor, target: Tensor, loss_power: float) -> Tensor:
    """Return C of Eq. 2.3 (and 3.1), a scalar: the sum over images and classes of (Y - t)^(2m).

    ``activity`` and ``target`` are (B, C); ``loss_power`` is m. Written with |Y - t|, which is the
    same for whole m and keeps any other m real.
    """
    return ((activity - target).abs() ** (2 * loss_power)).sum()


# ---- gradients, each the derivative of the function above that it is named after ----------------


def _back_to_inputs(
    slope_on: Tensor, slope_off: Tensor, visible: Tensor, memories: Tensor
) -> tuple[Tensor, Tensor]:
    """Carry derivatives with respect to ``on`` (B, K, C) and ``off`` (B, K) to both inputs."""
    n_visible = visible.shape[1]
    weights = slope_on.sum(dim=2) + slope_off  # (B, K): every on contains off once
    to_classes = 2 * slope_on.sum(dim=0) - weights.sum(dim=0)[:, None]  # (K, C)
    to_memories = torch.cat([weights.T @ visible, to_classes], dim=1)
    return to_memories, weights @ memories[:, :n_visible]


def energy_gap_gradient(
    upstream: Tensor,
    visible: Tensor,
    memories: Tensor,
    power: EnergyFunction | float,
    temperature: float,
) -> tuple[Tensor, Tensor]:
    """Differentiate sum(upstream * energy_gap): by memories (K, N + C) and by images (B, N)."""
    F = as_function(power)
    on, off = fields(visible, memories)
    slope_on = upstream[:, None, :] * F.pull(on, temperature)  # F'(h) / F(T)
    slope_off = -upstream.sum(dim=1, keepdim=True) * F.pull(off, temperature)
    return _back_to_inputs(slope_on, slope_off, visible, memories)


def log_energy_gradient(
    upstream: Tensor, visible: Tensor, memories: Tensor, power: EnergyFunction | float
) -> tuple[Tensor, Tensor]:
    """Differentiate sum(upstream * log_energy): by memories (K, N + C) and by images (B, N).

    Zero for an image and class without an active memory.
    """
    F = as_function(power)
    on, off = fields(visible, memories)
    scale = F.scale(on, dim=1)  # (B, 1, C)
    total = F.ratio(on, scale).sum(dim=1, keepdim=True)
    share = torch.where(total > 0, F.pull(on, scale) / total, torch.zeros_like(on))
    return _back_to_inputs(upstream[:, None, :] * share, torch.zeros_like(off), visible, memories)


def class_activity_gradient(upstream: Tensor, activity: Tensor) -> Tensor:
    """Differentiate sum(upstream * Y) by the energy gap, (B, C): tanh' = 1 - Y^2."""
    return upstream * (1 - activity**2)


def objective_gradient(activity: Tensor, target: Tensor, loss_power: float) -> Tensor:
    """Differentiate the objective by Y, (B, C): 2m (Y - t)^(2m-1)."""
    difference = activity - target
    return 2 * loss_power * difference.sign() * difference.abs() ** (2 * loss_power - 1)
