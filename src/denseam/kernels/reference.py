"""The back end in plain PyTorch: any dtype, any energy function, no compiler.

The reference for the others: the formulas of `energy.py` in a loop over classes, so that nothing of
size (B, K, C) is held. Decisions and coefficients are in float64, which a device must have.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor

from denseam import energy
from denseam.energies import EnergyFunction
from denseam.kernels import look
from denseam.kernels.interface import Kernel, Outcome, Rule, Sums, field_shifts

# A sum below this share of the image's best has lost terms to underflow.
TOO_SMALL = {
    torch.float32: 1e-25,
    torch.float64: 1e-280,
    torch.bfloat16: 1e-25,
    torch.float16: 1e-2,
}


class ReferenceKernel(Kernel):
    """The back end in plain PyTorch, see ``interface.Kernel``."""

    name: ClassVar[str] = "reference"
    records_steps: ClassVar[bool] = False
    copies_rows: ClassVar[bool] = True

    def overlaps(self, visible: Tensor, memories: Tensor) -> Tensor:
        return memories[:, : visible.shape[1]] @ visible.T

    def sums(
        self, overlaps: Tensor, class_memories: Tensor, F: EnergyFunction, *, every_class: bool
    ) -> Sums:
        shifts = field_shifts(class_memories)  # (K, C + 1)
        ends = (overlaps + end[:, None] for end in (shifts.amin(dim=1), shifts.amax(dim=1)))
        low, high = (F.scale(field, dim=0)[0] for field in ends)
        row_scale = torch.maximum(low, high)  # (B,)
        scale = row_scale.repeat(shifts.shape[1] if every_class else 1, 1)
        values = overlaps.new_empty(shifts.shape[1], overlaps.shape[1])
        for c, shift in enumerate(shifts.T):
            field = overlaps + shift[:, None]
            values[c] = F.ratio(field, row_scale).sum(dim=0)
            lost = (values[c] < TOO_SMALL[field.dtype]) & F.active(row_scale)
            if every_class and c < len(shifts.T) - 1 and bool(lost.any()):
                scale[c] = torch.where(lost, F.scale(field, dim=0)[0], row_scale)
                again = F.ratio(field, scale[c]).sum(dim=0)
                values[c] = torch.where(lost, again, values[c])
        return Sums(values, scale)

    def energies(self, sums: Sums, F: EnergyFunction, temperature: float) -> tuple[Tensor, Tensor]:
        return look.log_energy(sums, F), look.energy_gap(sums, F, temperature)

    def objective(
        self, sums: Sums, labels: Tensor, F: EnergyFunction, temperature: Any, loss_power: float
    ) -> tuple[Tensor, Outcome]:
        gap = look.energy_gap(sums, F, temperature)
        activity = torch.tanh(gap)
        target = energy.targets(labels, gap.shape[1], torch.float64)
        slope = energy.objective_gradient(activity, target, loss_power)
        upstream = energy.class_activity_gradient(slope, activity)
        coefficients = look.gap_coefficients(upstream, sums.scale, F, temperature)
        value = energy.objective(activity, target, loss_power)
        return coefficients, Outcome(activity, gap.argmax(dim=1), value)

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
        shifts = field_shifts(class_memories)
        scale = scale.expand_as(coefficients)
        weights = torch.zeros_like(overlaps)
        shares = torch.empty_like(shifts)  # (K, C + 1)
        for c, shift in enumerate(shifts.T):
            share = F.slope_ratio(overlaps + shift[:, None], scale[c]) * coefficients[c]
            weights += share
            shares[:, c] = share.sum(dim=1)
        if out is not None:
            weights = out.copy_(weights)
        to_classes = 2 * shares[:, :-1] - shares.sum(dim=1, keepdim=True)
        return weights, to_classes if class_gradient else None

    def to_memories(self, weights: Tensor, visible: Tensor) -> Tensor:
        return weights @ visible

    def to_images(self, weights: Tensor, visible_memories: Tensor) -> Tensor:
        return weights.T @ visible_memories

    def update(self, memories: Tensor, velocity: Tensor, gradient: Tensor, rule: Rule) -> None:
        velocity.mul_(rule.momentum).sub_(gradient, alpha=rule.gradient_scale)
        floor = max(rule.floor, torch.finfo(velocity.dtype).tiny)  # 1e-30 is 0 in float16
        largest = velocity.abs().amax(dim=1, keepdim=True).clamp(min=floor)
        memories.addcdiv_(velocity, largest, value=rule.learning_rate).clamp_(-1, 1)
