"""The paper in one file: slow, obvious, any dtype. Everything fast is tested against it.

Krotov and Hopfield, *Dense Associative Memory is Robust to Adversarial Inputs*, Neural
Computation 30(12), 2018. Sizes: B images, N visible neurons, K memories, C classes.

    visible    v   (B, N)      in [-1, 1]
    memories   xi  (K, N + C)  in [-1, 1]; the first N components are the visible part
    power      n   >= 1
    temperature T  > 0;  beta = 1 / T^n is never formed: (h / T)^n does not overflow, h^n does

Functions of shape (B, K, C) inside: use them to check, not to train.
"""

import torch
from torch import Tensor

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
    "targets",
]


def rectified_polynomial(x: Tensor, power: float) -> Tensor:
    """F_n(x) = x^n for x >= 0, else 0 (Eq. 2.2)."""
    return x.clamp(min=0) ** power


def rectified_polynomial_slope(x: Tensor, power: float) -> Tensor:
    """F_n'(x) = n x^(n-1) for x > 0, else 0; zero at the kink of F_1."""
    return torch.where(x > 0, power * x.clamp(min=0) ** (power - 1), torch.zeros_like(x))


def fields(visible: Tensor, memories: Tensor) -> tuple[Tensor, Tensor]:
    """What each memory sees with one class neuron on, and with all of them off.

    Returns ``on`` (B, K, C), where neuron c is at +1 and the others at -1, and ``off`` (B, K),
    where all are at -1. ``on = off + 2 xi_c``, and ``off`` is the same for every class.
    """
    n_visible = visible.shape[1]
    classes = memories[:, n_visible:]  # (K, C)
    off = visible @ memories[:, :n_visible].T - classes.sum(dim=1)
    return off[:, :, None] + 2 * classes, off


def energy_gap(visible: Tensor, memories: Tensor, power: float, temperature: float) -> Tensor:
    """The argument of tanh in Eq. 2.1, (B, C): beta (E_off - E_on), with E = -sum_mu F_n."""
    on, off = fields(visible, memories)
    gain = rectified_polynomial(on / temperature, power)
    loss = rectified_polynomial(off / temperature, power)
    return (gain - loss[:, :, None]).sum(dim=1)


def class_activity(visible: Tensor, memories: Tensor, power: float, temperature: float) -> Tensor:
    """Y (B, C), the update rule of Eq. 2.1. The label is its argmax."""
    return torch.tanh(energy_gap(visible, memories, power, temperature))


def log_energy(visible: Tensor, memories: Tensor, power: float) -> Tensor:
    """log sum_mu F_n(on), (B, C): the same argmax and the same boundaries as Y, at any T.

    The off term is common to all classes, so it decides nothing. -inf where no memory is active.
    """
    on, _ = fields(visible, memories)
    return torch.logsumexp(power * on.clamp(min=0).log(), dim=1)


def targets(labels: Tensor, n_classes: int, dtype: torch.dtype) -> Tensor:
    """t (B, C): +1 for the right class, -1 otherwise."""
    return 2 * torch.nn.functional.one_hot(labels, n_classes).to(dtype) - 1


def objective(activity: Tensor, target: Tensor, loss_power: float) -> Tensor:
    """C of Eq. 2.3 (and 3.1), a scalar: the sum over images and classes of (Y - t)^(2m).

    ``activity`` and ``target`` are (B, C); ``loss_power`` is m. Written with |Y - t|, which is the
    same for whole m and keeps any other m real.
    """
    return ((activity - target).abs() ** (2 * loss_power)).sum()


# ---- gradients, each the derivative of the function above that it is named after ----------------


def _back_to_inputs(
    slope_on: Tensor, slope_off: Tensor, visible: Tensor, memories: Tensor
) -> tuple[Tensor, Tensor]:
    """From derivatives with respect to ``on`` (B, K, C) and ``off`` (B, K) to both inputs."""
    n_visible = visible.shape[1]
    weights = slope_on.sum(dim=2) + slope_off  # (B, K): every on contains off once
    to_classes = 2 * slope_on.sum(dim=0) - weights.sum(dim=0)[:, None]  # (K, C)
    to_memories = torch.cat([weights.T @ visible, to_classes], dim=1)
    return to_memories, weights @ memories[:, :n_visible]


def energy_gap_gradient(
    upstream: Tensor, visible: Tensor, memories: Tensor, power: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """Gradients of sum(upstream * energy_gap): to the memories (K, N + C) and the images (B, N)."""
    on, off = fields(visible, memories)
    slope_on = rectified_polynomial_slope(on / temperature, power) / temperature
    slope_off = rectified_polynomial_slope(off / temperature, power) / temperature
    slope_on = upstream[:, None, :] * slope_on
    slope_off = -upstream.sum(dim=1, keepdim=True) * slope_off
    return _back_to_inputs(slope_on, slope_off, visible, memories)


def log_energy_gradient(
    upstream: Tensor, visible: Tensor, memories: Tensor, power: float
) -> tuple[Tensor, Tensor]:
    """Gradients of sum(upstream * log_energy): to the memories (K, N + C) and the images (B, N).

    Zero for an image and class without an active memory.
    """
    on, off = fields(visible, memories)
    largest = on.amax(dim=1, keepdim=True).clamp(min=torch.finfo(on.dtype).tiny)  # (B, 1, C)
    share = rectified_polynomial_slope(on / largest, power) / largest
    total = rectified_polynomial(on / largest, power).sum(dim=1, keepdim=True)
    share = torch.where(total > 0, share / total, torch.zeros_like(share))
    return _back_to_inputs(upstream[:, None, :] * share, torch.zeros_like(off), visible, memories)


def class_activity_gradient(upstream: Tensor, activity: Tensor) -> Tensor:
    """Derivative of sum(upstream * Y) with respect to the energy gap, (B, C): tanh' = 1 - Y^2."""
    return upstream * (1 - activity**2)


def objective_gradient(activity: Tensor, target: Tensor, loss_power: float) -> Tensor:
    """Derivative of the objective with respect to Y, (B, C): 2m (Y - t)^(2m-1)."""
    difference = activity - target
    return 2 * loss_power * difference.sign() * difference.abs() ** (2 * loss_power - 1)
