"""The learner of a run: memories, velocity, and epochs of minibatches."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from denseam import energies
from denseam.baselines import NETWORKS, Binarised, NearestNeighbour, Prototypes, binarise
from denseam.classifier import Classifier
from denseam.convolutional import ConvolutionalAM
from denseam.data import Examples
from denseam.data.pixels import to_visible
from denseam.energies import RectifiedPolynomial
from denseam.errors import InputError
from denseam.evaluation import predict_images, visible_parts
from denseam.fronts import Table, learns
from denseam.kernels import (
    OBJECTIVES,
    Agreement,
    Choice,
    CrossEntropy,
    Paper,
    Rule,
    choose,
    look_at,
)
from denseam.kernels.choice import with_precision
from denseam.mesh import Axis, Mesh
from denseam.model import DenseAM
from denseam.saved import describe_model
from denseam.training.adversarial import UNIT, Adversarial
from denseam.training.batches import (
    BatchRule,
    batches_per_epoch,
    changed_batch,
    epoch_indices,
    seeded,
)
from denseam.training.gradient import Usual
from denseam.training.graph import ResidentSteps, recordable
from denseam.training.recipe import Recipe
from denseam.training.scale import (
    LOOKED_AT,
    begin_at_examples,
    class_rows,
    scale_of,
    visible_of,
)
from denseam.training.shipped import Shipped
from denseam.training.tally import Tally

if TYPE_CHECKING:
    from denseam.kernels.triton.kernel import TritonKernel

__all__ = ["Learner"]

# A guard against 0 / 0 only: memories with any velocity take whole steps.
VELOCITY_FLOOR = 1e-30

# Training aims at a larger radius than is to be certified: 2.5 for 1.58 (Voracek and Hein).
AIM = 1.6


class Learner:
    """The network of a recipe in training, or this process's memories of it.

    Args:
        recipe: of the run.
        images: the training images.
        device: where to train.
        mesh: the processes that share the work.
        front: of the network; none by default.
        batch: changes every batch before it is learned from; see ``train``.
        start: a network with the memories to begin with.

    Attributes:
        kernel: the back end that trains; may be set to another one of its kind.
        began: the SHA-256 (hex) of ``start``, or None.

    Raises:
        InputError: for products that are not made on this device, and for a front that does not
            take these images.
    """

    def __init__(
        self,
        recipe: Recipe,
        images: Examples,
        device: torch.device,
        mesh: Mesh,
        *,
        front: nn.Module | None = None,
        batch: BatchRule | None = None,
        start: Classifier | None = None,
    ) -> None:
        self.recipe, self.images, self.mesh = recipe, images, mesh
        self.batch = batch
        if recipe.keep == "best-attacked" and not hasattr(self.batch, "breaks"):
            raise InputError(
                f"keep = {recipe.keep!r}: wanted adversarial training, such as adversarial = "
                "'l2:1.5'"
            )
        self.objective = OBJECTIVES[recipe.objective](recipe.loss_power, recipe.logit_scale)
        if recipe.attacked_target == "clean":
            self.objective = Agreement(recipe.logit_scale, recipe.mix)
        self._repeats = int(getattr(batch, "repeats", 1))
        self.step_factor, self.logit_scale = 1.0, cast("float | None", None)
        self.model = initial_model(recipe, images, device, mesh.memory, front)
        self.began = None if start is None else begin_from(self.model, start, recipe, mesh.memory)
        self.classifier = Binarised(self.model) if recipe.binarised else self.model
        self.memories = self.model.memories.data
        self.velocity = torch.zeros_like(self.memories)
        self.usual = Usual(self.model, recipe, self.batches)
        self.shipped = Shipped(recipe, self._trained, self.batches)
        self.kernel = with_precision(self._exact(), recipe.products)
        # The whole set as one tensor on the device; a batch is converted when it is drawn.
        self.pixels = images.values.flatten(1).to(device)  # (M, n_inputs)
        self._passed = self.batch is None and isinstance(self.model.front, Table)
        if self._passed:  # once for all epochs
            self.pixels = visible_of(recipe, images, self.model.front.cpu()).to(device)
            self.model.front.to(device)
        self.labels = images.labels.to(device)
        self._resident: ResidentSteps | None = None
        self._ahead: dict[int, Tensor] = {}  # orders of epochs to come

    @property
    def batches(self) -> int:
        """Number of steps of an epoch."""
        images = self.images
        batches = batches_per_epoch(len(images), images.n_classes, self.recipe.per_class)
        return batches * self._repeats

    @property
    def n_memories(self) -> int:
        """The number K of memories on all processes."""
        divided = self.mesh.memory.size > 1
        return self.recipe.n_memories if divided else len(self.memories)

    def epoch(self, epoch: int, on_batch: Callable[[int], None]) -> tuple[Tally, Tensor]:
        """Train one epoch; return sums over its batches, and the last batch, (B, N + C)."""
        recipe = self.recipe
        self.model.temperature = recipe.temperature_at(epoch)
        rule = Rule(
            momentum=recipe.momentum,
            gradient_scale=recipe.gradient_scale_at(epoch),
            learning_rate=self.learning_rate_at(epoch),
            floor=VELOCITY_FLOOR,
        )
        order = self._order(epoch)
        tally = Tally(self.images.n_classes, self.pixels.device)
        if self._records_steps():
            self._steps(order).epoch(
                order, self.memories, self.velocity, temperature=self.model.temperature,
                rule=rule, tally=tally, on_batch=on_batch,
            )  # fmt: skip
            # While the card works: the order takes as long as a tenth of an epoch.
            self._ahead = {epoch + 1: self._order(epoch + 1)}
            return tally, self._batch(order[-1], epoch, len(order) - 1)[0]
        rows_here = self.mesh.data.part(order.shape[1])
        for number, rows in enumerate(order[:, rows_here]):
            neurons, labels = self._batch(rows, epoch, number)
            outcome = self.model.learn(
                self.kernel, neurons, labels, self.velocity, rule,
                objective=self.objective, mesh=self.mesh,
            )  # fmt: skip
            self.usual.step(epoch * len(order) + number, self.step_factor, self.mesh.data)
            self.shipped.add(epoch * len(order) + number)
            tally.add(outcome.activity, outcome.predicted, labels, outcome.objective)
            learned = getattr(self.batch, "learned", None)
            if learned is not None:
                learned(outcome.predicted, labels)
            on_batch(number)
        return tally, neurons.detach()

    def learning_rate_at(self, epoch: int) -> float:
        """Return eps of an epoch, after what was mended."""
        return self.recipe.learning_rate_at(epoch) * self.step_factor

    def tensors(self) -> dict[str, Tensor]:
        """Return what training changes: memories, velocity, a front, and what is to be shipped."""
        trained = {"memories": self.memories, "velocity": self.velocity, **self.usual.tensors()}
        return {**trained, **self.shipped.tensors()}

    def state(self) -> dict[str, Tensor]:
        """Return copies of the tensors, for ``restore``."""
        return {name: tensor.clone() for name, tensor in self.tensors().items()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take the tensors back to where they were."""
        for name, tensor in self.tensors().items():
            tensor.copy_(state[name])

    def ship(self) -> None:
        """Give the model the memories that stand for the run."""
        self._show(self.shipped.final)

    @contextmanager
    def _shipping(self) -> Iterator[None]:
        """Let the model have the memories that stand for the epoch."""
        trained, self.memories = self._trained, self.shipped.now["memories"]
        self._show(self.shipped.now)
        try:
            yield
        finally:
            self.model.memories.data = self.memories = trained["memories"]
            self.usual.show(trained)

    @property
    def _trained(self) -> dict[str, Tensor]:
        return {"memories": self.memories, **self.usual.learned}

    def _show(self, tensors: Mapping[str, Tensor]) -> None:
        self.model.memories.data = tensors["memories"]
        self.usual.show(tensors)
        if self.shipped.average is not None:
            self.model.settle()

    def mended(self, step_factor: float, logit_scale: float | None) -> None:
        """Go on with shorter steps, and with the cross-entropy of log-energies times a scale."""
        self.step_factor, self.logit_scale = step_factor, logit_scale
        if logit_scale is not None:
            self.objective = CrossEntropy(logit_scale)

    def scale_of_leads(self) -> float:
        """Return the factor of log-energies that makes leads of a few nats, to three digits."""
        rows = class_rows(self.images.labels, min(len(self.images), LOOKED_AT), self.recipe.seed)
        if not self.model.dense:
            (inputs,) = visible_parts(self.model, self.images.subset(rows))
            return scale_of(self.model.log_energy(inputs).detach().double())
        neurons, _ = self._batch(rows.to(self.pixels.device), 0, 0)
        visible = neurons[:, : self.model.n_visible]
        model = cast("DenseAM", self.model)
        look = look_at(
            self.kernel, model.energy, visible, self.memories,
            model.class_memories.detach(), every_class=True, axis=self.mesh.memory,
        )  # fmt: skip
        return scale_of(look.log_energy().clamp(min=model.energy.least_log))

    def attack(self, epoch: int) -> Mapping[str, float | None] | None:
        """Return what a batch rule sums up of an epoch; None for other rules."""
        summary = getattr(self.batch, "summary", None)
        if summary is None:
            return None
        with seeded(self.pixels.device, self.recipe.seed, epoch, self.mesh.data.rank):
            return dict(summary(self.mesh.data))

    def error(self, test: Examples) -> float:
        """Return the error on held-out images, shared among processes, by all memories."""
        images = test.subset(self.mesh.data.part(len(test)))
        with self._shipping():
            wrong = (self._labels(images).cpu() != images.labels).sum().to(self.pixels.device)
        return int(self.mesh.data.add(wrong)) / len(test)

    def compare(self, held_out: Examples | None) -> float | None:
        """Keep the epoch if it is the best on held-out images; return its error there."""
        if held_out is None:
            return None
        error = self._held_out_error(held_out)
        self.shipped.compare(error)
        return error

    def _held_out_error(self, held_out: Examples) -> float:
        if self.recipe.keep == "best":
            return self.error(held_out)
        images = held_out.subset(self.mesh.data.part(len(held_out)))
        inputs = images.inputs(self.model.input_dtype, self.memories.device)
        labels = images.labels.to(inputs.device)
        with seeded(inputs.device, self.recipe.seed, self.mesh.data.rank), self._shipping():
            wrong = cast("Adversarial", self.batch).breaks(self.classifier, inputs, labels).sum()
        return int(self.mesh.data.add(wrong)) / len(held_out)

    def dead_memories(self, neurons: Tensor) -> int:
        """Count the memories that are active for no image of a batch (B, N + C) and no class."""
        best = self.mesh.data.largest(self.kernel.overlaps(neurons, self.memories).amax(dim=1))
        dead = (self.model.largest_fields(best) <= 0).sum()
        return int(self.mesh.memory.add(dead))

    def not_finite(self) -> list[str]:
        """Return which of memories and velocity hold NaN or infinities, on any process."""
        numbers = self.tensors()
        bad = torch.stack([(~x.isfinite()).any() for x in numbers.values()]).long()
        counts = self.mesh.memory.add(bad).tolist()
        return [name for name, count in zip(numbers, counts, strict=True) if count]

    def _exact(self) -> Choice:
        """Choose the back end for the model's device, dtype and energy function."""
        F = self.model.energy if isinstance(self.model, DenseAM) else RectifiedPolynomial(2)
        return choose(self.memories.device, self.memories.dtype, F)

    def _order(self, epoch: int) -> Tensor:
        """Return the images of every batch of an epoch, (batches, B) int64."""
        if epoch in self._ahead:
            return self._ahead.pop(epoch)
        recipe, labels, C = self.recipe, self.images.labels, self.images.n_classes
        order = epoch_indices(
            labels, C, recipe.per_class, seed=recipe.seed, epoch=epoch, sampling=recipe.sampling
        )
        return order.repeat_interleave(self._repeats, 0).to(self.pixels.device)

    def _labels(self, images: Examples) -> Tensor:
        if self.mesh.memory.size == 1:
            return predict_images(self.classifier, images)
        model = cast("DenseAM", self.model)
        looks = (
            look_at(
                self._exact().kernel, model.energy, self._visible(inputs), self.memories,
                model.class_memories.detach(), every_class=True, axis=self.mesh.memory,
            )
            for inputs in visible_parts(model, images)
        )  # fmt: skip
        return torch.cat([each.labels() for each in looks])

    def _records_steps(self) -> bool:
        """Return whether steps can run without the host."""
        plain = isinstance(self.model.front, nn.Identity) and not self.recipe.binarised
        plain = plain and isinstance(self.objective, Paper)
        alone = self.mesh.size == 1 and self.batch is None and self.shipped.average is None
        return plain and alone and self.model.dense and recordable(self.kernel, self.pixels.device)

    def _steps(self, order: Tensor) -> ResidentSteps:
        F = cast("DenseAM", self.model).energy
        if self._resident is None or self._resident.F != F:
            self._resident = ResidentSteps(
                cast("TritonKernel", self.kernel), self.pixels, self.labels,
                shape=self.memories.shape, batches=(order.shape[0], order.shape[1]), F=F,
                objective=self.objective, dtype=self.memories.dtype,
            )  # fmt: skip
        return self._resident

    def _batch(self, rows: Tensor, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """Return the images of rows as neurons, (B, N + C) with class neurons at 0, and labels.

        Fronts and batch rules get examples as ``Examples.inputs`` does.
        """
        drawn, labels = self.pixels.index_select(0, rows), self.labels[rows]
        plain = self.batch is None and isinstance(self.model.front, nn.Identity)
        if self._passed or (plain and self.model.n_seen == self.model.n_visible):
            # Converted in place: another tensor would cost more than the conversion.
            neurons = self.memories.new_zeros(len(rows), self.memories.shape[1])
            visible = neurons[:, : self.model.n_visible]
            to_visible(drawn, scale="visible", out=visible)
            if self.recipe.binarised:
                visible.copy_(binarise(visible))
            return neurons, labels
        inputs = to_visible(drawn, self.model.input_dtype, scale="visible")
        if self.batch is not None:
            inputs, labels = changed_batch(
                self.batch, self.classifier, inputs, labels, seed=self.recipe.seed, epoch=epoch,
                number=number, rank=self.mesh.data.rank,
            )  # fmt: skip
        return self.model.neurons(self._visible(inputs)), labels

    def _visible(self, inputs: Tensor) -> Tensor:
        with torch.set_grad_enabled(learns(self.model.front)):
            visible = self.model.visible(inputs)
            return binarise(visible) if self.recipe.binarised else visible


def begin_from(model: Classifier, start: Classifier, recipe: Recipe, axis: Axis) -> str:
    """Begin with the memories of another network, or this process's rows; return its digest.

    Raises:
        InputError: for a network of another kind, energy function or size.
    """
    for name in ("kind", "energy", "n_visible", "n_classes"):
        here, there = getattr(model, name, None), getattr(start, name, None)
        if here != there:
            raise InputError(f"the network to begin from has {name} {there}, the recipe {here}")
    if start.n_memories != recipe.n_memories:
        raise InputError(
            f"the network to begin from has {start.n_memories} memories, the recipe "
            f"{recipe.n_memories}"
        )
    model.memories.data.copy_(start.memories.detach()[axis.part(recipe.n_memories)])
    return str(describe_model(start)["sha256"])


def initial_model(
    recipe: Recipe,
    images: Examples,
    device: torch.device,
    axis: Axis | None = None,
    front: nn.Module | None = None,
) -> Classifier:
    """Return the network of a recipe before its first epoch; with an ``axis``, some memories.

    Raises:
        InputError: for a front that does not take these images.
    """
    dtype = getattr(torch, recipe.dtype)
    n_visible = images.n_inputs
    if front is not None:
        n_inputs = getattr(front, "n_inputs", n_visible)
        if n_inputs != n_visible:
            raise InputError(f"the front takes {n_inputs} numbers, {images.name} has {n_visible}")
        n_visible = int(getattr(front, "n_visible", n_visible))
    if recipe.network == NearestNeighbour.kind:
        return NearestNeighbour.of(images, dtype=dtype, front=front).to(device)
    K, kind = recipe.n_memories, NETWORKS[recipe.network]
    rows = axis.part(K) if axis is not None else slice(0, K)
    F = energies.FUNCTIONS[recipe.energy].matched(recipe.power, recipe.temperature)
    polynomial = isinstance(F, RectifiedPolynomial)
    options: dict[str, Any] = {"power": recipe.power} if polynomial else {"energy": F}
    if issubclass(kind, ConvolutionalAM):
        options |= {"patch": recipe.patch, "shape": images.input_shape}
    model = kind(
        n_visible, images.n_classes, rows.stop - rows.start, temperature=recipe.temperature,
        front=front, seed=recipe.seed, dtype=dtype, device=device, **options,
    )  # fmt: skip
    if model.n_memories < K:
        components = model.memories.shape[1]
        model.memories.data.copy_(
            kind.initial_memories(K, components, seed=recipe.seed, dtype=dtype, rows=rows)
        )
    radius = recipe.radius()
    if radius is not None and isinstance(model, Prototypes):
        model.aim(radius.norm, AIM * UNIT * radius.eps)
    if recipe.initial == "normal":
        model.begin_at(images, seed=recipe.seed)
    else:
        model.memories.data.copy_(begin_at_examples(recipe, images, front)[rows])
    return model
