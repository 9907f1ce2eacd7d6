"""Looks of memories at a batch: overlaps, sums, scores, and gradients of scores.

Functions take tensors, an energy function F and a kernel, never a network. With s the
scale and E = -F(s) * values of a kernel's sums (``interface``),

    energy gap  g_c = F(s_c) / F(T) values_c - F(s_off) / F(T) values_off     (Eq. 2.1, in tanh)
    log-energy  L_c = log F(s_c) + log values_c

Sums and scores are (C + 1, B) or smaller, so their formulas are in float64; results beyond the
range of the model's dtype are clamped to it: overflow makes neither infinities nor NaN.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from denseam.energies import EnergyFunction
from denseam.kernels.interface import Kernel, Sums
from denseam.mesh import Axis
from denseam.precision import full_precision

# Gradients sum a coefficient over classes and over memories or images; these sums stay finite too.
_ROOM = 2.0**-40


# ---- from sums to scores, and from scores to coefficients ---------------------------------------


def energy_gap(
    sums: Sums, F: EnergyFunction, temperature: float, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Return the argument of tanh in Eq. 2.1, (B, C) float64, within the range of ``dtype``.

    If one would leave it, all classes of the image are scaled alike: the label stays.
    """
    relative, largest = _on_one_scale(sums, F)
    difference = relative[:-1] - relative[-1]
    room = torch.finfo(torch.float64).max / 2 / difference.abs().amax(dim=0).clamp(min=1)
    gap = difference * torch.minimum(F.ratio(largest, temperature), room)
    if dtype is not torch.float64:
        gap *= (torch.finfo(dtype).max / gap.abs().amax(dim=0)).clamp(max=1)
    return gap.T.contiguous()


def log_energy(sums: Sums, F: EnergyFunction) -> Tensor:
    """Return log sum_mu F(on), (B, C) float64; -inf where no memory is active."""
    values, scale = sums.values[:-1].double(), sums.scale.expand_as(sums.values)[:-1].double()
    return (F.log(scale) + F.log_sum(values)).T.contiguous()


def winners(sums: Sums, F: EnergyFunction) -> Tensor:
    """Return the class with the largest energy gap, (B,) int64, without ever forming the gap.

    The off term is left out: it decides nothing, and beside a large one all classes underflow.
    """
    if len(sums.scale) == 1:
        return sums.values[:-1].argmax(dim=0)
    return _on_one_scale(Sums(sums.values[:-1], sums.scale[:-1]), F)[0].argmax(dim=0)


def gap_coefficients(
    upstream: Tensor, scale: Tensor, F: EnergyFunction, temperature: float
) -> Tensor:
    """Return coefficients for ``Kernel.weights``: the gradient of sum(upstream * energy_gap).

    ``upstream`` (B, C), ``scale`` (C + 1, B) or (1, B) -> (C + 1, B).
    """
    gap = upstream.T.double()
    signed = torch.cat([gap, -gap.sum(dim=0, keepdim=True)])
    factor = F.pull(scale.double(), temperature)
    finite = torch.finfo(torch.float64).max
    coefficients = (signed * factor.clamp(max=finite)).clamp(-finite, finite)
    # Shrunk image by image, so that a gradient beyond the range keeps its direction.
    limit = _ROOM * torch.finfo(scale.dtype).max
    shrink = (limit / coefficients.abs().amax(dim=0)).clamp(max=1)
    return (coefficients * shrink).to(scale.dtype)


def log_coefficients(upstream: Tensor, sums: Sums, F: EnergyFunction) -> Tensor:
    """Return coefficients for ``Kernel.weights``: the gradient of sum(upstream * log_energy).

    ``upstream`` (B, C) -> (C + 1, B); 0 where no memory is active.
    """
    values, scale = sums.values.double(), sums.scale.double()
    padded = torch.nn.functional.pad(upstream.T.double(), (0, 0, 0, 1))
    share = torch.where(values > 0, F.pull(scale, scale) * padded / values, 0.0)
    limit = torch.finfo(sums.values.dtype).max
    return share.clamp(-limit, limit).to(sums.values.dtype)


def joined(sums: Sums, F: EnergyFunction, axis: Axis) -> Sums:
    """Return the sums over the memories of all processes, from those of this process.

    Each process has a scale of its own. With the largest of them, S,

        sums[c, b] = sum over processes p of  sums_p[c, b] F(scale_p[b]) / F(S[b])

    which is one maximum of B numbers and one sum of (C + 1) B, whatever K and N are.
    """
    if axis.size == 1:
        return sums
    scale = axis.largest(sums.scale.clone())
    ratio = F.ratio(sums.scale.double(), scale.double())
    return Sums(axis.add(sums.values.double() * ratio).to(sums.values.dtype), scale)


