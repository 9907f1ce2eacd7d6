"""Functions of the class scores to descend in pixel space, as weights on the scores.

The weights are the derivative of the function with respect to the scores, each row up to a positive
factor: how much each score of an image should fall.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from denseam.checks import number
from denseam.classifier import Classifier


class Goal(Protocol):
    """A function of the scores to descend."""

    def weights(self, scores: Tensor) -> Tensor:
        """Return the derivative (B, C) at scores (B, C), each row up to a positive factor."""
        ...

    def at(self, rows: Tensor) -> "Goal":
        """Return the goal of some of the images, by index or mask."""
        ...


def _log_distances(gap: Tensor, target: Tensor) -> Tensor:
    """Return log |Y - t| (B, C) from the energy gap: t is +1 at ``target`` (B,) and -1 elsewhere.

    1 - tanh g = 2 / (1 + e^2g) and 1 + tanh g = 2 / (1 + e^-2g): exact where tanh has saturated.
    """
    sign = torch.ones_like(gap).scatter_(1, target[:, None], -1.0)
    return math.log(2) - torch.nn.functional.softplus(-2 * sign * gap)


def log_objective(gap: Tensor, target: Tensor, loss_power: float) -> Tensor:
    """Return log C_alpha (B,), Eq. 3.1, from the energy gap (B, C) and the target classes (B,)."""
    return torch.logsumexp(2 * loss_power * _log_distances(gap, target), dim=1)


@dataclass(frozen=True)
class PaperObjective:
    """C_alpha of Eq. 3.1, on the energy gap: Y_alpha to +1, all others to -1."""

    target: Tensor  # (B,) int64: alpha
    loss_power: float  # m

    def weights(self, scores: Tensor) -> Tensor:
        """2m (Y - t)^(2m-1) (1 - Y^2), in logarithms until the row's largest is 1."""
        slope = 2 * (math.log(2) - scores.abs() - torch.nn.functional.softplus(-2 * scores.abs()))
        size = (2 * self.loss_power - 1) * _log_distances(scores, self.target) + slope
        size = (size - size.amax(dim=1, keepdim=True)).exp()
        return size.scatter(1, self.target[:, None], -size.gather(1, self.target[:, None]))

    def at(self, rows: Tensor) -> "PaperObjective":
        return PaperObjective(self.target[rows], self.loss_power)


@dataclass(frozen=True)
class Margin:
    """The score of one class minus that of another."""

    source: Tensor  # (B,) int64: to fall
    target: Tensor  # (B,) int64: to rise

    def weights(self, scores: Tensor) -> Tensor:
        weights = torch.zeros_like(scores)
        weights.scatter_(1, self.source[:, None], 1.0)
        return weights.scatter_(1, self.target[:, None], -1.0)

    def at(self, rows: Tensor) -> "Margin":
        return Margin(self.source[rows], self.target[rows])


@dataclass(frozen=True)
class CrossEntropy:
    """-log softmax(scores) at a class."""

    label: Tensor  # (B,) int64

    def weights(self, scores: Tensor) -> Tensor:
        """softmax - one-hot; the two signs are balanced, so no row underflows to zero."""
        others = scores.scatter(1, self.label[:, None], -math.inf)
        # The share of every other class among the others, against all of the label's: the common
        # factor 1 - p_label, which vanishes for confident images, is left out.
        return torch.softmax(others, dim=1).scatter_(1, self.label[:, None], -1.0)

    def at(self, rows: Tensor) -> "CrossEntropy":
        return CrossEntropy(self.label[rows])


def loss_power_of(model: nn.Module, loss_power: float | None) -> float:
    """Return m of the paper's objective: ``loss_power``, or by default the paper's for the model.

    That is 30 for networks of n >= 10, whose memories are prototypes, and 4 for all others.

    Raises:
        InputError: unless ``loss_power`` is a finite number >= 1, as in training.
    """
    if loss_power is None:
        return 30.0 if isinstance(model, Classifier) and model.power >= 10 else 4.0
    return number("loss_power", loss_power, least=1)
