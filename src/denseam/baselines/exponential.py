"""A dense associative memory with another energy function: the exponential.

Demircigil et al. (arXiv 1702.01929) let the power go to infinity, F(x) = e^x; Ramsauer et al.
(arXiv 2008.02217) take the logarithm of that energy. Here it is the exponential that touches the
paper's polynomial where the field is T, so that n and T mean what they mean there:

    F(h) = exp(n (h / T - 1))            (h / T)^n at h = T, and above it for all other h > 0
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from denseam.baselines.networks import ROOM
from denseam.classifier import Classifier, HeadName
from denseam.errors import InputError
from denseam.model import DenseAM
from denseam.presets import Preset

__all__ = ["ExponentialAM"]

MOST_SHIFT = 20.0  # a class neuron multiplies what a memory adds by at most e^20 either way


class ExponentialAM(Classifier):
    """A dense associative memory whose energy is a sum of exponentials, E = -sum_mu F(h_mu).

    With the fields of the paper, on_c = off + 2 xi_c, the sum over memories is a matrix product:

        energy gap  g_c = sum_mu F(off_mu) (exp(s xi_c^mu) - 1)       s = 2 n / T
        log-energy  L_c = log sum_mu F(off_mu) exp(s xi_c^mu)

    Nothing is rectified: every memory is active for every image. The gap is bounded where it would
    leave the range of the dtype, and the label is what it was.

    Args:
        n_visible: N.
        n_classes: C.
        n_memories: K.
        power: n >= 1, how steep the exponential is; at most 10 T.
        temperature: T > 0, the field at which F is 1.
        seed, dtype, device: as for ``DenseAM``.

    Raises:
        InputError: for sizes below 1, n < 1, T <= 0, n > 10 T, another seed or dtype.
    """

    kind: ClassVar[str] = "exponential"
    initial: ClassVar[tuple[float, float]] = (-0.3, 0.3)  # as for DenseAM
    presets: ClassVar[Mapping[float, Preset]] = DenseAM.presets

    def __init__(
        self,
        n_visible: int,
        n_classes: int,
        n_memories: int,
        power: float,
        temperature: float,
        *,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            n_visible, n_classes, n_memories, power, temperature,
            seed=seed, dtype=dtype, device=device,
        )  # fmt: skip
        self._shift()

    def _shift(self) -> float:
        """s, by which a class neuron shifts the exponent; T may have been set since."""
        shift = 2 * self.power / self.temperature
        if not shift <= MOST_SHIFT:
            raise InputError(
                f"power = {self.power:g} at temperature = {self.temperature:g}: wanted n <= "
                f"{MOST_SHIFT / 2:g} T, beyond it class neurons alone decide"
            )
        return shift

    def predict(self, visible: Tensor) -> Tensor:
        """Labels, (B, N) -> (B,) int64: argmax of Y, decided before anything can saturate.

        Raises:
            InputError: when ``visible`` is not (B, N) in [-1, 1] in the model's dtype.
        """
        self._check(visible)
        with torch.no_grad():
            _, shares, shift = self._parts(visible)
            return (shares @ shift.exp()).argmax(dim=1)

    def exact_scores(self, visible: Tensor) -> Tensor:
        """(B, N) -> (B, C) float64: log-energies before they are rounded to the model's dtype."""
        top, shares, shift = self._parts(visible)
        finite = visible.detach().isfinite().all(dim=1, keepdim=True)
        logs = torch.log(shares @ shift.exp())
        return torch.where(finite, top.double() + logs.double(), torch.nan)

    def _scores(self, visible: Tensor, head: HeadName) -> Tensor:
        top, shares, shift = self._parts(visible)
        if head == "log_energy":
            return top + torch.log(shares @ shift.exp())
        most = math.log(ROOM * torch.finfo(visible.dtype).max)
        return torch.exp(top.clamp(max=most)) * (shares @ shift.expm1())

    def _parts(self, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """log F of an image's largest term (B, 1), all F in units of it (B, K), s xi_c (K, C)."""
        classes, largest = self.class_memories, torch.finfo(visible.dtype).max
        off = visible @ self.visible_memories.T - classes.sum(dim=1)
        logs = (self.power * (off / self.temperature - 1)).clamp(-largest, largest)
        top = logs.detach().amax(dim=1, keepdim=True)  # common to all classes: it decides nothing
        return top, torch.exp(logs - top), self._shift() * classes
