"""The entrance of every attack: a model and images, checked, flat, and worked on in chunks."""

import copy
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor, nn

from denseam.checks import whole
from denseam.classifier import Classifier
from denseam.data.validate import check_labels, check_visible
from denseam.descent.heads import Head, head_of
from denseam.descent.loop import OnStep, Step
from denseam.descent.result import Descended, DescentResult, Distances, codes_to_stops, join
from denseam.errors import InputError
from denseam.fronts import Front
from denseam.heads import check_deterministic, check_repeatable

__all__ = ["Batch", "Progress", "check_deterministic", "check_images", "in_chunks"]

Progress = Callable[[int, int], None]
"""Called with the number of images done and the number of all images."""

Result = TypeVar("Result")


class Batch:
    """Images under attack, checked and flat, and the scores that their model gives them.

    Attributes:
        flat: (B, N) in [-1, 1].
        shape: of one image as the model takes it.
        head: log-energies (logits of other modules) of flat images, or energy gaps.
        clip: whether results are kept in [-1, 1].
    """

    def __init__(
        self,
        model: nn.Module,
        visible: Tensor,  # (B, ...) in [-1, 1]
        *,
        log_energy: bool,
        clip: bool = True,
        chunk: int = 1000,
        on_progress: Progress | None = None,
    ) -> None:
        self._chunk, self._on_progress = whole("chunk", chunk), on_progress
        check_images(model, visible)
        self._model, self.clip = model, clip
        self.shape, self.flat = visible.shape[1:], visible.flatten(1)
        self._clean = self.flat
        self.head = head_of(model, self.shape, log_energy=log_energy)
        self._known = isinstance(model, Classifier) and isinstance(
            model.front, nn.Identity | Front
        )  # then it computes the same whenever it is asked
        if not self._known:
            self._check_module()

    def __len__(self) -> int:
        return len(self.flat)

    @cached_property
    def n_classes(self) -> int:
        """C, by the scores of the first image."""
        return self.head(self.flat[:1]).values.shape[1]

    @cached_property
    def scores(self) -> Tensor:
        """Scores (B, C) of the images."""
        return self._scores_of(self._clean)

    def _check_module(self) -> None:
        """Raise InputError for a module that answers by chance, or by the rest of a batch."""
        alone, others = self._clean[:1], self._clean[1:]
        again = [self._scores_of(images) for images in (alone, others) if len(images)]
        check_repeatable(self.scores, torch.cat(again), self._clean.dtype)

    def _scores_of(self, images: Tensor) -> Tensor:
        return in_chunks(lambda rows: self.head(images[rows]).values, len(images), self._chunk)

    def exact_head(self, exact: nn.Module | None, *, log_energy: bool) -> Head:
        """Return a head of the model in float64: of ``exact``, or of a copy."""
        model = copy.deepcopy(self._model).double() if exact is None else exact
        return head_of(model, self.shape, log_energy=log_energy)

    def check_labels(self, labels: Tensor) -> None:
        """Raise InputError unless there is a class (B,) for each image, and no score is NaN.

        NaN is no label, although it is one of all that are not an image's class.
        """
        if not self._known and bool((lost := self.scores.isnan().any(dim=1)).any()):
            raise InputError(
                f"the module's logits are NaN for {int(lost.sum())} of {len(self)} images"
            )
        check_labels(labels, self.n_classes, len(self))

    def in_chunks(self, run: Callable[[slice], Result]) -> Result:
        """Run over consecutive rows, report progress, join the results."""
        result = in_chunks(run, len(self), self._chunk, self._on_progress)
        if not self._known:  # chance may show in later calls only
            self._check_module()
        return result

    def watched(self, rows: slice, on_step: OnStep | None) -> OnStep | None:
        """Return a callback for the steps of a chunk: its rows count from the whole batch.

        Images that have stopped are reported as done.
        """
        on_progress = self._on_progress
        if on_step is None and on_progress is None:
            return None

        def watch(step: Step) -> None:
            if on_step is not None:
                on_step(Step(step.number, step.rows + rows.start, step.images, step.scores))
            if on_progress is not None:
                on_progress(rows.stop - len(step.rows), len(self))

        return watch

    def result(
        self,
        start: Tensor,  # (A, N), the images of a chunk
        end: Descended,
        labels: Tensor,
        targets: Tensor,
        success: Tensor,
    ) -> DescentResult:
        """Return the result of a chunk, in the shape that the images came in."""
        return DescentResult(
            self.unflat(end.images), labels, targets, success,
            Distances.between(start, end.images), end.steps, codes_to_stops(end.codes), self.clip,
        )  # fmt: skip

    def unflat(self, images: Tensor) -> Tensor:
        """Return images (A, N) in the shape that the batch came in."""
        return images.reshape(-1, *self.shape)


def in_chunks(
    run: Callable[[slice], Result], count: int, chunk: int, on_progress: Progress | None = None
) -> Result:
    """Run over consecutive slices of ``chunk`` images and join the results."""
    results = []
    for start in range(0, count, chunk):
        stop = min(start + chunk, count)
        results.append(run(slice(start, stop)))
        if on_progress is not None:
            on_progress(stop, count)
    joined: Result = join(results)
    return joined


def check_images(model: nn.Module, visible: Tensor) -> None:
    """Raise InputError for images (B, ...) that the model cannot take, or one that is training.

    Images must be there, in [-1, 1], of the model's dtype and on its device.
    """
    if isinstance(model, Classifier) or not isinstance(visible, Tensor) or visible.ndim < 2:
        n_visible = model.n_inputs if isinstance(model, Classifier) else 1
        check_visible(visible, n_visible, allow_empty=False)
    else:
        check_visible(visible.flatten(1), visible[0].numel(), allow_empty=False)
    weight = next(model.parameters(), None)
    if weight is not None and (visible.dtype != weight.dtype or visible.device != weight.device):
        raise InputError(
            f"images are {visible.dtype} on {visible.device}, the model {weight.dtype} on "
            f"{weight.device}: convert one with .to()"
        )
    check_deterministic(model)
