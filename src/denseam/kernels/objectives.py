"""Objectives of training: what a batch costs, and the way from its sums back to memories.

    paper          sum_c (Y_c - t_c)^(2m), the power m of Eq. 2.3; Y = tanh of the energy gap
    cross-entropy  -log softmax(s L)_y, of log-energies L and their scale s
    margin         max(0, LEAD - s (L_y - max_(c != y) L_c))

tanh saturates, and then an image that is wrong by far has no slope. Log-energies never
saturate, so the last two learn from attacked images too. Log-energies of classes differ by 0.003 to
0.2 in the models of the package: s makes nats of that. To add an objective: a subclass of
``Objective`` and its row in ``OBJECTIVES``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from denseam import energy
from denseam.checks import number
from denseam.energies import EnergyFunction
from denseam.kernels import look
from denseam.kernels.interface import Kernel, Outcome, Sums

LEAD = 8.0
"""Nats by which the right class leads in a calibrated classifier with an error of a few percent."""


class Objective(ABC):
    """What training makes small, summed over the images of a batch."""

    head: ClassVar[Literal["energy_gap", "log_energy"]]  # the scores it takes
    every_class: ClassVar[bool] = True  # each class's sum is exact, however small

    @abstractmethod
    def value(self, scores: Tensor, labels: Tensor) -> Tensor:
        """Return the objective of scores (B, C) float64 and labels (B,) int64, differentiable."""

    def coefficients(
        self, kernel: Kernel, sums: Sums, labels: Tensor, F: EnergyFunction, temperature: Any
    ) -> tuple[Tensor, Outcome]:
        """Return coefficients for ``Kernel.weights``, (C + 1, B), and the outcome of the batch."""
        scores = look.log_energy(sums, F).clamp(min=F.least_log)
        upstream, value = self.slope(scores, labels)
        activity = torch.tanh(look.energy_gap(sums, F, temperature))
        outcome = Outcome(activity, scores.argmax(dim=1), value)
        return look.log_coefficients(upstream, sums, F), outcome

    def slope(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient of ``value`` to the scores, (B, C), and the value."""
        with torch.enable_grad():
            leaves = scores.detach().requires_grad_()
            value = self.value(leaves, labels)
        return torch.autograd.grad(value, leaves)[0], value.detach()


@dataclass(frozen=True)
class Paper(Objective):
    """The objective of the paper (Eq. 2.3), with the power m of its differences."""

    loss_power: float  # m
    head = "energy_gap"
    every_class = False

    def value(self, scores: Tensor, labels: Tensor) -> Tensor:
        target = energy.targets(labels, scores.shape[1], torch.float64)
        return energy.objective(torch.tanh(scores), target, self.loss_power)

    def coefficients(
        self, kernel: Kernel, sums: Sums, labels: Tensor, F: EnergyFunction, temperature: Any
    ) -> tuple[Tensor, Outcome]:
        return kernel.objective(sums, labels, F, temperature, self.loss_power)


@dataclass(frozen=True)
class _Scaled(Objective):
    """An objective of log-energies times a scale."""

    scale: float  # s > 0
    head = "log_energy"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", number("logit_scale", self.scale, above=0))


@dataclass(frozen=True)
class CrossEntropy(_Scaled):
    """Cross-entropy of the softmax of log-energies times a scale."""

    def value(self, scores: Tensor, labels: Tensor) -> Tensor:
        right = one_hot(labels, scores.shape[1]).bool()
        return -log_softmax(self.scale * scores, dim=1)[right].sum()

    def slope(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        # In closed form: at the sizes of tables autograd takes a third of a step.
        logs, each = log_softmax(self.scale * scores, dim=1), labels[:, None]
        slope = logs.exp().scatter_add_(1, each, -torch.ones_like(logs))
        return self.scale * slope, -logs.gather(1, each).sum()


@dataclass(frozen=True)
class Margin(_Scaled):
    """The hinge of the lead of the right class, in nats."""

    def value(self, scores: Tensor, labels: Tensor) -> Tensor:
        right = one_hot(labels, scores.shape[1]).bool()
        best_other = scores.masked_fill(right, -torch.inf).amax(dim=1)
        return (LEAD - self.scale * (scores[right] - best_other)).clamp(min=0).sum()


@dataclass(frozen=True)
class Agreement(_Scaled):
    """Cross-entropy of clean images, and the divergence of attacked answers from clean ones.

        sum (1 - mix) H(y, p) + mix KL(p, p'),  p and p' of an image and of the same image attacked

    Zhang et al. (2019). A batch has images first, then the attacked ones in the same order.
    """

    mix: float = 0.5  # weight of the divergence

    def value(self, scores: Tensor, labels: Tensor) -> Tensor:
        half = len(scores) // 2
        answers = log_softmax(self.scale * scores, dim=1)
        clean, attacked = answers[:half], answers[half:]
        divergence = (clean.exp() * (clean - attacked)).sum()
        right = CrossEntropy(self.scale).value(scores[:half], labels[:half])
        total: Tensor = (1 - self.mix) * right + self.mix * divergence
        return total


OBJECTIVES: dict[str, Callable[[float, float], Objective]] = {
    "paper": lambda m, _: Paper(m),
    "cross-entropy": lambda _, scale: CrossEntropy(scale),
    "margin": lambda _, scale: Margin(scale),
}
"""Every objective by its name, of the power m and the scale s of a recipe."""
