"""A dense associative memory whose exponential keeps to the paper's power and temperature.

Demircigil et al. (arXiv 1702.01929) let the power go to infinity, F(x) = e^x; Ramsauer et al.
(arXiv 2008.02217) take the logarithm of that energy. Here it is the exponential that touches the
paper's polynomial where the field is T, so that n and T mean what they mean there:

    F(h) / F(T) = exp(n (h / T - 1))     (h / T)^n at h = T, and above it for all other h > 0
"""

from typing import Any, ClassVar

from denseam.classifier import Classifier, check_power
from denseam.energies import Exponential
from denseam.errors import InputError
from denseam.model import DenseAM

MOST_SHIFT = 20.0  # a class neuron multiplies what a memory adds by at most e^20 either way


class ExponentialAM(DenseAM):
    """A ``DenseAM`` with ``Exponential(n / T)``, which follows T when it is set.

    Nothing is rectified: every memory is active for every image.

    Args:
        n_visible: N.
        n_classes: C.
        n_memories: K.
        power: n >= 1, how steep the exponential is; at most 10 T.
        temperature: T > 0, the field at which one memory makes a gap of 1.
        options: ``front``, ``seed``, ``dtype`` and ``device``, as for ``DenseAM``.

    Raises:
        InputError: for sizes below 1, n < 1, T <= 0, n > 10 T, another seed or dtype.
    """

    kind: ClassVar[str] = "exponential"
    _words: ClassVar[tuple[str, str]] = ("exponential{n:g}", "exponential, n = {n:g}")

    def __init__(
        self,
        n_visible: int,
        n_classes: int,
        n_memories: int,
        power: float,
        temperature: float,
        **options: Any,
    ) -> None:
        Classifier.__init__(self, n_visible, n_classes, n_memories, power, temperature, **options)
        _ = self.energy

    @property
    def power(self) -> float:
        """The power n."""
        return self._power

    @property
    def energy(self) -> Exponential:
        """The energy function F at the current temperature."""
        if not 2 * self.power / self.temperature <= MOST_SHIFT:
            raise InputError(
                f"power = {self.power:g} at temperature = {self.temperature:g}: wanted n <= "
                f"{MOST_SHIFT / 2:g} T, beyond it class neurons alone decide"
            )
        return Exponential.matched(self.power, self.temperature)

    def settings(self) -> dict[str, Any]:
        return Classifier.settings(self)

    def extra_repr(self) -> str:
        return Classifier.extra_repr(self)

    def get_extra_state(self) -> dict[str, Any]:
        return Classifier.get_extra_state(self)

    def set_extra_state(self, state: Any) -> None:
        self._power, self.temperature = check_power(state["power"]), state["temperature"]
