"""The usual optimiser of a run: of a front that learns, and of networks without the max-norm rule.

AdamW (Loshchilov and Hutter 2019) with a short warm-up, then a cosine that ends at 0 with the run.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from denseam import fronts
from denseam.classifier import Classifier
from denseam.mesh import Axis
from denseam.training.recipe import Recipe

__all__ = ["Usual"]

_WARM_UP = 50  # steps
_DECAY = 1e-4  # of weights


class Usual:
    """The steps of AdamW on what a network learns by it; of most networks, nothing.

    Args:
        model: of the run.
        recipe: of the run.
        batches: of an epoch.

    Attributes:
        learned: what changes, by its name in a checkpoint. ``memories`` are not among them: a
            learner holds these in any case.
    """

    def __init__(self, model: Classifier, recipe: Recipe, batches: int) -> None:
        named = dict(model.front.named_parameters()) if fronts.learns(model.front) else {}
        self._named = {f"front.{name}": parameter for name, parameter in named.items()}
        self._rate, self._steps = recipe.front_rate, max(1, recipe.epochs * batches)
        every = dict(self._named) | ({} if model.by_max_norm else {"memories": model.memories})
        self._moments: dict[str, Tensor] = {}
        self._optimiser: torch.optim.AdamW | None = None
        if not every:
            return
        self._optimiser = torch.optim.AdamW(every.values(), lr=self._rate, weight_decay=_DECAY)
        for name, parameter in every.items():
            state = self._optimiser.state[parameter]
            state["step"] = torch.tensor(0.0)  # follows from the epoch: not in a checkpoint
            for moment in ("exp_avg", "exp_avg_sq"):
                state[moment] = torch.zeros_like(parameter)
                self._moments[f"{name}.{moment}"] = state[moment]

    @property
    def learned(self) -> dict[str, Tensor]:
        return {name: parameter.data for name, parameter in self._named.items()}

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint needs beside memories and velocity."""
        return {**self.learned, **self._moments}

    def show(self, tensors: Mapping[str, Tensor]) -> None:
        """Let the front have other tensors, by the names of ``learned``."""
        for name, parameter in self._named.items():
            parameter.data = tensors[name]

    def step(self, number: int, factor: float, axis: Axis) -> None:
        """Take a step by the gradients that were passed back, summed over processes.

        Args:
            number: of the step, from 0 over all epochs.
            factor: of its length.
            axis: the processes that share the images.
        """
        if self._optimiser is None:
            return
        cosine = 0.5 + 0.5 * math.cos(math.pi * number / self._steps)
        (group,) = self._optimiser.param_groups
        group["lr"] = self._rate * factor * cosine * min(1.0, (number + 1) / _WARM_UP)
        for parameter in group["params"]:
            self._optimiser.state[parameter]["step"].fill_(number)
        for parameter in self._named.values():
            if parameter.grad is not None:
                axis.add(parameter.grad)
        self._optimiser.step()
        self._optimiser.zero_grad()
