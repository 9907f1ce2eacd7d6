"""Callbacks of a training run: the interface, and the TensorBoard writer."""

from pathlib import Path
from typing import Any

from denseam.errors import MissingPackageError, SaveError
from denseam.training.recipe import Recipe
from denseam.training.records import EpochRecord

__all__ = ["Callback", "TensorBoard"]


class Callback:
    """A base class of callbacks, which do nothing. One that raises ends the run, resumably."""

    def on_start(self, recipe: Recipe, records: list[EpochRecord], batches: int) -> None:
        """Run before the first epoch, with earlier records and the number of batches per epoch."""

    def on_batch(self, epoch: int, batch: int) -> None:
        """Run after every update; keep it cheap."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Run after every epoch that is kept; ``train`` says when it is on the disk."""

    def on_warning(self, message: str) -> None:
        """Run when training seems to go wrong; the message says what to change."""

    def on_end(self) -> None:
        """Run when training ends, for whatever reason."""


class TensorBoard(Callback):
    """A callback that writes the records as TensorBoard scalars into a folder.

    Raises:
        MissingPackageError: when the package ``tensorboard`` is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            import tensorboard  # noqa: F401, PLC0415
        except ImportError as error:
            raise MissingPackageError(
                "TensorBoard is not installed: pip install 'denseam[tensorboard]'"
            ) from error
        self._folder = folder
        self._writer: Any = None  # a SummaryWriter, which is not typed

    def on_start(self, recipe: Recipe, records: list[EpochRecord], batches: int) -> None:
        del recipe, records, batches
        # Not earlier: the run could have been refused, and the folder be another run's.
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415

        try:
            self._writer = SummaryWriter(str(self._folder))
        except OSError as error:
            reason = error.strerror or error
            raise SaveError(f"{self._folder} could not be written: {reason}") from error

    def on_epoch(self, record: EpochRecord) -> None:
        if self._writer is None:
            return
        for name, value in record.to_json().items():
            if isinstance(value, int | float) and name != "epoch":
                self._writer.add_scalar(name, value, record.epoch)

    def on_end(self) -> None:
        if self._writer is not None:
            self._writer.close()
