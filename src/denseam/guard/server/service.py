"""A guard with all that serves it: models, quarantine, limits, counters."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from denseam.errors import AnswerError, InputError
from denseam.guard import Guard, Verdicts
from denseam.guard.server.answers import Ready
from denseam.guard.server.batching import Batcher
from denseam.guard.server.metrics import Metrics
from denseam.guard.server.quarantine import DatabaseAwayError, Keeper, Spool, Store
from denseam.guard.server.receiving import Bodies
from denseam.guard.server.refusals import RefusedError
from denseam.guard.server.settings import Settings

T = TypeVar("T")

_ASIDE = 16  # questions besides inference that may wait


class Service:
    """The parts that the routes use, started and stopped together.

    Args:
        guard: a calibrated one.
        settings: of the server.

    Raises:
        InputError: for a guard that is not calibrated, or a database of another kind or version.
        DataUnavailableError: when the folder of an SQLite file is not there.
        FileFormatError: when that file is no SQLite database.
        MissingPackageError: when the driver of the database is not installed.
        SaveError: when the folder of the journal cannot be made.
    """

    def __init__(self, guard: Guard, settings: Settings) -> None:
        if not guard.calibrated:
            raise InputError("the guard is not calibrated: call calibrate(clean images) first")
        self.guard, self.settings = guard, settings
        self.metrics, self.bodies = Metrics(), Bodies(settings)
        self.keeper = _keeper(settings, self.metrics) if settings.database else None
        self.batcher = Batcher(
            self._verdicts, max_batch=settings.max_batch, max_wait=settings.max_wait,
            queue=settings.queue, deadline=settings.deadline,
            workers=settings.workers, threads=settings.threads, prompt=guard.prompt,
            prepare=guard.prepare, observe=self.metrics.passed,
        )  # fmt: skip
        self._aside = ThreadPoolExecutor(
            1, "aside", initializer=torch.set_num_threads, initargs=(settings.threads,)
        )
        self._n_aside = 0
        self._add_gauges()

    async def start(self) -> None:
        """Start the threads; wait for the models, if nothing but their own work can delay them."""
        if self.keeper is not None:
            self.keeper.start()
        self.batcher.start()
        if self.guard.prompt:
            await self.batcher.prepared()

    async def stop(self) -> None:
        """Finish what was accepted, and move what can be moved to the database."""
        await self.batcher.stop()
        self._aside.shutdown()
        if self.keeper is not None:
            await self.keeper.stop()

    async def aside(self, work: Callable[[], T]) -> T:
        """Do something slow in a separate thread.

        Raises:
            RefusedError: 429 when too much waits for it.
        """
        if self._n_aside >= _ASIDE:
            raise RefusedError.busy("aside_full", "too many such questions wait: come back")
        self._n_aside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._aside, work)
        finally:
            self._n_aside -= 1

    def readiness(self) -> Ready:
        """Say that it can infer, and how the quarantine is; its database holds up no inference."""
        if self.keeper is None:
            return Ready(True, "none", 0)
        away = self.keeper.away is not None
        return Ready(True, "database_away" if away else "ok", self.keeper.spool.n_items)

    def _verdicts(self, images: Tensor) -> Verdicts:
        """Ask the guard; the request has been checked, so an error is no fault of the client."""
        try:
            return self.guard.predict(images)
        except InputError as error:
            raise AnswerError(str(error)) from error

    def _add_gauges(self) -> None:
        gauge = self.metrics.gauge
        gauge("images_under_way", "Images between request and verdict.",
              lambda: self.batcher.under_way)  # fmt: skip
        if (keeper := self.keeper) is None:
            return
        gauge("quarantine_waiting_items", "Items not yet in the database.",
              lambda: keeper.spool.n_items)  # fmt: skip
        gauge("quarantine_waiting_bytes", "Bytes of the journal.", lambda: keeper.spool.n_bytes)
        gauge("quarantine_database_up", "Whether the database takes items.",
              lambda: keeper.away is None)  # fmt: skip


def _keeper(settings: Settings, metrics: Metrics) -> Keeper:
    store = Store(settings.database or "")
    with contextlib.suppress(DatabaseAwayError):
        store.check_file()  # before a journal is made beside it
    beside = "quarantine.spool" if store.path is None else f"{store.path}.spool"
    keeper = Keeper(
        store,
        Spool(Path(settings.spool or beside), settings.spool_bytes),
        retention_days=settings.retention_days,
        retention_count=settings.retention_count,
        stored=metrics.stored,
    )
    keeper.reach()
    return keeper
