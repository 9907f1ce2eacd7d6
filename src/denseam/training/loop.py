"""The training loop: epochs of class-balanced minibatches, records, checkpoints."""

import math
import time
import warnings
from collections.abc import Iterable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor, nn

from denseam.baselines import NETWORKS
from denseam.classifier import Classifier, check_device
from denseam.data import Dataset, Examples
from denseam.data.validate import check_every_class_present
from denseam.errors import DenseAMWarning, InputError
from denseam.evaluation import check_fit
from denseam.fronts import Convolutional, learns
from denseam.mesh import Mesh
from denseam.precision import in_full_precision
from denseam.showing import Drawn, Shown, Tabular
from denseam.trained_on import TrainedOn
from denseam.training import environment
from denseam.training.bar import ProgressBar, watched
from denseam.training.batches import BatchRule
from denseam.training.callbacks import Callback
from denseam.training.health import REPEATS, SHORTER, HealthCheck, diverged
from denseam.training.keeping import Keeping
from denseam.training.learner import Learner
from denseam.training.recipe import Recipe
from denseam.training.records import EpochRecord
from denseam.training.runs import RunFolder
from denseam.training.scale import front_of, unit_temperature
from denseam.training.shipped import held_out

__all__ = ["TrainResult", "train"]


@dataclass(frozen=True, repr=False)
class TrainResult(Shown, Drawn, Tabular):
    """The result of a training run.

    Attributes:
        model: a DenseAM, unless the recipe names another network.
        recipe: of the run.
        records: one for each epoch.
        out: the run folder; None without one.
    """

    _figure: ClassVar[str] = "training"

    model: Classifier
    recipe: Recipe
    records: list[EpochRecord]
    out: Path | None

    @property
    def kept_epoch(self) -> int | None:
        """Epoch whose memories the model has, from 0; None if none was trained."""
        errors = [record.held_out_error for record in self.records]
        if not errors or errors[0] is None:
            return len(errors) - 1 if errors else None
        return min(range(len(errors)), key=lambda epoch: errors[epoch] or 0.0)

    def _summary(self) -> str:
        errors = ""
        if self.records:
            last = self.records[-1]
            errors = f", training error {100 * last.train_error:.2f} %"
            if last.test_error is not None:
                errors += f", test error {100 * last.test_error:.2f} %"
        where = "" if self.out is None else f", in {self.out}"
        return f"{self.model}, {len(self.records)} epochs{errors}{where}"

    def _columns(self) -> dict[str, list[Any]]:
        rows = [record.to_json() for record in self.records]
        return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


