"""Live progress bars, on a terminal only."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    track,
)

from denseam.cli.common import percent, stderr
from denseam.training import Callback, EpochRecord, Recipe

__all__ = ["TrainingBar", "counted", "images_bar", "parts_bar"]

T = TypeVar("T")


def _progress(*columns: ProgressColumn, transient: bool = True) -> Progress:
    """Return a display of these columns, the time spent and the time left."""
    return Progress(
        *columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        console=stderr, transient=transient, disable=not stderr.is_terminal,
    )  # fmt: skip


def counted(items: Iterable[T], what: str) -> Iterable[T]:
    """Yield the items below a bar that counts them."""
    hidden = not stderr.is_terminal
    return track(list(items), what, console=stderr, disable=hidden, transient=True)


@contextlib.contextmanager
def images_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar that is called with the number of images done and of all images."""
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("images")
    with _progress(*columns) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextlib.contextmanager
def parts_bar(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar that is called with the part in work, the number done and of all parts."""
    columns = TextColumn(what), BarColumn(), TextColumn("{task.description}")
    with _progress(*columns) as progress:
        task = progress.add_task("", total=None)
        yield lambda part, done, total: progress.update(
            task, description=part, completed=done, total=total
        )


class TrainingBar(Callback):
    """A bar with epoch, errors and time left on a terminal; only the warnings elsewhere."""

    def __init__(self) -> None:
        self._progress = _progress(
            TextColumn("n = {task.fields[power]:g}  epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn("{task.fields[errors]}"),
            transient=False,
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
        stderr.print(f"warning: {message}")

    def on_end(self) -> None:
        self._progress.stop()


def _errors(record: EpochRecord) -> str:
    test = "" if record.test_error is None else f"  test {percent(record.test_error)}"
    return f"train {percent(record.train_error)}{test}"
