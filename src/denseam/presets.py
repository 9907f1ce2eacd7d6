"""Presets: training values that suit a network, by its power and the number of epochs.

Each network lists its own (``Classifier.presets``); ``Recipe.paper`` makes a recipe of them.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple, Self

__all__ = ["PAPER_EPOCHS", "Preset", "preset_at"]

PAPER_EPOCHS = 3000
PAPER_DECAY = 0.998
PAPER_RAMP = 200
SHORT_EPOCHS = 300
SHORTEST_EPOCHS = 20
# A very short run has to cover the same distance in fewer steps: over 20 epochs, at any power.
SHORTEST_RATE, SHORTEST_LAST_STEP = 0.04, 0.25


class Preset(NamedTuple):
    """Training values at one power, for images of 784 pixels and 300 epochs."""

    loss_power: float  # m
    temperature_start: float  # T_i
    temperature: float  # T_f
    ramp: float  # fraction of the epochs in which T goes from T_i to T_f, at most 200 epochs
    learning_rate: float  # eps_0
    last_step: float  # eps after the last epoch, as a fraction of eps_0
    longest_rate: float | None = None  # eps_0 of 3000 epochs; None: steps are those of 300 epochs

    def over(self, epochs: int) -> Self:
        """Return the preset for another number of epochs: other ``learning_rate``, ``last_step``.

        Both are interpolated in log epochs between 20, 300 and 3000 epochs, where the last step is
        that of the paper's decay.
        """
        if self.longest_rate is None:
            return self
        last = math.log(self.last_step)
        if epochs >= SHORT_EPOCHS:
            span = min(epochs, PAPER_EPOCHS), SHORT_EPOCHS, PAPER_EPOCHS
            first = _between(*span, self.learning_rate, self.longest_rate)
            last = _between(*span, last, PAPER_EPOCHS * math.log(PAPER_DECAY))
        else:
            span = max(epochs, SHORTEST_EPOCHS), SHORTEST_EPOCHS, SHORT_EPOCHS
            first = _between(*span, SHORTEST_RATE, self.learning_rate)
            last = _between(*span, math.log(SHORTEST_LAST_STEP), last)
        return self._replace(learning_rate=first, last_step=math.exp(last))

    def ramp_epochs(self, epochs: int) -> int:
        """Return the length of the temperature ramp in epochs; 0 where T is constant."""
        constant = self.temperature_start == self.temperature
        return 0 if constant else min(PAPER_RAMP, round(epochs * self.ramp))


def preset_at(presets: Mapping[float, Preset], power: float) -> Preset:
    """Return the preset of a power: linear in log n between those listed, constant outside."""
    nearest = min(max(power, min(presets)), max(presets))
    upper = min(n for n in presets if n >= nearest)
    lower = max(n for n in presets if n <= nearest)
    if lower == upper:
        return presets[lower]
    pairs = zip(presets[lower], presets[upper], strict=True)
    return Preset(*(_between(nearest, lower, upper, low or 0, high or 0) for low, high in pairs))


def _between(x: float, low_x: float, high_x: float, low: float, high: float) -> float:
    """Interpolate linearly in log x, from low at low_x to high at high_x."""
    return low + math.log(x / low_x) / math.log(high_x / low_x) * (high - low)
