"""Sums over the batches of an epoch."""

from typing import Any

import torch
from torch import Tensor

from denseam.mesh import Axis

__all__ = ["Tally"]

# |Y| this close to 1 leaves tanh without slope in float32.
_SATURATED = 1e-6


class Tally:
    """Sums on the device, read when the epoch ends, so that no batch waits for a number."""

    def __init__(self, n_classes: int, device: torch.device) -> None:
        self._wrong = torch.zeros(n_classes, dtype=torch.float64, device=device)
        self._count = torch.zeros(n_classes, dtype=torch.float64, device=device)
        self._objective = torch.zeros((), dtype=torch.float64, device=device)
        self._saturated = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, activity: Tensor, predicted: Tensor, labels: Tensor, objective: Tensor) -> None:
        wrong = (predicted != labels).double()
        self._wrong.index_add_(0, labels, wrong)
        self._count.index_add_(0, labels, torch.ones_like(wrong))
        self._objective += objective
        self._saturated += (activity.abs() > 1 - _SATURATED).sum()

    def summary(self, axis: Axis) -> dict[str, Any]:
        """Return the fields of an ``EpochRecord`` from sums over all processes of the axis."""
        for sums in (self._wrong, self._count, self._objective, self._saturated):
            axis.add(sums)
        images, n_classes = float(self._count.sum()), len(self._count)
        return {
            "train_error": float(self._wrong.sum()) / images,
            "class_errors": tuple((self._wrong / self._count).tolist()),
            "objective": float(self._objective) / images,
            "saturated": float(self._saturated) / (images * n_classes),
        }
