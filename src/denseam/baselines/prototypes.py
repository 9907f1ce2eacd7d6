"""Nearest prototypes as memories of the limit n -> infinity, trained for the distance to errors.

The prototype p_k nearest to an image v has the largest h_k = p_k v - |p_k|^2 / 2: a field, whose
class votes bring the second term. Of two prototypes, k of the right class and l of another, l comes
as near as k only after a change of v by

    r = (h_k - h_l) / |p_k - p_l|_*        the pairwise bound; * is the dual of the change's norm

so the least r over l, with the best k for each, is a radius within which the label stays. Training
raises it to a target (Voracek and Hein, ICML 2022, for the step too: stochastic gradients with
Nesterov's momentum). ``denseam.certificates`` proves radii of trained models, and better bounds.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from denseam.checks import choice, number
from denseam.classifier import Classifier
from denseam.data import Examples
from denseam.energies import Largest
from denseam.errors import InputError
from denseam.kernels import Kernel, Objective, Rule
from denseam.kernels.interface import Outcome
from denseam.mesh import Mesh
from denseam.model import DenseAM
from denseam.presets import Preset

_SCALE = 2.0**-9  # of a prototype as a memory: votes of at most 1 hold |p|^2 / 2 of 784 pixels
_OWN, _RIVALS = 4, 8  # prototypes of each side that may bind
_DUAL = {"l2": 2.0, "linf": 1.0}  # orders of the norms that differences of prototypes have


class Prototypes(DenseAM):
    """A ``DenseAM`` of infinite power, whose memories are prototypes of one class each.

    Args:
        n_visible: N.
        n_classes: C, at least 2.
        n_memories: K, at least C. Prototype k is of class k mod C.
        power: 1 or infinity: there is no other limit.
        temperature: T > 0, without a meaning here.
        options: ``front``, ``seed``, ``dtype`` and ``device``, as for ``DenseAM``.

    Attributes:
        norm: "l2" or "linf", of the changes to resist; may be set.
        target: the radius that training aims at, in visible units; may be set.

    Raises:
        InputError: for another power, fewer than two classes, or fewer prototypes than classes.

    >>> from denseam.data import ImageSet
    >>> dots = ImageSet(torch.eye(4).reshape(4, 2, 2), torch.arange(4), n_classes=4, name="dots")
    >>> model = Prototypes(4, 4, 4)
    >>> model.begin_at(dots, seed=0)
    >>> model.predict(dots.visible())
    tensor([0, 1, 2, 3])
    """

    kind: ClassVar[str] = "prototypes"
    _words: ClassVar[tuple[str, str]] = ("prototypes", "prototypes")
    only_power: ClassVar[float | None] = 1.0  # in recipes
    presets: ClassVar[Mapping[float, Preset]] = {1: Preset(1, 1, 1, 0, 0.2, 0.02)}
    products: ClassVar[tuple[str, ...]] = ("full",)
    dense: ClassVar[bool] = False

    def __init__(
        self,
        n_visible: int,
        n_classes: int,
        n_memories: int,
        power: float = 1.0,
        temperature: float = 1.0,
        **options: Any,
    ) -> None:
        if power not in (1.0, torch.inf):
            raise InputError(f"power = {power!r}: prototypes are the limit, infinity (or 1)")
        super().__init__(
            n_visible, n_classes, n_memories, energy=Largest(), temperature=temperature, **options
        )
        if not 2 <= self.n_classes <= self.n_memories:
            raise InputError(
                f"{self.n_memories} prototypes for {self.n_classes} classes: wanted two classes or "
                "more, and a prototype for each"
            )
        self.norm, self.target = "l2", 5.0
        self.settle()

    def aim(self, norm: str, radius: float) -> None:
        """Set what training aims at: a norm, and a radius in visible units.

        Raises:
            InputError: for another norm, and for a radius that is not above 0.
        """
        self.norm = choice("norm", norm, tuple(_DUAL))
        self.target = number("radius", radius, above=0)

    @property
    def prototypes(self) -> Tensor:
        """The prototypes in visible units, (K, N)."""
        return self.visible_memories.detach() / _SCALE

    @property
    def classes(self) -> Tensor:
        """The class of each prototype, (K,) int64."""
        return torch.arange(self.n_memories, device=self.memories.device) % self.n_classes

    def begin_at(self, images: Examples, *, seed: int) -> None:
        """Put the prototypes at random images of their classes."""
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            visible = self.visible(images.inputs(self.input_dtype, self.memories.device))
            for c in range(self.n_classes):
                members = torch.nonzero(images.labels == c)[:, 0]
                count = len(self.memories[c :: self.n_classes])
                order = members[torch.randperm(len(members), generator=generator)]
                drawn = order.repeat(-(-count // len(order)))[:count]
                self.visible_memories[c :: self.n_classes] = _SCALE * visible[drawn]
        self.settle()

    def settle(self) -> None:
        with torch.no_grad():
            self._vote(slice(None))

    def _gradient(
        self, kernel: Kernel, neurons: Tensor, labels: Tensor, objective: Objective, mesh: Mesh
    ) -> tuple[Tensor, Outcome]:
        """Return the gradient of what radii lack to the target; only pairs that bind have one."""
        del kernel, objective, mesh
        v, p = neurons[:, : self.n_visible], self.prototypes
        h = v @ p.T - p.square().sum(dim=1) / 2
        own, rival, predicted = self._binding(h, p, labels)
        difference = p[own] - p[rival]
        length = torch.linalg.vector_norm(difference, _DUAL[self.norm], 1, keepdim=True)
        length = length.clamp(min=1e-3)
        slope = difference / length if self.norm == "l2" else difference.sign()
        radius = (h.gather(1, own[:, None]) - h.gather(1, rival[:, None])) / length  # (B, 1)
        short = (self.target - radius).clamp(min=0)
        share = (short > 0) / length
        gradient = torch.zeros_like(self.memories.data)
        towards = gradient[:, : self.n_visible]
        towards.index_add_(0, own, -share * (v - p[own] - radius * slope))
        towards.index_add_(0, rival, share * (v - p[rival] - radius * slope))
        activity = torch.zeros(len(v), self.n_classes, dtype=torch.float64, device=v.device)
        return gradient, Outcome(activity, predicted, short.double().sum())

    def _step(self, kernel: Kernel, velocity: Tensor, gradient: Tensor, rule: Rule) -> None:
        """Take a step with Nesterov's momentum; votes follow."""
        del kernel
        velocity.mul_(rule.momentum).add_(gradient)
        step = rule.learning_rate * (gradient + rule.momentum * velocity)
        moved = (gradient != 0).any(dim=1) | (velocity != 0).any(dim=1)
        self.visible_memories.data.sub_(_SCALE * step[:, : self.n_visible])
        self._vote(moved)

    def _binding(self, h: Tensor, p: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the pairs with the least bound, (B,) own and (B,) rival, and labels (B,)."""
        right = self.classes == labels[:, None]  # (B, K)
        own_h, own = h.masked_fill(~right, -torch.inf).topk(min(_OWN, self._fewest()), dim=1)
        count = min(_RIVALS, self.n_memories - self.n_memories // self.n_classes - 1)
        rival_h, rival = h.masked_fill(right, -torch.inf).topk(max(1, count), dim=1)
        order = _DUAL[self.norm]
        length = torch.cdist(p[own], p[rival], p=order).clamp(min=1e-3)  # (B, own, rivals)
        bounds, best = ((own_h[:, :, None] - rival_h[:, None, :]) / length).max(dim=1)
        binding = bounds.argmin(dim=1, keepdim=True)
        wrong = rival_h[:, 0] >= own_h[:, 0]
        k = own.gather(1, best.gather(1, binding))[:, 0]
        rival_of = rival.gather(1, binding)[:, 0]
        predicted = torch.where(wrong, self.classes[rival[:, 0]], labels)
        return (
            torch.where(wrong, own[:, 0], k),
            torch.where(wrong, rival[:, 0], rival_of),
            predicted,
        )

    def _fewest(self) -> int:
        return self.n_memories // self.n_classes

    def _vote(self, rows: Any) -> None:
        """Set the votes of some prototypes: 1 - s |p|^2 / 2 for their class, -1 for all others.

        The field with the neuron of the own class on is then s h + C, on any other 4 or so less.
        """
        p = self.prototypes[rows]
        votes = torch.full((len(p), self.n_classes), -1.0).to(p)
        own = (1 - _SCALE * p.square().sum(dim=1) / 2).clamp(-1, 1)
        votes.scatter_(1, self.classes[rows][:, None], own[:, None])
        self.class_memories.data[rows] = votes

    @classmethod
    def _restored(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        del settings
        return {}

    def set_extra_state(self, state: Any) -> None:
        Classifier.set_extra_state(self, {**state, "power": 1.0})
