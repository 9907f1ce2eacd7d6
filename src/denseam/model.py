"""DenseAM: the network of the paper as a PyTorch module, fast inside and checked at the edge."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from denseam import kernels
from denseam.classifier import Classifier, HeadName
from denseam.errors import InputError
from denseam.explanation import Explanation, Order, explain
from denseam.presets import Preset

__all__ = ["DenseAM"]


class DenseAM(Classifier):
    """A dense associative memory, DAM_n (Eqs. 2.1 and 2.2).

    Sizes: B images, N visible neurons, K memories, C classes. Images are ``visible``: (B, N) in
    [-1, 1], of the model's dtype and on its device. For an image v, with component i of memory mu
    as xi_i^mu and its vote for class c as xi_c^mu,

        off^mu  = sum_i xi_i^mu v_i - sum_c xi_c^mu       the field with all class neurons at -1
        on_c^mu = off^mu + 2 xi_c^mu                      the field with neuron c at +1
        E = -sum_mu F_n(field^mu),   F_n(x) = x^n for x >= 0, else 0                  (Eq. 2.2)
        Y_c = tanh(beta (E_off - E_on_c)),   beta = 1 / T^n                           (Eq. 2.1)

    and the label is the argmax of Y.

    Args:
        n_visible: N, pixels of an image.
        n_classes: C.
        n_memories: K.
        power: 1 <= n <= 10^6, of the rectified polynomial F_n. Whole numbers are fastest.
        temperature: T > 0; beta = 1 / T^n is derived from it. Decisions do not depend on it.
        seed: of the initial memories, normal with mean -0.3 and deviation 0.3, clipped to [-1, 1].
        dtype: float32 or float64.
        device: where the memories live.

    Attributes:
        memories: (K, N + C) in [-1, 1], the only parameter: N visible components, then C votes.

    Raises:
        InputError: for sizes below 1, n < 1, T <= 0, another seed or dtype.
    """

    kind: ClassVar[str] = "dam"
    initial: ClassVar[tuple[float, float]] = (-0.3, 0.3)  # NIPS16, appendix A
    # NIPS16, appendix A, gives ranges for m, T and eps_0; these are the values in them that trained
    # well over 300 epochs (docs/log.md). At n = 30 memories die of larger steps over 3000 epochs.
    presets: ClassVar[Mapping[float, Preset]] = {
        2: Preset(4, 400, 100, 1 / 2, 0.02, 0.16, 0.02),
        3: Preset(4, 400, 100, 1 / 3, 0.04, 0.06639, 0.04),
        20: Preset(30, 560, 560, 1 / 3, 0.02, 0.03, 0.02),
        30: Preset(30, 600, 600, 1 / 3, 0.02, 0.015, 0.01),
    }
    products: ClassVar[tuple[str, ...]] = tuple(kernels.choice.PRODUCTS)

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

    def explain(
        self, visible: Tensor, count: int = 10, *, label: int | None = None, by: Order = "share"
    ) -> Explanation:
        """Which memories make the energy of the predicted class, and of another one.

        The equations stand in ``denseam.explanation``; ``figures.explanation`` draws it.

        Args:
            visible: one image, (N,) or (1, N), in [-1, 1].
            count: how many memories to name for a class.
            label: the class to compare the predicted one with; the runner-up by default.
            by: which memories to name: those with the largest "share" of the energy, or with the
                largest "contribution" to the margin over the best other class.

        Raises:
            InputError: when ``visible`` is not one image in the model's dtype, for a count below
                1, a label that is no class, or another order.
        """
        if isinstance(visible, Tensor) and visible.ndim == 1:
            visible = visible[None]
        predicted = self.predict(visible)
        if len(predicted) != 1:
            raise InputError(f"visible holds {len(predicted)} images: one is explained at a time")
        return explain(
            visible[0], self.memories, self.power, int(predicted),
            count=count, label=label, by=by,
        )  # fmt: skip

    def exact_scores(self, visible: Tensor) -> Tensor:
        """(B, N) -> (B, C) float64: log-energies before they are rounded to the model's dtype.

        Classes of mnist-n30 differ by 0.003 to 0.2 where log-energies are near 196: in float32, one
        step of which is 1.5e-5 there, one attacked image in five is a tie that is none. Where no
        memory is active it is the least one that an active memory can have in float32.
        """
        keep = torch.is_grad_enabled() and (visible.requires_grad or self.memories.requires_grad)
        rounded, _, values, scale = torch.ops.denseam.log_energy(
            visible, self.memories, self.power, "", keep
        )
        exact = kernels.energies.exact_log_energy(kernels.Sums(values, scale), self.power)
        finite = visible.detach().isfinite().all(dim=1, keepdim=True)
        # The value of one and the gradient of the other.
        slope = torch.where(rounded.isneginf(), 0.0, rounded - rounded.detach())
        least = self.power * math.log(torch.finfo(torch.float32).tiny)
        return torch.where(finite, exact + slope, torch.nan).clamp(min=least)

    def _scores(self, visible: Tensor, head: HeadName) -> Tensor:
        if head == "log_energy":
            return kernels.log_energy(visible, self.memories, self.power)
        return kernels.energy_gap(visible, self.memories, self.power, self.temperature)
