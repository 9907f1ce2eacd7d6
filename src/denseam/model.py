"""DenseAM: the network of the paper as a PyTorch module, fast inside and checked at the edge."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from denseam import energies, kernels
from denseam.classifier import Classifier, bounded, check_head
from denseam.energies import EnergyFunction, RectifiedPolynomial
from denseam.errors import InputError
from denseam.explanation import Explanation, Order, explain
from denseam.heads import Head, HeadName, Scores, largest_one
from denseam.kernels import Kernel, Objective
from denseam.kernels.choice import PRECISIONS
from denseam.kernels.interface import Outcome, field_shifts
from denseam.kernels.look import log_coefficients
from denseam.memory import DenseMemories, one_energy
from denseam.mesh import Mesh
from denseam.onnx_graph import OnnxGraph
from denseam.precision import full_precision
from denseam.presets import Preset

__all__ = ["DenseAM"]


class DenseAM(DenseMemories, Classifier):
    """A dense associative memory, DAM_n (Eqs. 2.1 and 2.2): a front, memories, and heads.

    Sizes: B images, N visible neurons, K memories, C classes. Images are ``visible``: (B, N) in
    [-1, 1], of the model's dtype and on its device. For an image v, with component i of memory mu
    as xi_i^mu and its vote for class c as xi_c^mu,

        off^mu  = sum_i xi_i^mu v_i - sum_c xi_c^mu       the field with all class neurons at -1
        on_c^mu = off^mu + 2 xi_c^mu                      the field with neuron c at +1
        E = -sum_mu F_n(field^mu),   F_n(x) = x^n for x >= 0, else 0                  (Eq. 2.2)
        Y_c = tanh(beta (E_off - E_on_c)),   beta = 1 / F(T) = 1 / T^n                (Eq. 2.1)

    and the label is the argmax of Y. ``energy`` puts another function in the place of F_n.

    Args:
        n_visible: N, pixels of an image.
        n_classes: C.
        n_memories: K.
        power: 1 <= n <= 10^6, of the rectified polynomial F_n. Whole numbers are fastest. Infinity
            is the limit, where the largest field decides: ``energies.Largest``.
        temperature: T > 0, the field at which one memory makes a gap of 1. Decisions do not depend
            on it.
        energy: another energy function F, see ``denseam.energies``, instead of a power.
        front: a module from inputs to (B, N), see ``denseam.fronts``; none by default.
        seed: of the initial memories, normal with mean -0.3 and deviation 0.3, clipped to [-1, 1].
        dtype: float32 or float64.
        device: where the memories live.

    Attributes:
        memories: (K, N + C) in [-1, 1], the only parameter: N visible components, then C votes.

    Raises:
        InputError: for sizes below 1, n < 1, T <= 0, another seed or dtype, and for both or neither
            of power and energy.

    >>> model = DenseAM(784, 10, n_memories=50, power=30, temperature=600.0)
    >>> model.predict(torch.zeros(3, 784)).shape
    torch.Size([3])
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
    products: ClassVar[tuple[str, ...]] = PRECISIONS
    dense: ClassVar[bool] = True
    has_energy: ClassVar[bool] = True
    _words: ClassVar[tuple[str, str]] = ("n{n:g}", "n = {n:g}")

    def __init__(
        self,
        n_visible: int,
        n_classes: int,
        n_memories: int,
        power: float | None = None,
        temperature: float | None = None,
        *,
        energy: EnergyFunction | None = None,
        **options: Any,
    ) -> None:
        self._energy = one_energy(power, energy)
        if temperature is None:
            raise InputError("temperature: wanted a number T > 0, the scale of an overlap")
        super().__init__(n_visible, n_classes, n_memories, 1, temperature, **options)

    @property
    def power(self) -> float:
        """n, of the rectified polynomial; infinite for an energy that grows faster."""
        return self.energy.power

    def predict(self, inputs: object) -> Tensor:
        """Return labels, (B,) int64: argmax of Y, decided before tanh can saturate.

        An image on which no memory is active for any class gets 0; its ``log_energy`` says so.

        Args:
            inputs: what ``as_inputs`` takes: images (B, N), (B, H, W), (B, 1, H, W) or one of
                them, uint8 or floats in [-1, 1]; arrays, tensors, lists, an ``ImageSet``.

        Raises:
            InputError: for inputs of another shape, units or range.
        """
        inputs = self.as_inputs(inputs)
        self._check(inputs)
        with torch.no_grad():
            return kernels.labels(self.visible(inputs), self.memories, self.energy)

    def explain(
        self, visible: object, count: int = 10, *, label: int | None = None, by: Order = "share"
    ) -> Explanation:
        """Explain a label by the memories that make the energy of its class, and of another one.

        The equations stand in ``denseam.explanation``; ``figures.explanation`` draws it.

        Args:
            visible: one image, as ``predict`` takes it.
            count: how many memories to name for a class.
            label: the class to compare the predicted one with; the runner-up by default.
            by: which memories to name: those with the largest "share" of the energy, or with the
                largest "contribution" to the margin over the best other class.

        Raises:
            InputError: when ``visible`` is not one image, for a count below 1, a label that is no
                class, or another order.
        """
        inputs = self.as_inputs(visible)
        predicted = self.predict(inputs)
        if len(predicted) != 1:
            raise InputError(f"visible holds {len(predicted)} images: one is explained at a time")
        with torch.no_grad():
            image = self.visible(inputs)[0]
        return explain(
            image, self.memories, self.energy, int(predicted), count=count, label=label, by=by
        )

    def exact_scores(self, inputs: Tensor) -> Tensor:
        """Return log-energies before rounding to the model's dtype, (B, N) -> (B, C) float64.

        Log-energies of mnist-n30 are near 196 and differ by 0.003 to 0.2 between classes. A step of
        float32 is 1.5e-5 there, and rounding made ties of one attacked image in five. Without an
        active memory, the log-energy is the least that an active one can have in float32.
        """
        inputs, finite = bounded(inputs)
        exact = self._exact_log_energy(self.visible(inputs))
        return exact if finite is None else torch.where(finite, exact, torch.nan)

    @property
    def batch_invariant(self) -> bool:
        kernel = self._kernel()
        return isinstance(self.front, nn.Identity) and kernel is kernel.batch_invariant()

    def energies(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """By the kernels alone, which are loaded sooner than the operators of autograd."""
        with torch.no_grad():
            look = kernels.look_at(
                self._kernel(), self.energy, self.visible(inputs), self.memories.detach(),
                self.class_memories.detach(), every_class=True,
            )  # fmt: skip
        return *look.kernel.energies(look.sums, look.F, self.temperature), look.overlaps

    def _kernel(self) -> Kernel:
        """Return the usual kernel, batch-invariant where it can be."""
        kernel = kernels.choose(self.memories.device, self.memories.dtype, self.energy).kernel
        return kernel.batch_invariant() or kernel

    def winner_distances(
        self, inputs: Tensor, labels: Tensor, overlaps: Tensor | None = None
    ) -> Tensor:
        visible, memories = self.visible(inputs), self.visible_memories.detach()
        if overlaps is None:
            overlaps = memories @ visible.detach().T
        shifts = field_shifts(self.class_memories.detach())
        winners = (overlaps + shifts[:, labels]).argmax(dim=0)
        distances: Tensor = (visible - memories[winners]).double().norm(dim=1)
        return distances

    def contributions(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Compare contributions as (h / largest h)^n, which cannot overflow."""
        look = self.look(self.visible(inputs))
        fields = look.overlaps + field_shifts(self.class_memories.detach())[:, look.labels()]
        active = self.largest_fields(look.overlaps.amax(dim=1)) > 0
        return active, self.energy.ratio(fields, self.energy.scale(fields, dim=0))

    def head(self, shape: torch.Size, head: HeadName) -> Head:
        """Return a head whose directions do not underflow where gradients would."""
        check_head(head)
        if head == "tanh" or (head == "energy_gap" and not self.energy.has_gap):
            return super().head(shape, head)
        visible_memories = self.visible_memories.detach().contiguous()

        def scores(inputs: Tensor) -> Scores:
            visible, back = self._through_front(inputs, shape)
            seen = self.look(visible, every_class=head == "log_energy", rows=visible_memories)

            def pull(weights: Tensor) -> Tensor:
                weights = largest_one(weights)
                if head == "log_energy":
                    shares = log_coefficients(weights, seen.sums, self.energy)
                    coefficients = largest_one(shares.T).T
                else:  # F'(s) / F(T) is common to an image's classes: left out
                    off = -weights.T.sum(dim=0, keepdim=True)
                    coefficients = torch.cat([weights.T, off]).to(visible.dtype)
                gradients = seen.gradients(coefficients, class_gradient=False)
                return back(gradients.to_images(visible_memories))

            values = (
                seen.log_energy() if head == "log_energy" else seen.energy_gap(self.temperature)
            )
            return Scores(values, seen.active, pull)

        return scores

    def _through_front(
        self, inputs: Tensor, shape: torch.Size
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return visible (B, N) of flat inputs, and the way of a gradient back to these."""
        if isinstance(self.front, nn.Identity):
            return inputs, lambda gradient: gradient
        with torch.enable_grad():
            leaves = inputs.detach().requires_grad_()
            visible = self.visible(leaves.reshape(-1, *shape))

        def back(gradient: Tensor) -> Tensor:
            with full_precision(gradient):
                return torch.autograd.grad(visible, leaves, gradient, retain_graph=True)[0]

        return visible.detach(), back

    def onnx(self, graph: OnnxGraph, visible: str, head: HeadName) -> tuple[str, str]:
        """Add relative log-energies (B, C), and but for the head "log_energy" the energy gap.

        Nothing of size (B, K, C) is held, and every class is on a scale of its own, h_c:

            S_c      = sum_mu F(on_c) / F(h_c)                        >= 1 where a memory is active
            relative = log F(h_c) / F(max_c h_c) + log S_c

        Log-energies differ by about 0.01 where they are near 200, so what is common to all classes
        is taken out before float32 can round.
        """
        F = self.energy.onnx(graph)
        overlaps, shifts = self._onnx_overlaps(graph, visible)

        def at_least(scale: str) -> str:
            return scale if F.least is None else graph("Max", scale, F.least)

        def class_sum(shift: Tensor) -> tuple[str, str]:
            sizes = F.size(graph("Add", overlaps, shift))
            top = graph.over("Max", sizes)  # (B, 1)
            return top, graph.over("Sum", F.ratio(sizes, at_least(top), False))

        classes = [class_sum(shift) for shift in shifts.T[:-1]]
        tops, sums = (graph("Concat", *names, axis=1) for names in zip(*classes, strict=True))
        top = at_least(graph.over("Max", tops))
        scores = graph("Add", F.log_ratio(tops, top), graph("Log", sums))
        if F.least is not None:
            scores = graph("Max", scores, F.log_ratio(graph.constant(F.least), top))
        if head == "log_energy":
            return scores, ""
        off_top, off = class_sum(shifts[:, -1])
        scale = graph("Max", top, off_top)
        on = graph("Mul", sums, F.ratio(tops, scale, False))
        off = graph("Mul", off, F.ratio(off_top, scale, False))
        # (on - off) F(scale) / F(T) as ``look.energy_gap`` has it: in float64, shrunk as a whole.
        wide = torch.float64
        T, one = graph.constant(self.temperature, wide), graph.constant(1.0, wide)

        def room(limit: float, x: str) -> str:
            most = graph("Max", graph.over("Max", graph("Abs", x)), one)
            return graph("Div", graph.constant(limit, wide), most)

        difference = graph.cast(graph("Sub", on, off), wide)
        factor = F.ratio(graph.cast(scale, wide), T, True)
        factor = graph("Min", factor, room(torch.finfo(wide).max / 2, difference))
        gap = graph("Mul", difference, factor)
        shrink = graph("Min", room(graph.largest, gap), one)
        return scores, graph.cast(graph("Mul", gap, shrink), graph.dtype)

    def _onnx_overlaps(self, graph: OnnxGraph, visible: str) -> tuple[str, Tensor]:
        """Return overlaps (B, K), and what classes add to them, (K, C + 1)."""
        overlaps = graph("Gemm", visible, self.visible_memories, transB=1)
        return overlaps, field_shifts(self.class_memories.detach().double())

    def _gradient(
        self, kernel: Kernel, neurons: Tensor, labels: Tensor, objective: Objective, mesh: Mesh
    ) -> tuple[Tensor, Outcome]:
        return kernels.memory_gradient(
            kernel, self.energy, neurons, labels, self.memories.data,
            temperature=self.temperature, objective=objective, n_classes=self.n_classes, mesh=mesh,
        )  # fmt: skip

    def largest_fields(self, overlaps: Tensor) -> Tensor:
        """Return the largest fields over all classes, of overlaps (K,) with the best image each."""
        if self.energy.size(torch.tensor(-1.0)) != 0:  # not rectified: always active
            return torch.ones_like(overlaps)
        return overlaps + field_shifts(self.class_memories.detach()).amax(dim=1)

    def settings(self) -> dict[str, Any]:
        settings = super().settings()
        if not isinstance(self.energy, RectifiedPolynomial):
            settings["power"] = None
            settings["energy"] = {
                "name": self.energy.name,
                "parameters": list(self.energy.parameters),
            }
        return settings

    @classmethod
    def _restored(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        energy = settings.get("energy")
        if energy is None:
            return super()._restored(settings)
        return {"energy": energies.by_name(energy["name"], tuple(energy["parameters"]))}

    def extra_repr(self) -> str:
        if isinstance(self.energy, RectifiedPolynomial):
            return super().extra_repr()
        return super().extra_repr().replace(f"power={self.power:g}", f"energy={self.energy}")

    def get_extra_state(self) -> dict[str, Any]:
        if isinstance(self.energy, RectifiedPolynomial):
            return super().get_extra_state()
        energy = (self.energy.name, self.energy.parameters)
        return {**super().get_extra_state(), "energy": energy}

    def set_extra_state(self, state: Any) -> None:
        self.temperature = state["temperature"]
        name, parameters = state.get("energy", (RectifiedPolynomial.name, (state["power"],)))
        self._energy = energies.by_name(name, tuple(parameters))
