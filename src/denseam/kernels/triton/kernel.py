"""The back end itself, which launches kernels and chooses their tiles."""

import math
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

import torch
import triton
from torch import Tensor

from denseam.energies import EnergyFunction
from denseam.kernels import look
from denseam.kernels.interface import Kernel, Outcome, Rule, Sums, whole_rows
from denseam.kernels.reference import TOO_SMALL
from denseam.kernels.triton.device.batch import drawn_batch
from denseam.kernels.triton.device.head import head
from denseam.kernels.triton.device.loops import (
    class_gradients,
    joined_sums,
    partial_sums,
    rescaled_sums,
    weighted_powers,
)
from denseam.kernels.triton.device.rule import max_norm_step
from denseam.kernels.triton.products import Products, multiply, on_device_of

_BLOCK_C = 16  # class components that are loaded at once
_ROOM = 40  # powers of two that gradients may grow by in sums over memories and classes


class TritonKernel(Kernel):
    """The back end in Triton: float32 and float64, on cards of compute capability 8.0 and up.

    Nothing here waits for the card. ``objective`` and ``update`` read temperature and rule from its
    memory, so that a CUDA graph of a step can be replayed.

    Args:
        products: precision of float32 matrix products, see ``triton.products``. Coarse ones are
            for training only: decisions and attacks need full ones.
    """

    name: ClassVar[str] = "triton"
    records_steps: ClassVar[bool] = True
    copies_rows: ClassVar[bool] = False

    def __init__(self, products: Products = "full") -> None:
        self._products = products

    @property
    def product(self) -> Products:
        return self._products

    def overlaps(self, visible: Tensor, memories: Tensor) -> Tensor:
        # Copies are cheap here; rows that are not aligned are slow.
        return multiply(memories[:, : visible.shape[1]].contiguous(), visible, self._products)

    def to_memories(self, weights: Tensor, visible: Tensor) -> Tensor:
        return multiply(weights, visible.T, self._products)

    def to_images(self, weights: Tensor, visible_memories: Tensor) -> Tensor:
        return multiply(weights.T, visible_memories.T, self._products)

    def draw(
        self, pixels: Tensor, labels: Tensor, order: Tensor, number: Tensor, like: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the images of a batch as neurons, and their labels, without waiting for the card.

        ``pixels`` is (M, N), bytes or floats, ``labels`` (M,), ``order`` (batches, B) rows of
        them, ``number`` () the batch. Neurons are (B, width), 0 beyond the pixels, with the width
        and dtype of ``like``; labels are (B,) int64.
        """
        B, width = order.shape[1], like.shape[1]
        neurons, batch_labels = like.new_empty(B, width), labels.new_empty(B)
        with on_device_of(like):
            drawn_batch[(B, triton.cdiv(width, 1024))](
                pixels, labels, order, number, neurons, batch_labels, B, pixels.shape[1], width,
                BYTES=pixels.dtype is torch.uint8, BLOCK=1024, num_warps=4,
            )  # fmt: skip
        return neurons, batch_labels

    def sums(
        self, overlaps: Tensor, class_memories: Tensor, F: EnergyFunction, *, every_class: bool
    ) -> Sums:
        (K, B), C = overlaps.shape, class_memories.shape[1]
        overlaps, classes = overlaps.contiguous(), whole_rows(class_memories)
        values = overlaps.new_empty(C + 1, B)
        scale = overlaps.new_empty(C + 1 if every_class else 1, B)
        if B == 0:
            return Sums(values, scale)
        body, (block_k, block_b) = _body(F), _tile(C)
        tiles = triton.cdiv(K, block_k)
        scales, parts = overlaps.new_empty(tiles, B), overlaps.new_empty(tiles, C + 1, B)
        with on_device_of(overlaps):
            partial_sums[(triton.cdiv(B, block_b), tiles)](
                overlaps, classes, scales, parts, classes.stride(0), K, B, C, **body,
                BLOCK_K=block_k, BLOCK_B=block_b, BLOCK_C=_BLOCK_C, num_warps=4,
            )  # fmt: skip
            joined_sums[(triton.cdiv(B, 32), C + 1)](
                scales, parts, scale, values, tiles, B, C, **body, EVERY_CLASS=every_class,
                BLOCK_T=64, BLOCK_B=32, num_warps=4,
            )  # fmt: skip
            if every_class:
                rescaled_sums[(triton.cdiv(B, 64), C)](
                    overlaps, classes, scale, values, classes.stride(0), K, B, C, **body,
                    TOO_SMALL=TOO_SMALL[overlaps.dtype],
                    BLOCK_K=32, BLOCK_B=64, BLOCK_C=_BLOCK_C, num_warps=4,
                )  # fmt: skip
        return Sums(values, scale)

    def energies(self, sums: Sums, F: EnergyFunction, temperature: float) -> tuple[Tensor, Tensor]:
        return look.log_energy(sums, F), look.energy_gap(sums, F, temperature)

    def objective(
        self, sums: Sums, labels: Tensor, F: EnergyFunction, temperature: Any, loss_power: float
    ) -> tuple[Tensor, Outcome]:
        if not isinstance(temperature, Tensor):
            temperature = torch.full((), temperature, dtype=torch.float64, device=labels.device)
        rows, B = sums.values.shape
        coefficients = torch.empty_like(sums.values)
        activity = torch.empty(B, rows - 1, dtype=torch.float64, device=labels.device)
        objective, predicted = activity.new_empty(B), torch.empty_like(labels)
        if B > 0:
            block_c = triton.next_power_of_2(rows - 1)
            block_b = max(1, min(16, 4096 // block_c))
            limit = math.log2(torch.finfo(coefficients.dtype).max) - _ROOM
            with on_device_of(labels):
                head[(triton.cdiv(B, block_b),)](
                    sums.values, sums.scale, labels.contiguous(), temperature,
                    activity, predicted, objective, coefficients, B, rows - 1,
                    **_head(F), LOSS_POWER=float(loss_power), LIMIT=limit,
                    BLOCK_B=block_b, BLOCK_C=block_c, num_warps=4,
                )  # fmt: skip
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
        gradient = overlaps.new_zeros(K, C) if class_gradient and B == 0 else None
        if B == 0:
            return weights, gradient
        scale, coefficients = scale.contiguous(), coefficients.contiguous()
        block_k, block_b = 16, 128
        tiles = triton.cdiv(B, block_b)
        shares = overlaps.new_empty(tiles if class_gradient else 0, C + 1, K)
        with on_device_of(overlaps):
            weighted_powers[(tiles, triton.cdiv(K, block_k))](
                overlaps, classes, scale, coefficients, weights, shares, classes.stride(0),
                K, B, C, **_body(F, slope=True), SHARES=class_gradient, ONE_SCALE=len(scale) == 1,
                BLOCK_K=block_k, BLOCK_B=block_b, BLOCK_C=_BLOCK_C, num_warps=4,
            )  # fmt: skip
            if class_gradient:
                gradient = overlaps.new_empty(K, C)
                rows = triton.next_power_of_2(C + 1)
                block_k = max(1, min(32, 4096 // rows))
                class_gradients[(triton.cdiv(K, block_k),)](
                    shares, gradient, tiles, K, C, BLOCK_K=block_k, ROWS=rows, num_warps=4
                )
        return weights, gradient

    def update(
        self, memories: Tensor, velocity: Tensor, gradient: Tensor, rule: Rule | Tensor
    ) -> None:
        if not isinstance(rule, Tensor):
            rule = torch.tensor(rule, dtype=torch.float64, device=memories.device)
        K, components = memories.shape
        block = triton.next_power_of_2(components)
        with on_device_of(memories):
            max_norm_step[(K,)](
                memories, velocity, gradient, rule, components, BLOCK=block,
                num_warps=max(1, min(32, block // 256)),
            )  # fmt: skip


@cache
def _body(F: EnergyFunction, *, slope: bool = False) -> dict[str, Any]:
    """Return the functions and constants of F, or of its slope, for the loops."""
    functions = _functions(F)
    A, B, C = functions.slope_constants(F) if slope else functions.constants(F)
    return {
        "CLEANED": functions.cleaned, "PREPARED": functions.prepared,
        "RELATIVE": functions.relative, "A": A, "B_": B, "C_": C,
    }  # fmt: skip


@cache
def _head(F: EnergyFunction) -> dict[str, Any]:
    """Return the functions and constants of F for the head."""
    functions = _functions(F)
    A, _, _ = functions.constants(F)
    return {"GAP_FACTOR": functions.gap_factor, "LOG2_PULL": functions.log2_pull, "A": A}


def _functions(F: EnergyFunction) -> Any:
    return import_module(f"denseam.kernels.triton.device.functions.{F.name}")


def _tile(n_classes: int) -> tuple[int, int]:
    """Return memories and images of a tile; partial sums take no more room than overlaps."""
    return (32, 128) if n_classes < 32 else (128, 32)