@in_full_precision
def train(
    recipe: Recipe,
    images: Examples | Dataset,
    out: str | Path | None = None,
    resume: bool = True,
    callbacks: Iterable[Callback] = (),
    *,
    test: Examples | None = None,
    device: torch.device | str = "cpu",
    mesh: Mesh | None = None,
    front: nn.Module | None = None,
    batch: BatchRule | None = None,
    start: Classifier | None = None,
    progress: bool | None = None,
) -> TrainResult:
    """Train a network by the procedure of NIPS16, appendix A: a ``DenseAM``, by default.

    With ``out``, another call with the same arguments continues where the last call was stopped,
    and reaches the same bits as an uninterrupted run with as many threads. Every epoch is written
    before the next begins. If epochs are so quick that writing would take more than a tenth of the
    time, some wait: a killed process loses at most ten times the duration of one write.

    Args:
        recipe: how to train, such as ``Recipe.paper(20)``.
        images: the training images; a ``Dataset`` brings its test images too.
        out: run folder; made where it does not exist. Without it nothing is written.
        resume: continue a run in ``out``; if False, such a run is an error.
        callbacks: called after every batch and epoch, and for warnings; see ``Callback``.
        test: images to measure the test error on after every epoch, that of the average if the
            recipe has one.
        device: where to train.
        mesh: the processes that share the work, see ``denseam.mesh.start``; all of them make the
            same call, each with its copy of the images. The first one writes the folder, calls the
            callbacks and returns the whole model; if memories are divided, the others return
            models with their memories only.
        front: a module before the memories, see ``denseam.fronts``; it is saved with the model.
        batch: a callable that changes every batch before its gradient, for augmentation or
            adversarial training: ``batch(model, inputs, labels)`` with inputs (B, N) before the
            front and labels (B,) returns inputs, or (inputs, labels), possibly more of them. It
            gets ``seed``, ``epoch`` and ``batch`` (its number) if it has such keywords.
            PyTorch's random numbers are seeded from them during the call, so that a run without
            other sources of randomness resumes to the same bits. ``training.Adversarial`` is one;
            a recipe with ``adversarial`` brings its own.
        start: a network to begin from, in the place of random memories; of the recipe's kind,
            power and number of memories.
        progress: show a line with epoch, errors and time left; by default in a terminal and in a
            notebook, and not where the output goes into a file or a pipe.

    Raises:
        InputError: for images that cannot be trained on, such as a class without examples; for a
            device that is not there; for a mesh that divides what cannot be divided; if training
            diverges, after the diverged epoch, which is not saved.
        LostRankError: when another process of the mesh has died.
        RunFolderError: when ``out`` belongs to another recipe or other data, or is in use.
        FileFormatError: when the checkpoint in ``out`` is damaged.
        SaveError: when the disk is full; the last checkpoint is still there.

    >>> from denseam.data import ImageSet
    >>> dots = torch.eye(4).reshape(4, 2, 2).repeat(25, 1, 1)
    >>> images = ImageSet(dots, torch.arange(100) % 4, n_classes=4, name="dots")
    >>> recipe = Recipe.paper(3, epochs=20, n_memories=40, per_class=5, learning_rate=0.02)
    >>> result = train(recipe.replace(temperature=10.0), images)
    >>> len(result.records)
    20
    """
    if isinstance(images, Dataset):
        test = images.test if test is None else test
        images = images.train
    if not isinstance(recipe, Recipe):
        raise InputError(f"recipe: wanted a Recipe, got {type(recipe).__name__}")
    if not isinstance(images, Examples):
        raise InputError(
            f"images: wanted an ImageSet or a Dataset, got {type(images).__name__}; rows of "
            "numbers are a FeatureSet"
        )
    if not isinstance(test, type(images) | None):
        kind = type(images).__name__
        article = "an" if kind == "ImageSet" else "a"
        raise InputError(f"test: wanted {article} {kind}, got {type(test).__name__}")
    whole = images
    images, chosen_by = held_out(recipe, images)
    check_every_class_present(images.labels, images.n_classes)
    mesh = mesh or Mesh()
    batch = recipe.batch_rule(images.input_shape) if batch is None else batch
    for tested in (test, chosen_by):
        _check_divisible(recipe, images, tested, mesh, batch)
    device = check_device(mesh.device if mesh.size > 1 else device)
    folder = RunFolder(Path(out)) if out is not None and mesh.first else None
    front = front_of(recipe, images) if front is None else front
    if front is not None and learns(front):
        front = deepcopy(front)
    learner = Learner(recipe, images, device, mesh, front=front, batch=batch, start=start)
    shown = [ProgressBar()] if (watched() if progress is None else progress) else []
    keeping = Keeping(learner, folder, kept=out is not None)
    run = _Run(learner, test, chosen_by, [*shown, *callbacks], keeping)
    with folder.locked() if folder is not None else nullcontext():
        return run.finish(whole, resume=resume)


