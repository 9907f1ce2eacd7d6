"""From a kernel's sums to the paper's quantities and back: the formulas that all back ends share.

With s the scale, n the power, and E = -s^n * values in units of the fields:

    energy gap  g_c = (s_c / T)^n values_c - (s_off / T)^n values_off      argument of tanh, Eq. 2.1
    log-energy  L_c = n log s_c + log values_c

Everything here is (C + 1, B) or smaller, so it is done in float64; results beyond the range of the
model's dtype are clamped to it, never infinite by overflow and never NaN.
"""

import torch
from torch import Tensor

from denseam.kernels.interface import Kernel, Sums

__all__ = [
    "Gradients",
    "decide",
    "energy_gap",
    "exact_energy_gap",
    "exact_log_energy",
    "gap_coefficients",
    "log_coefficients",
    "log_energy",
]


# Gradients sum a coefficient over classes and over memories or images; these sums stay finite too.
_ROOM = 2.0**-40


def _fit(x: Tensor, dtype: torch.dtype) -> Tensor:
    limit = torch.finfo(dtype).max
    return x.clamp(-limit, limit).to(dtype)


def _relative(sums: Sums, power: float) -> tuple[Tensor, Tensor]:
    """Sums on their largest scale of each image, in float64, and that scale, (B,)."""
    scale = sums.scale.double()
    if len(scale) == 1:
        return sums.values.double(), scale[0]
    largest = scale.amax(dim=0)
    ratio = torch.where(largest > 0, scale / largest, 0.0)
    return sums.values.double() * ratio**power, largest


def energy_gap(sums: Sums, power: float, temperature: float) -> Tensor:
    """(B, C): the argument of tanh in Eq. 2.1."""
    return _fit(exact_energy_gap(sums, power, temperature), sums.values.dtype)


def exact_energy_gap(sums: Sums, power: float, temperature: float) -> Tensor:
    """(B, C) float64: the energy gap before it has to fit the range of the model's dtype."""
    relative, largest = _relative(sums, power)
    difference = relative[:-1] - relative[-1]
    factor = ((largest / temperature) ** power).clamp(max=torch.finfo(torch.float64).max)
    return (difference * factor).T.contiguous()


def log_energy(sums: Sums, power: float) -> Tensor:
    """(B, C): log sum_mu F_n(on); -inf where no memory is active."""
    return exact_log_energy(sums, power).to(sums.values.dtype)


def exact_log_energy(sums: Sums, power: float) -> Tensor:
    """(B, C) float64: the log-energy without the last rounding."""
    values, scale = sums.values[:-1].double(), sums.scale.expand_as(sums.values)[:-1].double()
    return (power * scale.log() + values.log()).T.contiguous()


def decide(sums: Sums, power: float) -> Tensor:
    """(B,) int64: the class with the largest energy gap, without ever forming the gap.

    The off term is left out: it decides nothing, and beside a large one all classes underflow.
    """
    if len(sums.scale) == 1:
        return sums.values[:-1].argmax(dim=0)
    return _relative(Sums(sums.values[:-1], sums.scale[:-1]), power)[0].argmax(dim=0)


def gap_coefficients(upstream: Tensor, scale: Tensor, power: float, temperature: float) -> Tensor:
    """What ``Kernel.weights`` needs for the gradient of sum(upstream * energy_gap).

    ``upstream`` (B, C), ``scale`` (C + 1, B) or (1, B) -> (C + 1, B), for the exponent n - 1.
    """
    gap = upstream.T.double()
    signed = torch.cat([gap, -gap.sum(dim=0, keepdim=True)])
    factor = (power / temperature) * (scale.double() / temperature) ** (power - 1)
    finite = torch.finfo(torch.float64).max
    coefficients = (signed * factor.clamp(max=finite)).clamp(-finite, finite)
    # Shrunk image by image, so that a gradient beyond the range keeps its direction.
    limit = _ROOM * torch.finfo(scale.dtype).max
    shrink = (limit / coefficients.abs().amax(dim=0)).clamp(max=1)
    return (coefficients * shrink).to(scale.dtype)


def log_coefficients(upstream: Tensor, sums: Sums, power: float) -> Tensor:
    """What ``Kernel.weights`` needs for the gradient of sum(upstream * log_energy).

    ``upstream`` (B, C) -> (C + 1, B), for the exponent n - 1; 0 where no memory is active.
    """
    total = sums.values.double() * sums.scale.double()
    padded = torch.nn.functional.pad(upstream.T.double(), (0, 0, 0, 1))
    share = torch.where(total > 0, power * padded / total, 0.0)
    return _fit(share, sums.values.dtype)


class Gradients:
    """Gradients of sum(coefficients * powers) with respect to memories and images.

    Holds the weights of one backward pass; each of its methods is one matrix product.
    """

    def __init__(
        self,
        kernel: Kernel,
        overlaps: Tensor,  # (K, B)
        class_memories: Tensor,  # (K, C)
        coefficients: Tensor,  # (C + 1, B)
        scale: Tensor,  # (C + 1, B)
        power: float,
        *,
        class_gradient: bool = True,
        out: Tensor | None = None,  # (K, B), may be overlaps
    ) -> None:
        self._kernel, self._n_classes = kernel, class_memories.shape[1]
        self.weights, self._to_classes = kernel.weights(
            overlaps, class_memories, coefficients, scale, power - 1,
            class_gradient=class_gradient, out=out,
        )  # fmt: skip

    @property
    def _classes(self) -> Tensor:
        if self._to_classes is None:
            raise RuntimeError("asked for a memory gradient of a pass without class gradient")
        return self._to_classes

    def to_memories(self, visible: Tensor) -> Tensor:
        """(B, N) -> (K, N + C)."""
        return torch.cat([self._kernel.to_memories(self.weights, visible), self._classes], dim=1)

    def to_whole_memories(self, neurons: Tensor) -> Tensor:
        """(B, N + C), 0 in the class neurons -> (K, N + C): without a copy of the product."""
        gradient = self._kernel.to_memories(self.weights, neurons)
        gradient[:, -self._classes.shape[1] :] = self._classes
        return gradient

    def to_images(self, visible_memories: Tensor) -> Tensor:
        """(K, N) -> (B, N)."""
        return self._kernel.to_images(self.weights, visible_memories)

    def to_images_of_whole(self, memories: Tensor) -> Tensor:
        """(K, N + C) -> (B, N), without a copy of the memories."""
        n_visible = memories.shape[1] - self._n_classes
        if memories.device.type != "cpu":
            return self.to_images(memories[:, :n_visible].contiguous())
        neurons = self._kernel.to_images(self.weights, memories)
        return neurons[:, :n_visible].contiguous()
