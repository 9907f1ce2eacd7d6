"""A bar for `denseam.train` that needs nothing but the standard error: terminals and notebooks."""

import sys
import time
from typing import TextIO

from denseam.training.callbacks import Callback
from denseam.training.recipe import Recipe
from denseam.training.records import EpochRecord

__all__ = ["ProgressBar", "watched"]

_EVERY = 0.2  # seconds between two drawings
_WIDTH = 24  # of the bar, characters


class ProgressBar(Callback):
    """A callback that shows epoch, errors and the time left in one line, drawn again and again.

    ``denseam.train`` uses one by itself in a terminal and in a notebook.

    Args:
        stream: where to draw; the standard error by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._epochs = self._batches = self._done = self._before = 0
        self._errors, self._longest = "", 0
        self._start = self._drawn = 0.0

    def on_start(self, recipe: Recipe, records: list[EpochRecord], batches: int) -> None:
        self._epochs, self._batches = recipe.epochs, batches
        self._done = self._before = len(records) * batches
        self._errors = _errors(records[-1]) if records else ""
        self._start = time.monotonic()

    def on_batch(self, epoch: int, batch: int) -> None:
        self._done = epoch * self._batches + batch + 1
        if time.monotonic() - self._drawn >= _EVERY:
            self._draw()

    def on_epoch(self, record: EpochRecord) -> None:
        self._done, self._errors = (record.epoch + 1) * self._batches, _errors(record)
        self._draw()

    def on_end(self) -> None:
        if self._longest:
            self._draw()
            self._out.write("\n")

    @property
    def _out(self) -> TextIO:
        return self._stream or sys.stderr

    def _draw(self) -> None:
        now = self._drawn = time.monotonic()
        total, new = self._epochs * self._batches, self._done - self._before
        share = self._done / total if total else 1.0
        filled = round(_WIDTH * share)
        epoch = min(self._epochs, self._done // max(1, self._batches) + 1)
        spent = now - self._start
        left = "" if not new or share >= 1 else f", {spent / new * (total - self._done):.0f} s left"
        line = (
            f"epoch {epoch}/{self._epochs} [{'#' * filled}{'.' * (_WIDTH - filled)}]"
            f"{self._errors} {spent:.0f} s{left}"
        )
        self._longest = max(self._longest, len(line))
        self._out.write(f"\r{line:<{self._longest}}")
        self._out.flush()


def watched() -> bool:
    """Return whether somebody sees the standard error as it is written: a terminal, a notebook."""
    if sys.stderr is not None and sys.stderr.isatty():
        return True
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


def _errors(record: EpochRecord) -> str:
    test = "" if record.test_error is None else f", test error {100 * record.test_error:.2f} %"
    return f" training error {100 * record.train_error:.2f} %{test},"
