"""Progress: bars on a terminal, elsewhere a plain line now and then.

Without a terminal the first line comes after ten seconds, and the longer the work takes, the
sparser they get: logs and pipes see that it goes on, and short commands say nothing.
"""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn

from denseam.cli.console import percent, stderr
from denseam.training import Callback, EpochRecord, Recipe

__all__ = ["Clock", "TrainingBar", "counted", "duration", "images_bar", "parts_bar"]

T = TypeVar("T")

_FIRST = 10.0  # seconds until the first line
_SPARSER = 0.1  # of the time so far: the least time between two lines
_NARROW = 80  # columns; below, a bar shows less


class Clock:
    """The time that some work has left, and whether a line about it is due.

    What is done first may be slower than the rest (memory is touched, programs are compiled): the
    pace is measured from the end of the first report on.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._start = self._said = now()
        self._first: tuple[float, float] | None = None
        self._done = self._total = 0.0

    def update(self, done: float, total: float) -> None:
        """Take note of how much is done."""
        self._done, self._total = done, total
        if self._first is None and done > 0:
            self._first = self._now(), done

    def left(self) -> float | None:
        """Return the seconds left; None when nothing is done yet."""
        if self._first is None:
            return None
        now, (since, done) = self._now(), self._first
        if self._done > done:
            pace = (now - since) / (self._done - done)
        else:
            pace = (since - self._start) / done
        return pace * (self._total - self._done)

    def due(self) -> bool:
        """Return whether to write a line now; if so, the next one is due later."""
        now = self._now()
        if now - self._said < max(_FIRST, _SPARSER * (now - self._start)):
            return False
        self._said = now
        return True

    def words(self) -> str:
        """Return the time left in words, with a comma in front; nothing where it is unknown."""
        left = self.left()
        return "" if left is None else f", about {duration(left)} left"


def duration(seconds: float) -> str:
    """Return a time in words: seconds below a minute and a half, then minutes, then hours."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _progress(*columns: ProgressColumn, transient: bool = True) -> Progress:
    """Return a display of these columns and of the time left."""
    return Progress(
        *columns, TextColumn("{task.fields[left]}"),
        console=stderr, transient=transient, disable=not stderr.is_terminal,
    )  # fmt: skip


def counted(items: Iterable[T], what: str) -> Iterator[T]:
    """Yield the items, and show how many are done."""
    everything = list(items)
    with parts_bar(what) as bar:
        for i, item in enumerate(everything):
            bar(f"{i + 1} of {len(everything)}", i, len(everything))
            yield item


@contextlib.contextmanager
def images_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Show progress that is called with the number of images done and of all images."""
    with parts_bar(what) as bar:
        yield lambda done, total: bar(f"{done} of {total} images", done, total)


@contextlib.contextmanager
def parts_bar(what: str) -> Iterator[Callable[[str, int, int], None]]:
    """Show progress that is called with the part in work, the number done and of all parts."""
    clock = Clock()
    with _progress(TextColumn(what), BarColumn(), TextColumn("{task.description}")) as progress:
        task = progress.add_task("", total=None, left="")

        def update(part: str, done: int, total: int) -> None:
            clock.update(done, total)
            left = clock.words()
            progress.update(task, description=part, completed=done, total=total, left=left[2:])
            if not stderr.is_terminal and clock.due():
                stderr.print(f"{what}: {part}{left}")

        yield update


class TrainingBar(Callback):
    """Epoch, errors and time left: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._progress = _progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[errors]}"),
            transient=False,
        )  # fmt: skip
        self._task: TaskID | None = None
        self._clock = Clock()
        self._power = 0.0
        self._epochs = self._done = self._batches = 0
        self._errors = ""

    def on_start(self, recipe: Recipe, records: list[EpochRecord], batches: int) -> None:
        self._clock = Clock()
        self._power, self._epochs, self._batches = recipe.power, recipe.epochs, batches
        self._done = len(records)
        self._errors = _errors(records[-1]) if records else ""
        total = (recipe.epochs - self._done) * batches
        self._task = self._progress.add_task(
            self._epoch(), total=total, errors=self._errors, left=""
        )
        self._total = total
        self._progress.start()

    def on_batch(self, epoch: int, batch: int) -> None:
        if self._task is None:
            return
        self._progress.update(self._task, advance=1, description=self._epoch())
        if not self._clock.left() and self._clock.due():  # an epoch that takes long
            self._say(f"{self._epoch()}, batch {batch + 1} of {self._batches}")

    def on_epoch(self, record: EpochRecord) -> None:
        if self._task is None:
            return
        self._errors, epoch = _errors(record), self._epoch()
        self._done += 1
        self._clock.update(self._total - (self._epochs - self._done) * self._batches, self._total)
        left = self._clock.words()
        self._progress.update(self._task, errors=self._errors, left=left[2:])
        if self._clock.due():
            self._say(f"{epoch}: {self._errors}{left}")

    def on_warning(self, message: str) -> None:
        stderr.print(f"warning: {message}")

    def on_end(self) -> None:
        self._progress.stop()

    def _epoch(self) -> str:
        return f"n = {self._power:g}  epoch {min(self._done + 1, self._epochs)}/{self._epochs}"

    @staticmethod
    def _say(line: str) -> None:
        if not stderr.is_terminal:
            stderr.print(line)


def _errors(record: EpochRecord) -> str:
    """Return the errors in words; of a narrow terminal the test error alone, where there is one."""
    train = f"train error {percent(record.train_error)}"
    if record.test_error is None:
        return train
    test = f"test error {percent(record.test_error)}"
    return test if stderr.is_terminal and stderr.width < _NARROW else f"{train}, {test}"
