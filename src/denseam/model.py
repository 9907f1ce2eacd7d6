"""DenseAM: the network of the paper as a PyTorch module, fast inside and checked at the edge."""

from typing import ClassVar

from torch import Tensor

from denseam import kernels
from denseam.classifier import Classifier, HeadName

__all__ = ["DenseAM"]


class DenseAM(Classifier):
    """A dense associative memory, DAM_n (Eqs. 2.1 and 2.2).

    Sizes: B images, N visible neurons, K memories, C classes. Images are ``visible``: (B, N) in
    [-1, 1], of the model's dtype and on its device.

    Args:
        n_visible: N, pixels of an image.
        n_classes: C.
        n_memories: K.
        power: n >= 1, of the rectified polynomial F_n. Whole numbers are fastest.
        temperature: T > 0; beta = 1 / T^n is derived from it. Decisions do not depend on it.
        seed: of the initial memories, normal with mean -0.3 and deviation 0.3, clipped to [-1, 1].
        dtype: float32 or float64.
        device: where the memories live.

    Raises:
        InputError: for sizes below 1, n < 1, T <= 0 or another dtype.
    """

    kind: ClassVar[str] = "dam"
    initial: ClassVar[tuple[float, float]] = (-0.3, 0.3)  # NIPS16, appendix A

    def energy_gap(self, visible: Tensor) -> Tensor:
        """(B, N) -> (B, C): beta (E_off - E_on), the argument of tanh in Eq. 2.1.

        Values beyond the range of the dtype are clamped to it.

        Raises:
            InputError: when ``visible`` is not (B, N) in [-1, 1] in the model's dtype.
        """
        return super().energy_gap(visible)

    def log_energy(self, visible: Tensor) -> Tensor:
        """(B, N) -> (B, C): log sum_mu F_n(on); the argmax of Y, but it never saturates.

        -inf where no memory is active.

        Raises:
            InputError: when ``visible`` is not (B, N) in [-1, 1] in the model's dtype.
        """
        return super().log_energy(visible)

    def predict(self, visible: Tensor) -> Tensor:
        """Labels, (B, N) -> (B,) int64: argmax of Y, decided before tanh can saturate.

        An image on which no memory is active for any class gets 0; its ``log_energy`` says so.

        Raises:
            InputError: when ``visible`` is not (B, N) in [-1, 1] in the model's dtype.
        """
        self._check(visible)
        return kernels.decide(visible, self.memories, self.power)

    def _scores(self, visible: Tensor, head: HeadName) -> Tensor:
        if head == "log_energy":
            return kernels.log_energy(visible, self.memories, self.power)
        return kernels.energy_gap(visible, self.memories, self.power, self.temperature)
