"""The back end for processors: loops in C, matrix products by `products`.

`cpu_loops.h` explains the loops; `functions/` holds the C of each energy function.
"""

import ctypes
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor

from denseam.energies import EnergyFunction
from denseam.kernels import native
from denseam.kernels.interface import (
    Gathered,
    Kernel,
    Outcome,
    Rule,
    Sums,
    whole_rows,
    with_classes,
)
from denseam.kernels.native import call, pointer, rows
from denseam.kernels.products import FORMS, TAKE_GAPS, available_products, default_product


class CpuKernel(Kernel):
    """The back end in C: float32 and float64, for energy functions written in C.

    ``product`` names the matrix product, one of ``FORMS``; by default the one for this processor.
    """

    name: ClassVar[str] = "cpu"
    records_steps: ClassVar[bool] = False
    copies_rows: ClassVar[bool] = True

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

    def with_product(self, product: str | None) -> Kernel:
        known = product != self.product and product in available_products()
        return CpuKernel(product) if known else self

    def batch_invariant(self) -> Kernel | None:
        return _dots()

    def _multiply(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a @ b.T, (m, k), (n, k) -> (m, n)."""
        return FORMS[self.product](a, b)

    def overlaps(self, visible: Tensor, memories: Tensor) -> Tensor:
        if self.product in TAKE_GAPS:
            visible_memories = memories[:, : visible.shape[1]]
            return self._multiply(whole_rows(visible_memories), whole_rows(visible))
        # Whole rows of memories, with class neurons at 0: only the images are copied.
        return self._multiply(memories, with_classes(visible, memories))

    def to_memories(self, weights: Tensor, visible: Tensor) -> Tensor:
        return self._multiply(weights, visible.T)

    def to_images(self, weights: Tensor, visible_memories: Tensor) -> Tensor:
        return self._multiply(weights.T, visible_memories.T)

    def sums(
        self, overlaps: Tensor, class_memories: Tensor, F: EnergyFunction, *, every_class: bool
    ) -> Sums:
        (K, B), C = overlaps.shape, class_memories.shape[1]
        overlaps, classes = overlaps.contiguous(), whole_rows(class_memories)
        values = overlaps.new_empty(C + 1, B)
        scale = overlaps.new_empty(C + 1 if every_class else 1, B)
        call(f"{F.name}_sums", overlaps, *rows(classes), K, B, C, parameters(F),
              int(every_class), scale, values)  # fmt: skip
        return Sums(values, scale)

    def energies(self, sums: Sums, F: EnergyFunction, temperature: float) -> tuple[Tensor, Tensor]:
        (rows, B), scale = sums.values.shape, sums.scale.contiguous()
        log_energy, gap = torch.empty(2, B, rows - 1, dtype=torch.float64)
        call(f"{F.name}_energies", sums.values.contiguous(), scale, len(scale), B, rows - 1,
             parameters(F), float(temperature), pointer(log_energy, torch.float64),
             pointer(gap, torch.float64))  # fmt: skip
        return log_energy, gap

    def objective(
        self, sums: Sums, labels: Tensor, F: EnergyFunction, temperature: float, loss_power: float
    ) -> tuple[Tensor, Outcome]:
        (rows, B), labels = sums.values.shape, labels.contiguous()
        activity = torch.empty(B, rows - 1, dtype=torch.float64)
        objective, predicted = torch.empty(B, dtype=torch.float64), torch.empty_like(labels)
        coefficients = torch.empty_like(sums.values)
        call(f"{F.name}_objective", sums.values, sums.scale, pointer(labels, torch.int64), B,
              rows - 1, parameters(F), float(temperature), float(loss_power),
              pointer(activity, torch.float64), pointer(predicted, torch.int64),
              pointer(objective, torch.float64), coefficients)  # fmt: skip
        return coefficients, Outcome(activity, predicted, objective.sum())

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
        (K, B), C = overlaps.shape, class_memories.shape[1]
        overlaps, classes = overlaps.contiguous(), whole_rows(class_memories)
        weights = torch.empty_like(overlaps) if out is None else out
        to_classes = overlaps.new_empty(K, C) if class_gradient else None
        call(f"{F.name}_weights", overlaps, *rows(classes), K, B, C, parameters(F),
              scale.contiguous(), len(scale), coefficients.contiguous(), weights,
              to_classes)  # fmt: skip
        return weights, to_classes

    def gather(
        self,
        states: Tensor,
        memories: Tensor,
        F: EnergyFunction,
        *,
        drop: Tensor | None = None,
        offsets: Tensor | None = None,
        pull: bool = True,
        least: float = 0.0,
    ) -> Gathered:
        if self.product not in TAKE_GAPS:  # others are faster here than our own product in C
            return super().gather(
                states, memories, F, drop=drop, offsets=offsets, pull=pull, least=least
            )
        states, memories = states.contiguous(), whole_rows(memories)
        (B, N), K = states.shape, len(memories)
        scale, (total, slopes) = states.new_empty(B), torch.empty(2, B, dtype=torch.float64)
        pulled = torch.empty_like(states) if pull else None
        call(f"{F.name}_gather", states, *rows(memories), K, B, N, parameters(F),
             _dense(offsets, states), _dense(drop, states), float(least), scale,
             pointer(total, torch.float64), pointer(slopes, torch.float64), pulled)  # fmt: skip
        return Gathered(scale, total, slopes, pulled)

    def update(self, memories: Tensor, velocity: Tensor, gradient: Tensor, rule: Rule) -> None:
        call("update", memories, velocity, gradient, *memories.shape, *map(float, rule))


def _dense(x: Tensor | None, like: Tensor) -> Tensor | ctypes.c_void_p:
    return ctypes.c_void_p() if x is None else x.to(like.dtype).contiguous()


@cache
def _dots() -> CpuKernel:
    return CpuKernel("dots")


@cache
def parameters(F: EnergyFunction) -> ctypes.c_void_p:
    """Return a pointer to the parameters of a function, valid as long as the process."""
    numbers = (ctypes.c_double * len(F.parameters))(*F.parameters)
    _KEPT.append(numbers)
    return ctypes.c_void_p(ctypes.addressof(numbers))


_KEPT: list[ctypes.Array[ctypes.c_double]] = []


def obstacle(device: torch.device, dtype: torch.dtype, F: EnergyFunction) -> str | None:
    """Return the reason why these kernels cannot run for tensors and a function, or None."""
    if device.type != "cpu":
        return f"no kernels of our own for {device.type!r}"
    if dtype not in (torch.float32, torch.float64):
        return f"the C kernels know float32 and float64, not {dtype}"
    if native.library() is None:
        return native.obstacle()
    if not native.knows(f"{F.name}_sums"):
        return f"the energy function {F.name!r} has no C kernels"
    return None
