"""What a network, and the pixels themselves, say of a batch of images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from denseam.classifier import Classifier
from denseam.kernels import choose, energies
from denseam.model import DenseAM

__all__ = ["BLOCK", "Evidence", "by_blocks", "evidence", "gather"]

BLOCK = 64
"""Images that a network sees at once. Products of matrices of another shape round differently, by
5e-6 of a log-energy: whether an image is junk would depend on the company it comes in."""


@dataclass(frozen=True)
class Evidence:
    """All that scores are made of.

    Attributes:
        log_energy: (B, C) float64; -inf where no memory is active.
        energy_gap: (B, C) float64, the argument of tanh in Eq. 2.1.
        pixels: (B, 3) float64: mean, mean square, and mean squared step to a neighbour.
        distance: (B,) float64: L2, visible units, to the memory that has the largest term in the
            energy of the label; NaN for networks that have no such energy.
    """

    log_energy: Tensor
    energy_gap: Tensor
    pixels: Tensor
    distance: Tensor

    @property
    def labels(self) -> Tensor:
        """(B,) int64."""
        return self.log_energy.argmax(dim=1)

    @property
    def active(self) -> Tensor:
        """(B,) bool: whether any memory is active for any class."""
        return self.log_energy.detach().amax(dim=1) > -torch.inf


def evidence(
    model: Classifier, visible: Tensor, shape: tuple[int, int] | None, *, slope: bool = False
) -> Evidence:
    """What is to be said of images (B, N) in [-1, 1], of the network's dtype and on its device.

    Args:
        model: any network of the package.
        visible: the images.
        shape: (H, W) of an image, for its neighbours; None for a row.
        slope: whether the results are to have gradients with respect to the images.
    """
    statistics = _pixels(visible.double(), shape)
    if not isinstance(model, DenseAM):
        log_energy = model.exact_scores(visible)
        gap = model.scores(visible, "energy_gap").double()
        return Evidence(log_energy, gap, statistics, torch.full_like(gap[:, 0], torch.nan))
    if slope:
        log_energy = model.exact_scores(visible)
        gap = model.scores(visible, "energy_gap").double()
        overlaps = model.visible_memories.detach() @ visible.detach().T
    else:
        kernel = choose(model.memories.device, model.memories.dtype).kernel
        overlaps = kernel.overlaps(visible, model.visible_memories.contiguous())
        sums = kernel.sums(overlaps, model.class_memories, model.power, every_class=True)
        log_energy = energies.exact_log_energy(sums, model.power)
        gap = energies.exact_energy_gap(sums, model.power, model.temperature)
    distance = _to_winner(model, visible, overlaps, log_energy.detach().argmax(dim=1))
    return Evidence(log_energy, gap, statistics, distance)


def gather(model: Classifier, visible: Tensor, shape: tuple[int, int] | None) -> Evidence:
    """The same of images (B, N) on the CPU, each as it is whatever it comes with."""
    own = model.memories

    def ask(block: Tensor) -> tuple[Tensor, ...]:
        found = evidence(model, block.to(own), shape)
        return tuple(
            each.cpu()
            for each in (found.log_energy, found.energy_gap, found.pixels, found.distance)
        )

    with torch.no_grad():
        return Evidence(*by_blocks(ask, visible))


def by_blocks(
    ask: Callable[[Tensor], tuple[Tensor, ...]], visible: Tensor, block: int = BLOCK
) -> tuple[Tensor, ...]:
    """Ask about (B, N) images ``block`` at a time, the last ones filled up with black images."""
    count, n_visible = visible.shape
    missing = -count % block or (0 if count else block)
    filled = torch.cat([visible, visible.new_full((missing, n_visible), -1.0)])
    columns = zip(*(ask(part) for part in torch.split(filled, block)), strict=True)
    return tuple(torch.cat(column)[:count] for column in columns)


def _pixels(visible: Tensor, shape: tuple[int, int] | None) -> Tensor:
    """(B, N) float64 -> (B, 3)."""
    images = visible.reshape(len(visible), *(shape or (1, visible.shape[1])))
    down, right = images.diff(dim=1), images.diff(dim=2)
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