class _Run:
    """The state of one call of ``train``."""

    def __init__(
        self,
        learner: Learner,
        test: Examples | None,
        held_out: Examples | None,
        callbacks: list[Callback],
        keeping: Keeping,
    ) -> None:
        if test is not None:
            check_fit(learner.model, test)
        self.learner, self.recipe, self.keeping = learner, learner.recipe, keeping
        self.test, self.held_out = test, held_out
        self.callbacks = callbacks if learner.mesh.first else []

    def finish(self, images: Examples, *, resume: bool) -> TrainResult:
        """Train the remaining epochs and return the result; nearest neighbours have none."""
        recipe, learner = self.recipe, self.learner
        before = self.keeping.claim(images, resume=resume)
        learner.kernel = environment.kernel_as_before(learner.kernel, before)
        records = self.keeping.load()
        here = environment.describe(learner.memories.device, learner.kernel, learner.mesh)
        changes = environment.changes(before, here)
        if changes:
            self._warn(
                f"going on with another {', '.join(changes)} than the run began with: the result "
                "will be as good, but not the same to the bit"
            )
        if learner.model.learns:
            self._train(records)
            learner.model.temperature = recipe.temperature_at(recipe.epochs - 1)
        if recipe.front == Convolutional.name:
            learner.ship()
            learner.model.temperature = unit_temperature(learner.model, learner.images, recipe.seed)
        learner.classifier.trained_on = _trained_on(learner.images)
        self.keeping.finish()
        folder = self.keeping.folder
        return TrainResult(learner.classifier, recipe, records, folder.path if folder else None)

    def _train(self, records: list[EpochRecord]) -> None:
        """Train the remaining epochs, and append their records."""
        recipe, learner = self.recipe, self.learner
        health = HealthCheck(recipe)
        for record in records:
            health.look(record)  # so that earlier warnings are not repeated
        if records:
            learner.mended(records[-1].step_factor or 1.0, records[-1].logit_scale)
            learner.shipped.least = min(each.held_out_error or 0.0 for each in records)
        try:
            for callback in self.callbacks:
                callback.on_start(recipe, records, learner.batches)
            for epoch in range(len(records), recipe.epochs):
                if health.lost and learner.logit_scale is None:
                    learner.mended(learner.step_factor, learner.scale_of_leads())
                records.append(self._epoch(epoch))
                for message in health.look(records[-1]):
                    self._warn(message, depth=1)
                for callback in self.callbacks:
                    callback.on_epoch(records[-1])
        finally:
            try:
                self.keeping.write_waiting()
            finally:
                for callback in self.callbacks:
                    callback.on_end()

    def _epoch(self, epoch: int) -> EpochRecord:
        start, learner = time.perf_counter(), self.learner
        sums, neurons = self._finite_epoch(epoch)
        record = EpochRecord(
            epoch=epoch,
            **sums,
            test_error=None if self.test is None else learner.error(self.test),
            temperature=learner.model.temperature,
            learning_rate=learner.learning_rate_at(epoch),
            dead_memories=learner.dead_memories(neurons),
            attack=learner.attack(epoch),
            seconds=time.perf_counter() - start,
            step_factor=None if learner.step_factor == 1 else learner.step_factor,
            logit_scale=learner.logit_scale,
            held_out_error=learner.compare(self.held_out),
        )
        self.keeping.keep(record)
        return record

    def _finite_epoch(self, epoch: int) -> tuple[dict[str, Any], Tensor]:
        """Train an epoch, with shorter steps where numbers do not stay finite."""
        learner = self.learner
        before, whole_step = learner.state(), learner.step_factor
        while True:
            tally, neurons = learner.epoch(epoch, lambda number: self._tell(epoch, number))
            sums = tally.summary(learner.mesh.data)
            bad = learner.not_finite()
            bad += [] if math.isfinite(sums["objective"]) else ["objective"]
            if not bad:
                break
            if learner.step_factor <= whole_step * SHORTER**REPEATS:
                self._diverged(epoch, bad[0])
            learner.restore(before)
            learner.mended(learner.step_factor * SHORTER, learner.logit_scale)
        if learner.step_factor < whole_step:
            self._warn(
                f"epoch {epoch + 1}: numbers were not finite; repeated, with steps of "
                f"{learner.step_factor:g} of the recipe's from here on",
                depth=3,
            )
        return sums, neurons

    def _diverged(self, epoch: int, what: str) -> NoReturn:
        """Raise InputError for training that has diverged, on all processes alike."""
        message, folder = diverged(self.recipe, epoch, what), self.keeping.folder
        if folder is not None and epoch > 0:
            message += f"; the checkpoint of epoch {epoch} stays in {folder.path}"
        raise InputError(message)

    def _tell(self, epoch: int, number: int) -> None:
        for callback in self.callbacks:
            callback.on_batch(epoch, number)

    def _warn(self, message: str, depth: int = 0) -> None:
        """Warn at the user's call of ``train``, ``depth`` calls above ``finish``."""
        if not self.learner.mesh.first:
            return
        for callback in self.callbacks:
            callback.on_warning(message)
        warnings.warn(message, DenseAMWarning, stacklevel=5 + depth)


def _trained_on(examples: Examples) -> TrainedOn:
    """Return what a model's file says of its training set."""
    features = tuple(getattr(examples, "feature_names", ()))
    return TrainedOn(examples.name, examples.input_shape, examples.class_names, features)


def _check_divisible(
    recipe: Recipe,
    images: Examples,
    test: Examples | None,
    mesh: Mesh,
    batch: BatchRule | None,
) -> None:
    """Raise InputError where the mesh has too many processes for batches, tests or memories."""
    D, M = mesh.data.size, mesh.memory.size
    size = recipe.per_class * images.n_classes
    if size < D:
        raise InputError(f"batches of {size} images among {D} data ranks: wanted one for each")
    if test is not None and len(test) < D:
        raise InputError(f"{len(test)} test images among {D} data ranks: wanted one for each")
    if M > 1 and not NETWORKS[recipe.network].dense:
        able = " or ".join(name for name, network in NETWORKS.items() if network.dense)
        raise InputError(f"memory_ranks = {M}: only the memories of {able} can be divided")
    if M > 1 and recipe.front == Convolutional.name:
        raise InputError(f"memory_ranks = {M}: a front that learns needs a model with all memories")
    if M > 1 and batch is not None:
        raise InputError(f"memory_ranks = {M}: a batch callable needs a model with all memories")
    if recipe.n_memories < M:
        raise InputError(f"{recipe.n_memories} memories among {M} memory ranks: too few")
