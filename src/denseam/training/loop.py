"""The training loop: epochs of class-balanced minibatches, records, checkpoints."""

import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from denseam.baselines import NETWORKS, Binarised, NearestNeighbour, RBFNetwork, binarise
from denseam.classifier import Classifier, check_device
from denseam.data import Dataset, ImageSet
from denseam.data.validate import check_every_class_present
from denseam.errors import DenseAMWarning, FileFormatError, InputError
from denseam.evaluation import check_fit, predict_images
from denseam.kernels import Kernel, by_name, choose
from denseam.kernels.interface import Outcome
from denseam.model import DenseAM
from denseam.training import environment
from denseam.training.batches import batches_per_epoch, epoch_indices
from denseam.training.callbacks import Callback
from denseam.training.gradient import network_gradient, objective_gradient
from denseam.training.health import HealthCheck
from denseam.training.optimizer import update
from denseam.training.recipe import Recipe
from denseam.training.records import EpochRecord, append_record, read_records, write_records
from denseam.training.runs import Checkpoint, RunFolder
from denseam.training.tally import Tally

__all__ = ["TrainResult", "train"]

# Only guards against 0 / 0: memories with any velocity at all take whole steps.
VELOCITY_FLOOR = 1e-30


@dataclass(frozen=True)
class TrainResult:
    """What a training run ends with."""

    model: Classifier  # a DenseAM, unless the recipe says otherwise
    recipe: Recipe
    records: list[EpochRecord]
    out: Path | None  # the run folder


def train(
    recipe: Recipe,
    images: ImageSet | Dataset,
    out: str | Path | None = None,
    resume: bool = True,
    callbacks: Iterable[Callback] = (),
    *,
    test: ImageSet | None = None,
    device: torch.device | str = "cpu",
) -> TrainResult:
    """Train a network by the procedure of NIPS16, appendix A: a ``DenseAM``, by default.

    With ``out``, every epoch is on the disk before the next begins, and calling again with the
    same arguments goes on where the last call was stopped, to the same bits that an uninterrupted
    run on as many threads would reach.

    Args:
        recipe: what to do.
        images: the training images; a ``Dataset`` brings its test images too.
        out: run folder; made where it does not exist. Without it nothing is written.
        resume: go on with a run found in ``out``; otherwise that is an error.
        callbacks: told of every batch, epoch and warning; see ``Callback``.
        test: images to measure the test error on after every epoch.
        device: where to train.

    Raises:
        InputError: for images that cannot be trained on, such as a class without examples; for a
            device that is not there.
        RunFolderError: when ``out`` belongs to another recipe or other data, or is in use.
        FileFormatError: when the checkpoint in ``out`` is damaged.
        SaveError: when the disk is full; the last checkpoint is still there.
    """
    if isinstance(images, Dataset):
        test = images.test if test is None else test
        images = images.train
    if not isinstance(recipe, Recipe):
        raise InputError(f"recipe: wanted a Recipe, got {type(recipe).__name__}")
    if not isinstance(images, ImageSet):
        raise InputError(f"images: wanted an ImageSet or a Dataset, got {type(images).__name__}")
    if not isinstance(test, ImageSet | None):
        raise InputError(f"test: wanted an ImageSet, got {type(test).__name__}")
    check_every_class_present(images.labels, images.n_classes)
    run = _Run(recipe, images, test, check_device(device), list(callbacks))
    finish = run.remember if recipe.network == NearestNeighbour.kind else run.finish
    if out is None:
        return finish(None)
    folder = RunFolder(Path(out))
    with folder.locked():
        run.attach(folder, resume=resume)
        return finish(folder)