def _on_one_scale(sums: Sums, F: EnergyFunction) -> tuple[Tensor, Tensor]:
    """Return values on the largest scale of each image, (C + 1, B) float64, and that scale (B,)."""
    scale = sums.scale.double()
    if len(scale) == 1:
        return sums.values.double(), scale[0]
    largest = scale.amax(dim=0)
    return sums.values.double() * F.ratio(scale, largest), largest


# ---- a look, and its way back -------------------------------------------------------------------


@dataclass(frozen=True)
class Look:
    """A look of memories at a batch: overlaps and sums, with scores and gradients from them."""

    kernel: Kernel
    F: EnergyFunction
    overlaps: Tensor  # (K, B)
    class_memories: Tensor  # (K, C)
    sums: Sums

    @property
    def active(self) -> Tensor:
        """True for each image (B,) where some memory has an energy for some class."""
        return self.F.active(self.sums.scale.amax(dim=0))

    def energy_gap(self, temperature: float) -> Tensor:
        """Return (B, C) float64, see ``energy_gap``."""
        return energy_gap(self.sums, self.F, temperature)

    def log_energy(self) -> Tensor:
        """Return (B, C) float64, see ``log_energy``."""
        return log_energy(self.sums, self.F)

    def labels(self) -> Tensor:
        """Return (B,) int64, see ``winners``."""
        return winners(self.sums, self.F)

    def gradients(
        self, coefficients: Tensor, *, class_gradient: bool = True, out: Tensor | None = None
    ) -> "Gradients":
        """Return gradients for ``coefficients`` (C + 1, B); ``out`` as for ``Kernel.weights``."""
        weights, to_classes = self.kernel.weights(
            self.overlaps, self.class_memories, coefficients, self.sums.scale, self.F,
            class_gradient=class_gradient, out=out,
        )  # fmt: skip
        return Gradients(self.kernel, weights, to_classes, self.class_memories.shape[1])


def look_at(
    kernel: Kernel,
    F: EnergyFunction,
    visible: Tensor,  # (B, N), or (B, N + C) with class neurons at 0
    memories: Tensor,  # (K, N or more)
    class_memories: Tensor,  # (K, C)
    *,
    every_class: bool,
    axis: Axis | None = None,
) -> Look:
    """Return a look at a batch; with an ``axis``, the sums are over all its processes."""
    with full_precision(visible):
        overlaps = kernel.overlaps(visible, memories)
        sums = kernel.sums(overlaps, class_memories, F, every_class=every_class)
    sums = sums if axis is None else joined(sums, F, axis)
    return Look(kernel, F, overlaps, class_memories, sums)


@dataclass(frozen=True)
class Gradients:
    """Gradients of sum(coefficients * sums) by memories and images; each is one matrix product."""

    kernel: Kernel
    weights: Tensor  # (K, B)
    to_classes: Tensor | None  # (K, C); None without ``class_gradient``
    n_classes: int

    def to_memories(self, visible: Tensor) -> Tensor:
        """Return the gradient by memories, (B, N) -> (K, N + C)."""
        with full_precision(visible):
            gradient = self.kernel.to_memories(self.weights, visible)
        return torch.cat([gradient, self._classes()], dim=1)

    def to_whole_memories(self, neurons: Tensor) -> Tensor:
        """Return the same for neurons (B, N + C), 0 in class neurons; copies nothing."""
        with full_precision(neurons):
            gradient = self.kernel.to_memories(self.weights, neurons)
        gradient[:, -self.n_classes :] = self._classes()
        return gradient

    def to_images(self, visible_memories: Tensor) -> Tensor:
        """Return the gradient by images, (K, N) -> (B, N)."""
        with full_precision(visible_memories):
            return self.kernel.to_images(self.weights, visible_memories)

    def to_images_of_whole(self, memories: Tensor) -> Tensor:
        """Return the same for whole memories (K, N + C), not copied where that would be slow."""
        n_visible = memories.shape[1] - self.n_classes
        if not self.kernel.copies_rows:
            return self.to_images(memories[:, :n_visible].contiguous())
        return self.to_images(memories)[:, :n_visible].contiguous()

    def _classes(self) -> Tensor:
        if self.to_classes is None:
            raise RuntimeError("no memory gradient without class gradient")
        return self.to_classes
