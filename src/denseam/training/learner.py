"""The network while it learns: memories, velocity, and an epoch of minibatches."""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from denseam.baselines import NETWORKS, Binarised, NearestNeighbour, RBFNetwork, binarise
from denseam.classifier import Classifier
from denseam.data import ImageSet
from denseam.data.pixels import to_visible
from denseam.evaluation import predict_images, visible_parts
from denseam.kernels import Kernel, choose
from denseam.kernels.choice import with_products
from denseam.kernels.interface import Outcome
from denseam.mesh import Axis, Mesh
from denseam.model import DenseAM
from denseam.training.batches import epoch_indices
from denseam.training.gradient import network_gradient, objective_gradient
from denseam.training.graph import ResidentSteps, recordable
from denseam.training.optimizer import update
from denseam.training.parts import decide, joined
from denseam.training.recipe import Recipe
from denseam.training.tally import Tally

if TYPE_CHECKING:
    from denseam.kernels.triton import TritonKernel

__all__ = ["Learner"]

# Only guards against 0 / 0: memories with any velocity at all take whole steps.
VELOCITY_FLOOR = 1e-30


class Learner:
    """The network of a recipe, or this process's memories of it.

    Args:
        recipe: what to do.
        images: to learn.
        device: where.
        mesh: the processes that share the work.

    Raises:
        InputError: for products that are not made on this device.
    """

    def __init__(self, recipe: Recipe, images: ImageSet, device: torch.device, mesh: Mesh) -> None:
        self.recipe, self.images, self.mesh = recipe, images, mesh
        self.model = initial_model(recipe, images, device, mesh.memory)
        self.classifier = Binarised(self.model) if recipe.binarised else self.model
        self.memories = self.model.memories.data
        self.velocity = torch.zeros_like(self.memories)
        self.kernel = _kernel(recipe, device)
        # The whole set as one tensor on the device; a batch is converted when it is drawn.
        self.pixels = images.images.flatten(1).to(device)  # (M, N)
        self.labels = images.labels.to(device)
        self._resident: ResidentSteps | None = None
        self._ahead: dict[int, Tensor] = {}  # orders of epochs to come

    @property
    def n_memories(self) -> int:
        """K, of all processes."""
        divided = self.mesh.memory.size > 1
        return self.recipe.n_memories if divided else len(self.memories)

    def epoch(self, epoch: int, on_batch: Callable[[int], None]) -> tuple[Tally, Tensor]:
        """One epoch; what its batches looked like, and the last of them, (B, N + C)."""
        recipe = self.recipe
        self.model.temperature = recipe.temperature_at(epoch)
        rule = {
            "lr": recipe.learning_rate_at(epoch),
            "momentum": recipe.momentum,
            "gradient_scale": recipe.gradient_scale_at(epoch),
            "floor": VELOCITY_FLOOR,
        }
        order = self._order(epoch)
        tally = Tally(self.images.n_classes, self.pixels.device)
        if self._records_steps(order):
            self._steps(order).epoch(
                order, self.memories, self.velocity, temperature=self.model.temperature,
                rule=rule, tally=tally, on_batch=on_batch,
            )  # fmt: skip
            # While the card works: the order takes as long as a tenth of an epoch.
            self._ahead = {epoch + 1: self._order(epoch + 1)}
            return tally, self._batch(order[-1])
        mine = self.mesh.data.part(order.shape[1])
        for number, rows in enumerate(order[:, mine]):
            neurons, labels = self._batch(rows), self.labels[rows]
            gradient, outcome = self._gradient(neurons, labels)
            self.mesh.data.add(gradient)
            update(self.kernel, self.memories, self.velocity, gradient, rule)
            tally.add(outcome.activity, outcome.predicted, labels, outcome.objective)
            on_batch(number)
        return tally, neurons

    def _order(self, epoch: int) -> Tensor:
        """The images of every batch of an epoch, (batches, B) int64."""
        if epoch in self._ahead:
            return self._ahead.pop(epoch)
        recipe, labels, C = self.recipe, self.images.labels, self.images.n_classes
        order = epoch_indices(labels, C, recipe.per_class, seed=recipe.seed, epoch=epoch)
        return order.to(self.pixels.device)

    def error(self, test: ImageSet) -> float:
        """On images that it is not shown: each process labels a part, by all memories."""
        mine = test.subset(self.mesh.data.part(len(test)))
        wrong = (self._labels(mine).cpu() != mine.labels).sum().to(self.pixels.device)
        return int(self.mesh.data.add(wrong)) / len(test)

    def _labels(self, images: ImageSet) -> Tensor:
        if self.mesh.memory.size == 1:
            return predict_images(self.classifier, images)
        exact = choose(self.memories.device, self.memories.dtype).kernel
        parts = [
            decide(
                exact, binarise(part) if self.recipe.binarised else part, self.memories,
                self.model.power, self.mesh.memory,
            )
            for part in visible_parts(self.model, images)
        ]  # fmt: skip
        return torch.cat(parts)

    def dead_memories(self, neurons: Tensor) -> int:
        """How many memories are active for no image of a batch and no class."""
        if isinstance(self.model, RBFNetwork):
            return 0  # a Gaussian is never quite 0
        best = self.mesh.data.largest(self.kernel.overlaps(neurons, self.memories).amax(dim=1))
        if isinstance(self.model, DenseAM):
            classes = self.model.class_memories.detach()
            best += (2 * classes.amax(dim=1)).clamp(min=0) - classes.sum(dim=1)
        return int(self.mesh.memory.add((best <= 0).sum()))

    def not_finite(self) -> list[str]:
        """Which of memories and velocity are NaN or infinite anywhere, on any process."""
        numbers = {"memories": self.memories, "velocity": self.velocity}
        bad = torch.stack([(~x.isfinite()).any() for x in numbers.values()]).long()
        counts = self.mesh.memory.add(bad).tolist()
        return [name for name, count in zip(numbers, counts, strict=True) if count]

    def _records_steps(self, order: Tensor) -> bool:
        """Whether there are steps that need no host."""
        alone = isinstance(self.model, DenseAM) and self.mesh.size == 1
        return alone and not self.recipe.binarised and recordable(self.kernel, order.device)

    def _steps(self, order: Tensor) -> ResidentSteps:
        if self._resident is None:
            self._resident = ResidentSteps(
                cast("TritonKernel", self.kernel), self.pixels, self.labels,
                shape=self.memories.shape, batches=(order.shape[0], order.shape[1]),
                power=self.model.power, loss_power=self.recipe.loss_power,
                dtype=self.memories.dtype,
            )  # fmt: skip
        return self._resident

    def _gradient(self, neurons: Tensor, labels: Tensor) -> tuple[Tensor, Outcome]:
        """dC/dxi of a batch, and what it looked like."""
        model, m = self.model, self.recipe.loss_power
        if not isinstance(model, DenseAM):
            return network_gradient(model, neurons, labels, m)
        return objective_gradient(
            self.kernel, neurons, labels, self.memories, power=model.power,
            temperature=model.temperature, loss_power=m, n_classes=model.n_classes,
            join=lambda sums: joined(sums, model.power, self.mesh.memory),
        )  # fmt: skip

    def _batch(self, rows: Tensor) -> Tensor:
        """Images of these rows as neurons, (B, N + C): class neurons are 0.

        The visible ones, in [-1, 1], are as ``ImageSet.visible`` makes them.
        """
        drawn = self.pixels.index_select(0, rows)
        neurons = self.memories.new_zeros(len(rows), self.memories.shape[1])
        visible = neurons[:, : drawn.shape[1]]
        to_visible(drawn, scale="visible", out=visible)
        if self.recipe.binarised:
            visible.copy_(binarise(visible))
        return neurons


