"""The evidence on a batch of images: what a network says of them, and their pixels."""

from dataclasses import dataclass, fields
from functools import cache, cached_property

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from denseam.classifier import Classifier
from denseam.kernels import Kernel, choose, look_at
from denseam.kernels.cpu import CpuKernel
from denseam.model import DenseAM

__all__ = ["Evidence", "evidence", "gather", "independent", "label_scores"]

_CHUNK = 1024  # images at once, whose overlaps stay in the cache


@dataclass(frozen=True)
class Evidence:
    """The numbers about a batch that scores are functions of.

    Attributes:
        log_energy: (B, C) float64; -inf where no memory is active.
        energy_gap: (B, C) float64, the argument of tanh in Eq. 2.1.
        pixels: (B, 3) float64: mean, mean square, and mean squared step to a neighbour.
        distance: (B,) float64: L2, visible units, to the memory that has the largest term in the
            energy of the label; NaN where it was not asked for, and for networks without memories.
    """

    log_energy: Tensor
    energy_gap: Tensor
    pixels: Tensor
    distance: Tensor

    @cached_property
    def labels(self) -> Tensor:
        """The class with the largest log-energy, (B,) int64."""
        return self.log_energy.argmax(dim=1)

    @cached_property
    def active(self) -> Tensor:
        """Whether any memory is active for any class, (B,) bool."""
        return self.log_energy.detach().amax(dim=1) > -torch.inf

    def padded(self, multiple: int) -> "Evidence":
        """Pad with empty evidence to a multiple of ``multiple`` images.

        Logarithms round in one way in whole vectors and in another at their end.
        """
        missing = -len(self.log_energy) % multiple
        if not missing:
            return self
        columns = [getattr(self, field.name) for field in fields(self)]
        return Evidence(*(pad(c, (0, 0) * (c.ndim - 1) + (0, missing)) for c in columns))


def evidence(
    model: Classifier,
    visible: Tensor,
    shape: tuple[int, int] | None,
    *,
    slope: bool = False,
    distance: bool = True,
) -> Evidence:
    """Return the evidence on images (B, N) in [-1, 1], of the network's dtype and on its device.

    Args:
        model: any network of the package.
        visible: the images.
        shape: (H, W) of an image, for its neighbours; None for a row.
        slope: whether the evidence has gradients with respect to the images.
        distance: whether to measure it.
    """
    if slope or not isinstance(model, DenseAM):
        log_energy = model.exact_scores(visible)
        gap = model.scores(visible, "energy_gap").double()
        overlaps = None
    else:
        log_energy, gap, overlaps = _energies(model, visible)
    if distance and isinstance(model, DenseAM):
        seen = model.visible(visible)
        if overlaps is None:
            overlaps = model.visible_memories.detach() @ seen.detach().T
        far = _to_winner(model, seen, overlaps, log_energy.detach().argmax(dim=1))
    else:
        far = torch.full_like(gap[:, 0], torch.nan)
    return Evidence(log_energy, gap, _pixels(visible.double(), shape), far)


def label_scores(model: Classifier, visible: Tensor) -> Tensor:
    """Return scores (B, C) float64 that never saturate, as ``evidence`` has them: no gradients."""
    if isinstance(model, DenseAM):
        return _energies(model, visible)[0]
    return model.exact_scores(visible)


def independent(model: Classifier) -> bool:
    """Return whether the energies of an image depend on nothing else in its batch, to the bit.

    By the C kernels they depend on nothing else; of a front that is not known.
    """
    if not isinstance(model, DenseAM) or not isinstance(model.front, nn.Identity):
        return False
    return isinstance(_kernel(model), CpuKernel)


def gather(model: Classifier, visible: Tensor, shape: tuple[int, int] | None) -> Evidence:
    """Return the evidence on images (B, N), however many they are, on the CPU."""
    with torch.no_grad():
        parts = [
            evidence(model, part.to(model.memories), shape) for part in torch.split(visible, _CHUNK)
        ]
    columns = [[getattr(part, field.name).cpu() for part in parts] for field in fields(Evidence)]
    return Evidence(*(torch.cat(column) for column in columns))


def _energies(model: DenseAM, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return log-energy and energy gap, (B, C) float64, and overlaps (K, B); no gradients.

    By the kernels alone, which are loaded sooner than the operators of autograd.
    """
    with torch.no_grad():
        look = look_at(
            _kernel(model), model.energy, model.visible(visible), model.memories.detach(),
            model.class_memories.detach(), every_class=True,
        )  # fmt: skip
    return *look.kernel.energies(look.sums, look.F, model.temperature), look.overlaps


@cache
def _batch_invariant() -> CpuKernel:
    return CpuKernel("dots")


def _kernel(model: DenseAM) -> Kernel:
    """Return the usual kernel, on the CPU with the product that does not know of a batch."""
    kernel = choose(model.memories.device, model.memories.dtype, model.energy).kernel
    return _batch_invariant() if isinstance(kernel, CpuKernel) else kernel


def _pixels(visible: Tensor, shape: tuple[int, int] | None) -> Tensor:
    """Return mean, mean square and mean squared step to a neighbour, (B, 3), of (B, N) float64."""
    images = visible.reshape(len(visible), *(shape or (1, visible.shape[1])))
    down, right = images[:, 1:] - images[:, :-1], images[:, :, 1:] - images[:, :, :-1]
    steps = max(1, down[0].numel() + right[0].numel())
    rough = (down.square().sum(dim=(1, 2)) + right.square().sum(dim=(1, 2))) / steps
    return torch.stack([visible.mean(dim=1), visible.square().mean(dim=1), rough], dim=1)


def _to_winner(model: DenseAM, visible: Tensor, overlaps: Tensor, labels: Tensor) -> Tensor:
    """Return distances (B,) float64 to the memory with the largest field for each image's label."""
    classes = model.class_memories.detach()
    shifts = 2 * classes - classes.sum(dim=1, keepdim=True)
    winners = (overlaps + shifts[:, labels]).argmax(dim=0)
    distance: Tensor = (visible - model.visible_memories.detach()[winners]).double().norm(dim=1)
    return distance
