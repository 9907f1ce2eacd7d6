"""Memories that a run makes its model: those of the last step, their average, or the best.

    average   an exponential moving average over steps that looks back some epochs
    best      of the epoch with the least error on held-out training images, clean or attacked

Both go into checkpoints, so that a resumed run ends in the same bits.
"""

from torch import Tensor

from denseam.data import Examples
from denseam.data.splits import split_rows
from denseam.training.recipe import Recipe

__all__ = ["Shipped", "held_out"]

_SHARE, _MOST = 0.1, 1000  # of the training images: held out, to keep the best epoch by


class Shipped:
    """Memories of a run that are tested, and become its model.

    Args:
        recipe: of the run.
        memories: of the learner, (K, N + C); they change in place.
        batches: of an epoch.

    Attributes:
        average: the moving average (K, N + C), or None.
        best: memories (K, N + C) of the best epoch so far, or None.
        least: the error of that epoch on the held-out images.
    """

    def __init__(self, recipe: Recipe, memories: Tensor, batches: int) -> None:
        self._memories, self._steps = memories, max(1.0, recipe.average * batches)
        self.average = memories.clone() if recipe.average else None
        self.best = memories.clone() if recipe.keep != "last" else None
        self.least = float("inf")

    @property
    def now(self) -> Tensor:
        """Memories that stand for the last epoch, (K, N + C)."""
        return self._memories if self.average is None else self.average

    @property
    def final(self) -> Tensor:
        """Memories that stand for the run, (K, N + C)."""
        return self.now if self.best is None else self.best

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint needs beside memories and velocity."""
        kept = {"average": self.average, "best": self.best}
        return {name: tensor for name, tensor in kept.items() if tensor is not None}

    def add(self, step: int) -> None:
        """Take the memories after a step, counted from 0 over all epochs, into the average.

        The first steps count alike: an average that began with random memories would keep them.
        """
        if self.average is not None:
            self.average.lerp_(self._memories, max(1 / (step + 1), 1 / self._steps))

    def compare(self, error: float) -> None:
        """Keep the memories of the epoch if their error on the held-out images is the least."""
        if self.best is not None and error < self.least:
            self.least = error
            self.best.copy_(self.now)


def held_out(recipe: Recipe, images: Examples) -> tuple[Examples, Examples | None]:
    """Return the images to train on, and those to keep the best epoch by, if any."""
    if recipe.keep == "last":
        return images, None
    count = max(1, min(_MOST, round(_SHARE * len(images))))
    rows, others = split_rows(images.labels, images.n_classes, count, seed=0)
    return images.subset(rows), images.subset(others)
