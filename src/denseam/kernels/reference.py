"""The kernels in plain PyTorch: any dtype, any device, no compiler. The measure for the others.

Loops over classes, so that nothing of size (B, K, C) is held; the rest is what `energy.py` says.
"""

import torch
from torch import Tensor

from denseam import energy
from denseam.kernels import energies
from denseam.kernels.interface import Outcome, Sums, field_shifts

# A sum below this part of the image's best has lost terms to underflow.
_TOO_SMALL = {
    torch.float32: 1e-25,
    torch.float64: 1e-280,
    torch.bfloat16: 1e-25,
    torch.float16: 1e-2,
}


class ReferenceKernel:
    """See ``interface.Kernel``."""

    name = "reference"

    def overlaps(self, visible: Tensor, memories: Tensor) -> Tensor:
        return memories[:, : visible.shape[1]] @ visible.T

    def sums(
        self, overlaps: Tensor, class_memories: Tensor, power: float, *, every_class: bool
    ) -> Sums:
        shifts = field_shifts(class_memories)  # (K, C + 1)
        top = shifts.amax(dim=1, keepdim=True)
        row_scale = (overlaps + top).amax(dim=0).clamp(min=0)  # (B,)
        scale = row_scale.repeat(shifts.shape[1] if every_class else 1, 1)
        values = overlaps.new_empty(shifts.shape[1], overlaps.shape[1])
        for c, shift in enumerate(shifts.T):
            field = (overlaps + shift[:, None]).clamp_(min=0)
            values[c] = _scaled_power(field, row_scale, power).sum(dim=0)
            lost = (values[c] < _TOO_SMALL[field.dtype]) & (row_scale > 0)
            if every_class and c < len(shifts.T) - 1 and bool(lost.any()):
                scale[c] = field.amax(dim=0)
                values[c] = _scaled_power(field, scale[c], power).sum(dim=0)
        return Sums(values, scale)

    def energies(self, sums: Sums, power: float, temperature: float) -> tuple[Tensor, Tensor]:
        gap = energies.exact_energy_gap(sums, power, temperature)
        return energies.exact_log_energy(sums, power), gap

    def objective(
        self, sums: Sums, labels: Tensor, power: float, temperature: float, loss_power: float
    ) -> tuple[Tensor, Outcome]:
        gap = energies.exact_energy_gap(sums, power, temperature)
        activity = torch.tanh(gap)
        target = energy.targets(labels, gap.shape[1], torch.float64)
        slope = energy.objective_gradient(activity, target, loss_power)
        upstream = energy.class_activity_gradient(slope, activity)
        coefficients = energies.gap_coefficients(upstream, sums.scale, power, temperature)
        value = energy.objective(activity, target, loss_power)
        return coefficients, Outcome(activity, gap.argmax(dim=1), value)

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
        shifts = field_shifts(class_memories)
        scale = scale.expand_as(coefficients)
        weights = torch.zeros_like(overlaps)
        shares = torch.empty_like(shifts)  # (K, C + 1)
        for c, shift in enumerate(shifts.T):
            field = (overlaps + shift[:, None]).clamp_(min=0)
            share = _scaled_power(field, scale[c], exponent) * coefficients[c]
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
        velocity.mul_(momentum).sub_(gradient, alpha=gradient_scale)
        floor = max(floor, torch.finfo(velocity.dtype).tiny)  # 1e-30 is 0 in float16
        largest = velocity.abs().amax(dim=1, keepdim=True).clamp(min=floor)
        memories.addcdiv_(velocity, largest, value=learning_rate).clamp_(-1, 1)


def _scaled_power(field: Tensor, scale: Tensor, exponent: float) -> Tensor:
    """(field / scale)^exponent for (K, B) and (B,); 0 where the field is, whatever the exponent."""
    # Divided, not multiplied by 1 / scale: that is infinite for a subnormal scale.
    powers = (field / torch.where(scale > 0, scale, torch.ones_like(scale))) ** exponent
    return powers if exponent > 0 else powers * (field > 0)
