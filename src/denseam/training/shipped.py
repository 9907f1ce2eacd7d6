"""What a run makes its model: the memories of the last step, their average, or the best.

So it is with what a front has learned.

    average   an exponential moving average over steps that looks back some epochs
    best      of the epoch with the least error on held-out training images, clean or attacked

Both go into checkpoints, so that a resumed run ends in the same bits.
"""

from collections.abc import Mapping

from torch import Tensor

from denseam.data import Examples
from denseam.data.splits import split_rows
from denseam.training.recipe import Recipe

__all__ = ["Shipped", "held_out"]

_SHARE, _MOST = 0.1, 1000  # of the training images: held out, to keep the best epoch by


class Shipped:
    """Memories of a run that are tested, and become its model, with what its front has learned.

    Args:
        recipe: of the run.
        trained: "memories" of the learner, (K, N + C), and others by name; they change in place.
        batches: of an epoch.

    Attributes:
        average: the moving averages by name, or None.
        best: those of the best epoch so far, or None.
        least: the error of that epoch on the held-out images.
    """

    def __init__(self, recipe: Recipe, trained: Mapping[str, Tensor], batches: int) -> None:
        self._trained, self._steps = dict(trained), max(1.0, recipe.average * batches)
        self.average = self._copies() if recipe.average else None
        self.best = self._copies() if recipe.keep != "last" else None
        self.least = float("inf")

    def _copies(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self._trained.items()}

    @property
    def now(self) -> dict[str, Tensor]:
        """Memories and others that stand for the last epoch."""
        return self._trained if self.average is None else self.average

    @property
    def final(self) -> dict[str, Tensor]:
        """Memories and others that stand for the run."""
        return self.now if self.best is None else self.best

    def tensors(self) -> dict[str, Tensor]:
        """Return what a checkpoint needs beside what is trained."""
        kept = {"average": self.average or {}, "best": self.best or {}}
        return {
            kind if name == "memories" else f"{kind}.{name}": tensor
            for kind, tensors in kept.items()
            for name, tensor in tensors.items()
        }

    def add(self, step: int) -> None:
        """Take the memories after a step, counted from 0 over all epochs, into the average.

        The first steps count alike: an average that began with random memories would keep them.
        """
        if self.average is not None:
            weight = max(1 / (step + 1), 1 / self._steps)
            for name, tensor in self.average.items():
                tensor.lerp_(self._trained[name], weight)

    def compare(self, error: float) -> None:
        """Keep the memories of the epoch if their error on the held-out images is the least."""
        if self.best is not None and error < self.least:
            self.least = error
            for name, tensor in self.best.items():
                tensor.copy_(self.now[name])


def held_out(recipe: Recipe, images: Examples) -> tuple[Examples, Examples | None]:
    """Return the images to train on, and those to keep the best epoch by, if any."""
    if recipe.keep == "last":
        return images, None
    count = max(1, min(_MOST, round(_SHARE * len(images))))
    rows, others = split_rows(images.labels, images.n_classes, count, seed=0)
    return images.subset(rows), images.subset(others)
