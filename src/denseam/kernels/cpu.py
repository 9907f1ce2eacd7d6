"""The fast kernels for processors: C for the powers, `products` for the matrix products.

`cpu_kernels.c` says how the loops are laid out.
"""

import torch
from torch import Tensor

from denseam.kernels import native
from denseam.kernels.interface import Outcome, Sums, with_classes
from denseam.kernels.native import call, pointer, rows
from denseam.kernels.products import PRODUCTS, TAKE_GAPS, default_product


class CpuKernel:
    """See ``interface.Kernel``. float32 and float64, on the CPU.

    ``product`` names the matrix product, one of ``PRODUCTS``; by default this processor's.
    """

    name = "cpu"

    def __init__(self, product: str | None = None) -> None:
        if native.library() is None:
            raise RuntimeError("the C kernels of denseam are not installed")
        self._product = product

    @property
    def product(self) -> str:
        """The name of the matrix product in use."""
        if self._product is None:
            self._product = default_product()
        return self._product

    def _multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """(m, k), (n, k) -> (m, n): a @ b.T."""
        return PRODUCTS[self.product](a, b)

    def overlaps(self, visible: Tensor, memories: Tensor) -> Tensor:
        if self.product in TAKE_GAPS:
            seen = memories[:, : visible.shape[1]]
            return self._multiply(_whole_rows(seen), _whole_rows(visible))
        # Whole rows of memories, and class neurons at 0: it is the images that are copied.
        return self._multiply(memories, with_classes(visible, memories))

    def to_memories(self, weights: Tensor, visible: Tensor) -> Tensor:
        return self._multiply(weights, visible.T)

    def to_images(self, weights: Tensor, visible_memories: Tensor) -> Tensor:
        return self._multiply(weights.T, visible_memories.T)

    def sums(
        self, overlaps: Tensor, class_memories: Tensor, power: float, *, every_class: bool
    ) -> Sums:
        (K, B), C = overlaps.shape, class_memories.shape[1]
        overlaps, classes = overlaps.contiguous(), _whole_rows(class_memories)
        values = overlaps.new_empty(C + 1, B)
        scale = overlaps.new_empty(C + 1 if every_class else 1, B)
        call("sums", overlaps, *rows(classes), K, B, C, float(power),
              int(every_class), scale, values)  # fmt: skip
        return Sums(values, scale)

    def energies(self, sums: Sums, power: float, temperature: float) -> tuple[Tensor, Tensor]:
        (rows, B), scale = sums.values.shape, sums.scale.contiguous()
        log_energy, gap = torch.empty(2, B, rows - 1, dtype=torch.float64)
        call("energies", sums.values.contiguous(), scale, len(scale), B, rows - 1, float(power),
             float(temperature), pointer(log_energy, torch.float64),
             pointer(gap, torch.float64))  # fmt: skip
        return log_energy, gap

    def objective(
        self, sums: Sums, labels: Tensor, power: float, temperature: float, loss_power: float
    ) -> tuple[Tensor, Outcome]:
        (rows, B), labels = sums.values.shape, labels.contiguous()
        activity = torch.empty(B, rows - 1, dtype=torch.float64)
        objective, predicted = torch.empty(B, dtype=torch.float64), torch.empty_like(labels)
        coefficients = torch.empty_like(sums.values)
        call("objective", sums.values, sums.scale, pointer(labels, torch.int64), B, rows - 1,
              float(power), float(temperature), float(loss_power),
              pointer(activity, torch.float64), pointer(predicted, torch.int64),
              pointer(objective, torch.float64), coefficients)  # fmt: skip
        return coefficients, Outcome(activity, predicted, objective.sum())

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
        (K, B), C = overlaps.shape, class_memories.shape[1]
        overlaps, classes = overlaps.contiguous(), _whole_rows(class_memories)
        weights = torch.empty_like(overlaps) if out is None else out
        to_classes = overlaps.new_empty(K, C) if class_gradient else None
        call("weights", overlaps, *rows(classes), K, B, C, float(exponent),
              scale.contiguous(), len(scale), coefficients.contiguous(), weights,
              to_classes)  # fmt: skip
        return weights, to_classes

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
        K, components = memories.shape
        call("update", memories, velocity, gradient, K, components, float(momentum),
              float(gradient_scale), float(learning_rate), float(floor))  # fmt: skip


def _whole_rows(x: Tensor) -> Tensor:
    """A matrix whose rows are contiguous, at any distance: column slices are not copied."""
    return x if x.stride(1) == 1 else x.contiguous()
