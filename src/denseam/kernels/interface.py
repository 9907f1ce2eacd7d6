"""The interface of a back end, the same for every kernel and its reference.

Sizes: B images, N visible neurons, K memories, C classes. Overlaps are memory-major, (K, B).
Arrays with C + 1 rows hold one row for each class neuron switched on and a last one for all off:

    field[c, k, b] = overlap[k, b] + 2 class[k, c] - sum_c' class[k, c']      (c < C)
    field[C, k, b] = overlap[k, b]                 - sum_c' class[k, c']
    sums[c, b]     = sum_k F(field[c, k, b]) / F(scale[c, b])

``scale`` is the largest ``F.size`` of the image's fields (or of the class's, see ``every_class``),
so that nothing overflows and a sum that matters never underflows. Temperature enters afterwards.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from denseam.energies import EnergyFunction


@dataclass(frozen=True)
class Sums:
    """Energies of a batch, relative to a scale: E = -F(scale) * values."""

    values: Tensor  # (C + 1, B); row C is `off`
    scale: Tensor  # (C + 1, B), or (1, B) for all rows


@dataclass(frozen=True)
class Outcome:
    """Outputs and objective of a minibatch."""

    activity: Tensor  # (B, C) float64: Y
    predicted: Tensor  # (B,) int64
    objective: Tensor  # () float64: C


@dataclass(frozen=True)
class Gathered:
    """Sums over memories of F and F' of their fields x, for B states."""

    scale: Tensor  # (B,): the largest size of a field
    total: Tensor  # (B,) float64: sum_mu F(x_mu) / F(scale)
    slopes: Tensor  # (B,) float64: sum_mu F'(x_mu) / F'(scale)
    pull: Tensor | None = None  # (B, D): sum_mu F'(x_mu) / F'(scale) xi^mu


class Rule(NamedTuple):
    """The numbers of the max-norm momentum rule, see ``training.optimizer``."""

    momentum: float  # p
    gradient_scale: float  # s
    learning_rate: float  # eps
    floor: float  # velocities below it move less than eps


class Kernel(Protocol):
    """The operations that every back end provides.

    ``temperature`` is a number; back ends that record steps also take a float64 tensor () on their
    device, and a ``rule`` (4,) in the order of ``Rule``.
    """

    name: ClassVar[str]
    records_steps: ClassVar[bool]  # whether a whole step runs without the host
    copies_rows: ClassVar[bool]  # whether products copy operands with gaps between their rows

    @property
    def product(self) -> str | None:
        """The name of the matrix product in use; None without a choice."""
        return None

    def with_product(self, product: str | None) -> "Kernel":
        """Return this back end with another product, or itself if it lacks that one."""
        return self

    def batch_invariant(self) -> "Kernel | None":
        """Return a back end whose results for an image are the same to the bit in any batch."""
        return None

    def overlaps(self, visible: Tensor, memories: Tensor) -> Tensor:
        """Return overlaps of the first N components, (B, N), (K, N or more) -> (K, B)."""
        ...

    def sums(
        self, overlaps: Tensor, class_memories: Tensor, F: EnergyFunction, *, every_class: bool
    ) -> Sums:
        """Return the sums of overlaps (K, B) with class memories (K, C).

        With ``every_class`` a class whose sum would underflow beside the image's best class gets
        a scale of its own, so that its logarithm stays exact.
        """
        ...

    def energies(self, sums: Sums, F: EnergyFunction, temperature: float) -> tuple[Tensor, Tensor]:
        """Return log-energy and energy gap, (B, C) float64 each: see ``look``."""
        ...

    def objective(
        self,
        sums: Sums,
        labels: Tensor,  # (B,) int64
        F: EnergyFunction,
        temperature: Any,
        loss_power: float,
    ) -> tuple[Tensor, Outcome]:
        """Return the coefficients of ``weights`` for dC/dxi, (C + 1, B), and the outcome.

        The objective is Eq. 2.3; ``sums`` are on one scale for all classes.
        """
        ...

    def weights(
        self,
        overlaps: Tensor,
        class_memories: Tensor,
        coefficients: Tensor,
        scale: Tensor,
        F: EnergyFunction,
        *,
        class_gradient: bool,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return sum_c coefficients[c, b] F'(field[c, k, b]) / F'(scale[c, b]), (K, B).

        ``coefficients`` is (C + 1, B), ``scale`` the same or (1, B). The result is written to
        ``out``, which may be ``overlaps``. With ``class_gradient``, also returns the gradient by
        the class memories, (K, C).
        """
        ...

    def to_memories(self, weights: Tensor, visible: Tensor) -> Tensor:
        """Return weights @ visible, (K, B), (B, N) -> (K, N)."""
        ...

    def to_images(self, weights: Tensor, visible_memories: Tensor) -> Tensor:
        """Return weights.T @ visible_memories, (K, B), (K, N) -> (B, N)."""
        ...

    def gather(
        self,
        states: Tensor,  # (B, D)
        memories: Tensor,  # (K, D)
        F: EnergyFunction,
        *,
        drop: Tensor | None = None,  # (B,), subtracted from the overlaps of a state
        offsets: Tensor | None = None,  # (K,), subtracted from the overlaps of a memory
        pull: bool = True,
        least: float = 0.0,  # weights up to it add less to the pull than rounding
    ) -> Gathered:
        """Return the sums of one pass over memories, and with ``pull`` what they add up to.

        Here by the other operations, which hold fields (K, B).
        """
        del least
        fields = self.overlaps(states, memories)
        if drop is not None:
            fields.sub_(drop)
        if offsets is not None:
            fields.sub_(offsets[:, None])
        no_classes, ones = memories.new_empty(len(memories), 0), states.new_ones(1, len(states))
        sums = self.sums(fields, no_classes, F, every_class=False)
        scale, total = sums.scale[0], sums.values[0].double()
        weights, _ = self.weights(
            fields, no_classes, ones, sums.scale, F, class_gradient=False, out=fields
        )
        slopes = weights.sum(dim=0, dtype=torch.float64)
        pulled = self.to_images(weights, memories) if pull else None
        return Gathered(scale, total, slopes, pulled)

    def update(self, memories: Tensor, velocity: Tensor, gradient: Tensor, rule: Any) -> None:
        """Take a step of the max-norm momentum rule in place; all three are (K, N + C)."""
        ...


def with_classes(visible: Tensor, memories: Tensor) -> Tensor:
    """Return images with class neurons at 0, (B, N), (K, N + C) -> (B, N + C).

    Products need dense operands; copying the images spares copying the memories.
    """
    extra = memories.shape[1] - visible.shape[1]
    return torch.nn.functional.pad(visible, (0, extra)) if extra else visible


def field_shifts(class_memories: Tensor) -> Tensor:
    """Return what each class on, or all off, adds to overlaps, (K, C) -> (K, C + 1)."""
    total = class_memories.sum(dim=1, keepdim=True)
    return torch.cat([2 * class_memories - total, -total], dim=1)


def whole_rows(x: Tensor) -> Tensor:
    """Return a matrix with contiguous rows, any distance apart; column slices are not copied."""
    return x if x.stride(1) == 1 else x.contiguous()
