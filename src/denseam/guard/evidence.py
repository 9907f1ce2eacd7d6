"""The evidence on a batch of images: what a network says of them, and their pixels."""

from dataclasses import dataclass, fields
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from denseam.classifier import Classifier

_CHUNK = 1024  # images at once, whose overlaps stay in the cache


@dataclass(frozen=True)
class Evidence:
    """The numbers about a batch that scores are functions of.

    Attributes:
        log_energy: (B, C) float64; -inf where no memory is active.
        energy_gap: (B, C) float64, the argument of tanh in Eq. 2.1.
        pixels: (B, 3) float64: mean, mean square, and mean squared step to a neighbour.
        distance: (B,) float64: L2, visible units, to the memory that has the largest term in the
            energy of the label; NaN where it was not asked for, and for networks without an energy.
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
    if slope:
        log_energy, gap = model.exact_scores(visible), model.scores(visible, "energy_gap").double()
        overlaps = None
    else:
        log_energy, gap, overlaps = model.energies(visible)
    if distance and model.has_energy:
        far = model.winner_distances(visible, log_energy.detach().argmax(dim=1), overlaps)
    else:
        far = torch.full_like(gap[:, 0], torch.nan)
    return Evidence(log_energy, gap, _pixels(visible.double(), shape), far)


def gather(model: Classifier, visible: Tensor, shape: tuple[int, int] | None) -> Evidence:
    """Return the evidence on images (B, N), however many they are, on the CPU."""
    with torch.no_grad():
        parts = [
            evidence(model, part.to(model.memories), shape) for part in torch.split(visible, _CHUNK)
        ]
    columns = [[getattr(part, field.name).cpu() for part in parts] for field in fields(Evidence)]
    return Evidence(*(torch.cat(column) for column in columns))


def _pixels(visible: Tensor, shape: tuple[int, int] | None) -> Tensor:
    """Return mean, mean square and mean squared step to a neighbour, (B, 3), of (B, N) float64."""
    images = visible.reshape(len(visible), *(shape or (1, visible.shape[1])))
    down, right = images[:, 1:] - images[:, :-1], images[:, :, 1:] - images[:, :, :-1]
    steps = max(1, down[0].numel() + right[0].numel())
    rough = (down.square().sum(dim=(1, 2)) + right.square().sum(dim=(1, 2))) / steps
    return torch.stack([visible.mean(dim=1), visible.square().mean(dim=1), rough], dim=1)