def initial_model(
    recipe: Recipe, images: ImageSet, device: torch.device, axis: Axis | None = None
) -> Classifier:
    """The network of a recipe before its first epoch; with an ``axis``, this process's memories."""
    dtype = getattr(torch, recipe.dtype)
    if recipe.network == NearestNeighbour.kind:
        return NearestNeighbour.of(images, dtype=dtype).to(device)
    K, kind = recipe.n_memories, NETWORKS[recipe.network]
    rows = axis.part(K) if axis is not None else slice(0, K)
    model = kind(
        images.n_visible, images.n_classes, rows.stop - rows.start, recipe.power,
        recipe.temperature, seed=recipe.seed, dtype=dtype, device=device,
    )  # fmt: skip
    if model.n_memories < K:
        components = model.memories.shape[1]
        own = kind.initial_memories(K, components, seed=recipe.seed, dtype=dtype, rows=rows)
        model.memories.data.copy_(own)
    if isinstance(model, RBFNetwork):
        model.at_images(images.visible(dtype), images.labels, seed=recipe.seed)
    return model


def _kernel(recipe: Recipe, device: torch.device) -> Kernel:
    """The back end for a recipe on a device.

    Raises:
        InputError: for coarse products where they are not made.
    """
    return with_products(choose(device, getattr(torch, recipe.dtype)), recipe.products)