class _Run:
    """The state of one call of ``train``."""

    def __init__(
        self,
        recipe: Recipe,
        images: ImageSet,
        test: ImageSet | None,
        device: torch.device,
        callbacks: list[Callback],
    ) -> None:
        self.recipe, self.images, self.test, self.callbacks = recipe, images, test, callbacks
        self.model = initial_model(recipe, images, device)
        self.classifier = Binarised(self.model) if recipe.binarised else self.model
        if test is not None:
            check_fit(self.model, test)
        self.memories = self.model.memories.data
        self.velocity = torch.zeros_like(self.memories)
        self.kernel = _kernel(recipe, device)
        # The whole set as one tensor on the device; a batch is converted when it is drawn.
        self.pixels = images.images.flatten(1).to(device)  # (M, N)
        self.labels = images.labels.to(device)
        self.records: list[EpochRecord] = []

    def attach(self, folder: RunFolder, *, resume: bool) -> None:
        """Claim the folder and take up what it holds."""
        here = environment.describe(self.memories.device, self.kernel)
        data = {"name": self.images.name, "digest": self.images.digest()}
        found = folder.claim(self.recipe, {"data": data, "environment": here}, resume=resume)
        self.kernel = environment.kernel_as_before(self.kernel, found["environment"])
        changed = environment.changes(found["environment"], here)
        if changed:
            self._warn(
                f"going on with another {', '.join(changed)} than the run began with: the result "
                "will be as good, but not the same to the bit"
            )
        state = folder.load(self.memories.shape, self.memories.dtype)
        if state is not None:
            self.memories.copy_(state.memories)
            self.velocity.copy_(state.velocity)
            self.records = read_records(folder.records, state.epochs)
            if len(self.records) != state.epochs:
                raise FileFormatError(
                    f"{folder.records} has {len(self.records)} whole records, the checkpoint is "
                    f"after epoch {state.epochs}: the run folder is damaged, choose another"
                )
        write_records(folder.records, self.records)

    def finish(self, folder: RunFolder | None) -> TrainResult:
        """Train the epochs that are left."""
        recipe = self.recipe
        health = HealthCheck(recipe)
        for record in self.records:
            health.look(record)  # what was said before is not said again
        batches = batches_per_epoch(len(self.images), self.images.n_classes, recipe.per_class)
        try:
            for callback in self.callbacks:
                callback.on_start(recipe, self.records, batches)
            for epoch in range(len(self.records), recipe.epochs):
                record = self._epoch(epoch, folder)
                for message in health.look(record):
                    self._warn(message)
                for callback in self.callbacks:
                    callback.on_epoch(record)
        finally:
            for callback in self.callbacks:
                callback.on_end()
        self.model.temperature = recipe.temperature_at(recipe.epochs - 1)
        if folder is not None:
            self.classifier.save(folder.model)
        return TrainResult(self.classifier, recipe, self.records, folder.path if folder else None)

    def remember(self, folder: RunFolder | None) -> TrainResult:
        """Nearest neighbours learn by heart, in no epochs."""
        if folder is not None:
            self.classifier.save(folder.model)
        path = folder.path if folder else None
        return TrainResult(self.classifier, self.recipe, [], path)

    def _epoch(self, epoch: int, folder: RunFolder | None) -> EpochRecord:
        start = time.perf_counter()
        recipe, C = self.recipe, self.images.n_classes
        temperature = recipe.temperature_at(epoch)
        rule = {
            "lr": recipe.learning_rate_at(epoch),
            "momentum": recipe.momentum,
            "gradient_scale": recipe.gradient_scale_at(epoch),
            "floor": VELOCITY_FLOOR,
        }
        order = epoch_indices(
            self.images.labels, C, recipe.per_class, seed=recipe.seed, epoch=epoch
        ).to(self.pixels.device)
        tally = Tally(C, self.pixels.device)
        self.model.temperature = temperature
        for number, rows in enumerate(order):
            neurons, labels = self._batch(rows), self.labels[rows]
            gradient, outcome = self._gradient(neurons, labels)
            update(self.kernel, self.memories, self.velocity, gradient, rule)
            tally.add(outcome.activity, outcome.predicted, labels, outcome.objective)
            for callback in self.callbacks:
                callback.on_batch(epoch, number)
        record = EpochRecord(
            epoch=epoch,
            **tally.summary(),
            test_error=self._test_error(),
            temperature=temperature,
            learning_rate=rule["lr"],
            dead_memories=self._dead_memories(neurons),
            seconds=time.perf_counter() - start,
        )
        self.records.append(record)
        if folder is not None:
            append_record(folder.records, record)
            folder.save(Checkpoint(epoch + 1, self.memories, self.velocity))
        return record

    def _gradient(self, neurons: Tensor, labels: Tensor) -> tuple[Tensor, Outcome]:
        """dC/dxi of a batch, and what it looked like."""
        model, m = self.model, self.recipe.loss_power
        if not isinstance(model, DenseAM):
            return network_gradient(model, neurons, labels, m)
        return objective_gradient(
            self.kernel, neurons, labels, self.memories, power=model.power,
            temperature=model.temperature, loss_power=m, n_classes=model.n_classes,
        )  # fmt: skip

    def _batch(self, rows: Tensor) -> Tensor:
        """Images of these rows as neurons, (B, N + C): class neurons are 0.

        The visible ones, in [-1, 1], are as ``ImageSet.visible`` makes them.
        """
        drawn = self.pixels.index_select(0, rows)
        neurons = self.memories.new_zeros(len(rows), self.memories.shape[1])
        visible = neurons[:, : drawn.shape[1]]
        visible.copy_(drawn)
        if drawn.dtype is torch.uint8:
            visible.div_(127.5).sub_(1)
        if self.recipe.binarised:
            visible.copy_(binarise(visible))
        return neurons

    def _test_error(self) -> float | None:
        if self.test is None:
            return None
        predicted = predict_images(self.classifier, self.test)
        return float((predicted.cpu() != self.test.labels).double().mean())

    def _dead_memories(self, neurons: Tensor) -> int:
        """How many memories are active for no image of a batch and no class."""
        if isinstance(self.model, RBFNetwork):
            return 0  # a Gaussian is never quite 0
        overlaps = self.kernel.overlaps(neurons, self.memories)
        if not isinstance(self.model, DenseAM):
            return int((overlaps.amax(dim=1) <= 0).sum())
        classes = self.model.class_memories.detach()
        shift = (2 * classes.amax(dim=1)).clamp(min=0) - classes.sum(dim=1)
        return int((overlaps.amax(dim=1) + shift <= 0).sum())

    def _warn(self, message: str) -> None:
        for callback in self.callbacks:
            callback.on_warning(message)
        warnings.warn(message, DenseAMWarning, stacklevel=4)


def initial_model(recipe: Recipe, images: ImageSet, device: torch.device) -> Classifier:
    """The network of a recipe before its first epoch."""
    dtype = getattr(torch, recipe.dtype)
    if recipe.network == NearestNeighbour.kind:
        return NearestNeighbour.of(images, dtype=dtype).to(device)
    model = NETWORKS[recipe.network](
        images.n_visible, images.n_classes, recipe.n_memories, recipe.power, recipe.temperature,
        seed=recipe.seed, dtype=dtype, device=device,
    )  # fmt: skip
    if isinstance(model, RBFNetwork):
        model.at_images(images.visible(dtype), images.labels, seed=recipe.seed)
    return model


def _kernel(recipe: Recipe, device: torch.device) -> Kernel:
    """The back end for a recipe on a device.

    Raises:
        InputError: for 8-bit products where the C kernels do not run.
    """
    choice = choose(device, getattr(torch, recipe.dtype))
    if recipe.products == "full":
        return choice.kernel
    if choice.kernel.name != "cpu":
        raise InputError(f"8-bit products need the C kernels on the CPU: {choice.reason}")
    return by_name("8-bit")
