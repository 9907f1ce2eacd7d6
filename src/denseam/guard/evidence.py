"""What a network, and the pixels themselves, say of a batch of images."""

from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from denseam.classifier import Classifier
from denseam.kernels import choose
from denseam.model import DenseAM

__all__ = ["Evidence", "energies", "evidence", "gather", "scores"]

_CHUNK = 1024  # images at once, whose overlaps stay in the cache


@dataclass(frozen=True)
class Evidence:
    """All that scores are made of.

    Attributes:
        log_energy: (B, C) float64; -inf where no memory is active.
        energy_gap: (B, C) float64, the argument of tanh in Eq. 2.1.
        pixels: (B, 3) float64: mean, mean square, and mean squared step to a neighbour.
        distance: (B,) float64: L2, visible units, to the memory that has the largest term in the
            energy of the label; NaN where nobody asked, and for networks without such an energy.
    """

    log_energy: Tensor
    energy_gap: Tensor
    pixels: Tensor
    distance: Tensor

    @cached_property
    def labels(self) -> Tensor:
        """(B,) int64."""
        return self.log_energy.argmax(dim=1)

    @cached_property
    def active(self) -> Tensor:
        """(B,) bool: whether any memory is active for any class."""
        return self.log_energy.detach().amax(dim=1) > -torch.inf

    def filled(self, multiple: int) -> "Evidence":
        """With images behind that nothing is known of, until they are a multiple of so many."""
        missing = -len(self.log_energy) % multiple
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
    """What is to be said of images (B, N) in [-1, 1], of the network's dtype and on its device.

    Args:
        model: any network of the package.
        visible: the images.
        shape: (H, W) of an image, for its neighbours; None for a row.
        slope: whether the results are to have gradients with respect to the images.
        distance: whether the nearest memory is asked for.
    """
    if slope or not isinstance(model, DenseAM):
        log_energy = model.exact_scores(visible)
        gap = model.scores(visible, "energy_gap").double()
        overlaps = None
    else:
        log_energy, gap, overlaps = energies(model, visible)
    if distance and isinstance(model, DenseAM):
        if overlaps is None:
            overlaps = model.visible_memories.detach() @ visible.detach().T
        far = _to_winner(model, visible, overlaps, log_energy.detach().argmax(dim=1))
    else:
        far = torch.full_like(gap[:, 0], torch.nan)
    return Evidence(log_energy, gap, _pixels(visible.double(), shape), far)


def scores(model: Classifier, visible: Tensor) -> Tensor:
    """(B, N) -> (B, C) float64: those that never saturate, without gradients; as ``evidence``."""
    return (
        energies(model, visible)[0] if isinstance(model, DenseAM) else model.exact_scores(visible)
    )


def gather(model: Classifier, visible: Tensor, shape: tuple[int, int] | None) -> Evidence:
    """The same of images (B, N) on the CPU, however many they are."""
    with torch.no_grad():
        parts = [
            evidence(model, part.to(model.memories), shape) for part in torch.split(visible, _CHUNK)
        ]
    columns = [[getattr(part, field.name).cpu() for part in parts] for field in fields(Evidence)]
    return Evidence(*(torch.cat(column) for column in columns))


def energies(model: DenseAM, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-energy and energy gap, (B, C), and overlaps, (K, B): the kernels alone, ready at once."""
    kernel = choose(model.memories.device, model.memories.dtype).kernel
    overlaps = kernel.overlaps(visible, model.memories)
    sums = kernel.sums(overlaps, model.class_memories, model.power, every_class=True)
    return *kernel.energies(sums, model.power, model.temperature), overlaps


def _pixels(visible: Tensor, shape: tuple[int, int] | None) -> Tensor:
    """(B, N) float64 -> (B, 3)."""
    images = visible.reshape(len(visible), *(shape or (1, visible.shape[1])))
    down, right = images[:, 1:] - images[:, :-1], images[:, :, 1:] - images[:, :, :-1]
    steps = max(1, down[0].numel() + right[0].numel())
    rough = (down.square().sum(dim=(1, 2)) + right.square().sum(dim=(1, 2))) / steps
    return torch.stack([visible.mean(dim=1), visible.square().mean(dim=1), rough], dim=1)


def _to_winner(model: DenseAM, visible: Tensor, overlaps: Tensor, labels: Tensor) -> Tensor:
    """(B,) float64: to the memory with the largest field for each image's label."""
    classes = model.class_memories.detach()
    shifts = 2 * classes - classes.sum(dim=1, keepdim=True)
    winners = (overlaps + shifts[:, labels]).argmax(dim=0)
    distance: Tensor = (visible - model.visible_memories.detach()[winners]).double().norm(dim=1)
    return distance
