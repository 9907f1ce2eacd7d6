"""Networks with one hidden layer: rectified polynomials, ReLU, radial basis functions.

Their parameters are memories (K, N + C) as those of a dense associative memory: the visible part
is compared with an image, the class part holds the votes. So the paper's training rule applies.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from denseam.classifier import Classifier
from denseam.data import Examples
from denseam.energies import rectified_polynomial
from denseam.errors import InputError
from denseam.heads import HeadName
from denseam.kernels import Kernel, Rule
from denseam.onnx_graph import LEAST, OnnxGraph
from denseam.presets import Preset

# Hidden neurons and factors of a gap leave this part of the range to sums over them.
ROOM = 2.0**-40


class PolynomialNetwork(Classifier):
    """A feedforward network, the dual of DAM_n (NIPS16, section 3), with hidden neurons F_(n-1).

        gap_c = (2 n / T) sum_mu xi_c^mu F_(n-1)(sum_i xi_i^mu v_i / T)

    That is the energy gap of DAM_n to first order in the class neurons, apart from terms common to
    all classes. Scores that never saturate are the gap itself. If a hidden neuron would leave
    the range of the dtype (beyond 3e26 in float32), all neurons of that image are divided by the
    largest one and the gap is bounded; the label stays.

    Args:
        n_visible: N.
        n_classes: C.
        n_memories: K, the hidden neurons.
        power: n > 1 of the dual DAM_n; hidden neurons have n - 1.
        temperature: T > 0.
        options: ``front``, ``seed``, ``dtype`` and ``device``, as for ``DenseAM``.

    Raises:
        InputError: for sizes below 1, n <= 1, T <= 0 or another dtype.
    """

    kind: ClassVar[str] = "polynomial"
    _words: ClassVar[tuple[str, str]] = ("polynomial{n:g}", "polynomial, n = {n:g}")
    initial: ClassVar[tuple[float, float]] = (0.0, 0.1)
    # As those of the other networks: chosen by the error on held-out images (docs/log.md).
    presets: ClassVar[Mapping[float, Preset]] = {2: Preset(4, 20, 20, 0, 0.01, 0.02)}

    def __init__(
        self,
        n_visible: int,
        n_classes: int,
        n_memories: int,
        power: float | None = None,
        temperature: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(n_visible, n_classes, n_memories, power, temperature, **options)
        if not self.power > 1:
            raise InputError(f"power = {power!r}: hidden neurons have n - 1, wanted n > 1")

    def onnx(self, graph: OnnxGraph, visible: str, head: HeadName) -> tuple[str, str]:
        overlaps = graph("Gemm", visible, self.visible_memories, transB=1)
        hidden, exponent = graph("Relu", graph("Div", overlaps, self.temperature)), self.power - 1
        factor = 2 * self.power / self.temperature
        if exponent == 1:
            gap = graph("Mul", graph("MatMul", hidden, self.class_memories), factor)
            return gap, gap
        # On the scale of the largest neuron, the gap bounded, the label kept.
        wide, top = torch.float64, graph.over("Max", hidden)
        powers = graph("Pow", graph("Div", hidden, graph("Max", top, LEAST)), exponent)
        scale = graph(
            "Mul", graph("Pow", graph.cast(top, wide), exponent), graph.constant(factor, wide)
        )
        scale = graph("Min", scale, graph.constant(ROOM * graph.largest, wide))
        votes = graph("MatMul", powers, self.class_memories)
        gap = graph("Mul", votes, graph.cast(scale, graph.dtype))
        return gap, gap

    def _scores(self, visible: Tensor, head: HeadName) -> Tensor:
        exponent, largest = self.power - 1, torch.finfo(visible.dtype).max
        overlaps = (visible @ self.visible_memories.T / self.temperature).clamp(max=largest)
        scale = _scale(overlaps.detach(), exponent)
        hidden = rectified_polynomial(overlaps / scale, exponent)
        factor = (2 * self.power / self.temperature) * scale.double() ** exponent
        return factor.clamp(max=ROOM * largest).to(hidden.dtype) * (hidden @ self.class_memories)


def _scale(overlaps: Tensor, exponent: float) -> Tensor:
    """Return 1, or an image's largest overlap if powers would leave the range, (B, K) -> (B, 1).

    Dividing by 1 changes no bit.
    """
    top = overlaps.amax(dim=1, keepdim=True)
    most = math.log(ROOM * torch.finfo(overlaps.dtype).max)
    return torch.where(exponent * top.log() > most, top, 1.0)  # NaN, of no active neuron, is not


class ReLUNetwork(PolynomialNetwork):
    """A network with one hidden layer of rectified linear neurons, the dual of DAM_2.

    Arguments and errors as for ``PolynomialNetwork``; n is 2, and T is 20 by default.
    """

    kind: ClassVar[str] = "relu"
    _words: ClassVar[tuple[str, str]] = ("relu", "ReLU")
    only_power: ClassVar[float | None] = 2.0
    usual_temperature: ClassVar[float | None] = 20.0


class ConvolutionalNetwork(ReLUNetwork):
    """A convolutional network with a ReLU layer of K neurons and a softmax, to compare with.

    Behind the limit of ``fronts.Convolutional``, ReLU and the largest of neighbours. All of it
    learns by the cross-entropy of the gap and a usual optimiser. T is 2, where the factors of
    ``PolynomialNetwork`` cancel. Arguments and errors as for that one.
    """

    kind: ClassVar[str] = "cnn"
    _words: ClassVar[tuple[str, str]] = ("cnn", "CNN")
    usual_temperature: ClassVar[float | None] = 2.0
    presets: ClassVar[Mapping[float, Preset]] = {2: Preset(2, 2, 2, 0, 0.002, 0.05)}
    level_power: ClassVar[float | None] = None
    by_max_norm: ClassVar[bool] = False
    usual: ClassVar[Mapping[str, Any]] = {
        "epochs": 20, "n_memories": 500, "per_class": 10, "objective": "cross-entropy",
        "logit_scale": 1.0, "sampling": "natural", "front": "convolutional",
        "levels": "16x5/2,32x5/2,256",
    }  # fmt: skip

    def _step(self, kernel: Kernel, velocity: Tensor, gradient: Tensor, rule: Rule) -> None:
        self.memories.grad = gradient


class RBFNetwork(Classifier):
    """A radial basis function network: Gaussians of width T around the visible memories.

        gap_c = sum_mu xi_c^mu exp(-|v - xi^mu|^2 / T^2)

    Scores that never saturate are the gap itself. A centre far from every image never learns, so
    memories begin at images: see ``at_images``.

    Args:
        n_visible: N.
        n_classes: C.
        n_memories: K, the centres.
        power: 2: there is no other Gaussian.
        temperature: T > 0, the width, in visible units of L2; 10 by default.
        options: ``front``, ``seed``, ``dtype`` and ``device``, as for ``DenseAM``.

    Raises:
        InputError: for sizes below 1, T <= 0, another n or another dtype.
    """

    kind: ClassVar[str] = "rbf"
    _words: ClassVar[tuple[str, str]] = ("rbf", "RBF")
    initial: ClassVar[tuple[float, float]] = (0.0, 0.1)
    presets: ClassVar[Mapping[float, Preset]] = {2: Preset(2, 10, 10, 0, 0.04, 0.02)}
    only_power: ClassVar[float | None] = 2.0
    usual_temperature: ClassVar[float | None] = 10.0
    compares_distances: ClassVar[bool] = True

    def at_images(self, visible: Tensor, labels: Tensor, *, seed: int) -> None:
        """Put the centres at random images ``visible`` (M, N), with votes for ``labels`` (M,)."""
        generator = torch.Generator().manual_seed(seed)
        picked = torch.randperm(len(visible), generator=generator)[: self.n_memories]
        picked = picked.repeat(-(-self.n_memories // len(picked)))[: self.n_memories]
        with torch.no_grad():
            self.visible_memories.copy_(visible[picked])
            self.class_memories.fill_(0).scatter_(
                1, labels[picked].to(self.memories.device)[:, None], 0.1
            )

    def begin_at(self, images: Examples, *, seed: int) -> None:
        """Put the centres at random images of a set."""
        with torch.no_grad():
            inputs = images.inputs(self.input_dtype, self.memories.device)
            self.at_images(self.visible(inputs), images.labels, seed=seed)

    def largest_fields(self, overlaps: Tensor) -> Tensor:
        return torch.ones_like(overlaps)  # a Gaussian is never quite 0

    def onnx(self, graph: OnnxGraph, visible: str, head: HeadName) -> tuple[str, str]:
        centres = self.visible_memories
        lengths = graph.over("Sum", graph("Mul", visible, visible))
        rest = graph("Gemm", visible, centres, centres.square().sum(dim=1), alpha=-2.0, transB=1)
        squared = graph("Relu", graph("Add", lengths, rest))
        hidden = graph("Exp", graph("Div", squared, -(self.temperature**2)))
        gap = graph("MatMul", hidden, self.class_memories)
        return gap, gap

    def _scores(self, visible: Tensor, head: HeadName) -> Tensor:
        centres = self.visible_memories
        # |v - xi|^2 from one product; float32 leaves 1e-4 of distances in the hundreds.
        squared = (
            visible.square().sum(dim=1)[:, None]
            - 2 * visible @ centres.T
            + centres.square().sum(dim=1)
        )
        hidden = torch.exp(-squared.clamp(min=0) / self.temperature**2)
        return hidden @ self.class_memories
