"""What a back end does. One signature, so that a kernel and its reference are interchangeable.

Sizes: B images, N visible neurons, K memories, C classes. Overlaps are memory-major, (K, B).
Arrays with C + 1 rows hold one row for each class neuron switched on and a last one for all off:

    field[c, k, b] = overlap[k, b] + 2 class[k, c] - sum_c' class[k, c']      (c < C)
    field[C, k, b] = overlap[k, b]                 - sum_c' class[k, c']
    sums[c, b]     = sum_k relu(field[c, k, b] / scale[c, b])^power

``scale`` is the image's largest field (or the class's, see ``every_class``), so that no power
overflows and a sum that matters never underflows; temperature enters only afterwards.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sums:
    """Energies of a batch on a scale of their own: E = -(scale^n) * values."""

    values: Tensor  # (C + 1, B), >= 0; row C is `off`
    scale: Tensor  # (C + 1, B), or (1, B) for all rows; >= 0, and 0 where no memory is active


@dataclass(frozen=True)
class Outcome:
    """What a minibatch looks like to the objective."""

    activity: Tensor  # (B, C) float64: Y
    predicted: Tensor  # (B,) int64
    objective: Tensor  # () float64: C


class Kernel(Protocol):
    """The operations that every back end provides."""

    name: str

    def overlaps(self, visible: Tensor, memories: Tensor) -> Tensor:
        """(B, N), (K, N or more) -> (K, B): of the visible neurons, whatever stands behind them."""
        ...

    def sums(
        self, overlaps: Tensor, class_memories: Tensor, power: float, *, every_class: bool
    ) -> Sums:
        """(K, B), (K, C) -> ``Sums``.

        With ``every_class`` a class whose sum would underflow beside the image's best class gets
        a scale of its own, so that its logarithm stays exact.
        """
        ...

    def energies(self, sums: Sums, power: float, temperature: float) -> tuple[Tensor, Tensor]:
        """The log-energy and the energy gap, (B, C) float64 each: see ``energies``."""
        ...

    def objective(
        self, sums: Sums, labels: Tensor, power: float, temperature: float, loss_power: float
    ) -> tuple[Tensor, Outcome]:
        """The head of training, Eqs. 2.1 and 2.3, from sums without ``every_class``.

        Returns the coefficients, (C + 1, B), that ``weights`` needs for the gradient of C, and
        the outcome. (B, C) numbers only, so in float64 throughout.
        """
        ...

    def weights(
        self,
        overlaps: Tensor,
        class_memories: Tensor,
        coefficients: Tensor,
        scale: Tensor,
        exponent: float,
        *,
        class_gradient: bool,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """weights[k, b] = sum_c coefficients[c, b] relu(field[c, k, b] / scale[c, b])^exponent.

        ``coefficients`` is (C + 1, B), ``scale`` that or (1, B). Returns the weights (K, B), in
        ``out`` where given (which may be ``overlaps``), and with ``class_gradient`` what follows
        for the class memories, (K, C).
        """
        ...

    def to_memories(self, weights: Tensor, visible: Tensor) -> Tensor:
        """(K, B), (B, N) -> (K, N)."""
        ...

    def to_images(self, weights: Tensor, visible_memories: Tensor) -> Tensor:
        """(K, B), (K, N) -> (B, N)."""
        ...

    def update(
        self,
        memories: Tensor,
        velocity: Tensor,
        gradient: Tensor,
        *,
        momentum: float,
        gradient_scale: float,
        learning_rate: float,
        floor: float,
    ) -> None:
        """One step of the max-norm momentum rule in place; all three tensors are (K, N + C)."""
        ...


def with_classes(visible: Tensor, memories: Tensor) -> Tensor:
    """(B, N), (K, N + C) -> (B, N + C): class neurons at 0 behind the pixels.

    Products want their operands dense: so it is the images that are copied and not the memories.
    """
    extra = memories.shape[1] - visible.shape[1]
    return torch.nn.functional.pad(visible, (0, extra)) if extra else visible


def field_shifts(class_memories: Tensor) -> Tensor:
    """(K, C) -> (K, C + 1): what is added to a memory's overlap for each class on, and for off."""
    total = class_memories.sum(dim=1, keepdim=True)
    return torch.cat([2 * class_memories - total, -total], dim=1)
