"""Live progress bars, on a terminal only."""

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import TimeRemainingColumn as TimeLeftColumn

from denseam.cli.common import percent, stderr
from denseam.training import Callback, EpochRecord, Recipe

__all__ = ["TrainingBar", "images_bar", "parts_bar"]


@contextlib.contextmanager
def images_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar to be told of images done and images in all."""
    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("images"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeLeftColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    ) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def parts_bar(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar to be told of what is being done, of parts done and parts in all."""
    with Progress(
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeLeftColumn(),
        console=stderr,
        transient=True,
        disable=not stderr.is_terminal,
    ) as progress:
        task = progress.add_task("", total=None)
        yield lambda doing, done, total: progress.update(
            task, description=doing, completed=done, total=total
        )


class TrainingBar(Callback):
    """Epoch, errors and time left, on a terminal; only the warnings elsewhere."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("n = {task.fields[power]:g}  epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.fields[errors]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeLeftColumn(),
            console=stderr,
            disable=not stderr.is_terminal,
        )
        self._task: TaskID | None = None
        self._epochs = 0

    def on_start(self, recipe: Recipe, records: list[EpochRecord], batches: int) -> None:
        self._epochs = recipe.epochs
        self._task = self._progress.add_task(
            "train",
            total=(recipe.epochs - len(records)) * batches,
            power=recipe.power,
            epoch=f"{len(records) + 1}/{recipe.epochs}",
            errors=_errors(records[-1]) if records else "",
        )
        self._progress.start()

    def on_batch(self, epoch: int, batch: int) -> None:
        del batch
        if self._task is not None:
            label = f"{epoch + 1}/{self._epochs}"
            self._progress.update(self._task, advance=1, epoch=label)

    def on_epoch(self, record: EpochRecord) -> None:
        if self._task is not None:
            self._progress.update(self._task, errors=_errors(record))

    def on_warning(self, message: str) -> None:
        stderr.print(f"warning: {message}", soft_wrap=True)

    def on_end(self) -> None:
        self._progress.stop()


def _errors(record: EpochRecord) -> str:
    test = "" if record.test_error is None else f"  test {percent(record.test_error)}"
    return f"train {percent(record.train_error)}{test}"
