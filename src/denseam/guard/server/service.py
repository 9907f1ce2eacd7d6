"""A guard with all that serves it: models, quarantine, limits, counters."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from starlette.requests import Request
from torch import Tensor

from denseam.errors import AnswerError, InputError
from denseam.guard import Guard, Verdicts
from denseam.guard.server.batching import Batcher
from denseam.guard.server.gate import source_of
from denseam.guard.server.metrics import Metrics
from denseam.guard.server.protocol import BINARY, InferRequest, decode
from denseam.guard.server.quarantine import DatabaseAwayError, Keeper, Spool, Store, items_of
from denseam.guard.server.receiving import Bodies
from denseam.guard.server.refusals import RefusedError
from denseam.guard.server.settings import Settings

__all__ = ["Service"]

_ASIDE = 16  # questions beside inference that may wait


class Service:
    """Answers for a guard.

    Args:
        guard: a calibrated one.
        settings: how.

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
        self._gauges()

    def start(self) -> None:
        """Begin; from inside of the event loop."""
        if self.keeper is not None:
            self.keeper.start()
        self.batcher.start()

    async def stop(self) -> None:
        """Finish what was accepted, and move what can be moved to the database."""
        await self.batcher.stop()
        self._aside.shutdown()
        if self.keeper is not None:
            await self.keeper.stop()

    async def read(self, request: Request) -> tuple[InferRequest, Tensor]:
        """The inference in a body, and its images (B, H, W).

        Raises:
            RefusedError: when it is none, or there is no room.
        """
        if self.batcher.full:
            await self.bodies.discard(request)
            raise RefusedError.busy("queue_full", "too many images are under way: come back")
        body = await self.bodies.read(request)
        try:
            return decode(
                body, request.headers.get(BINARY), self.guard.n_visible, self.guard.image_shape,
                max_batch=self.settings.max_batch,
            )  # fmt: skip
        finally:
            self.bodies.release(len(body))

    async def judge(self, request: Request, images: Tensor) -> Verdicts:
        """Verdicts on images; the question is taken back when the client goes away meanwhile.

        Raises:
            RefusedError: when there is no room.
            AnswerError: when a member of the guard answers what cannot be used.
        """
        if not self.batcher.under_way:  # it is answered at once
            return await self.batcher.ask(images)
        answer = asyncio.create_task(self.batcher.ask(images))
        gone = asyncio.create_task(_gone(request))
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise RefusedError(400, "broken_off", "the client has gone")
            return answer.result()
        finally:
            for task in (answer, gone):
                task.cancel()

    async def set_aside(
        self, request: Request, asked: InferRequest, images: Tensor, verdicts: Verdicts
    ) -> tuple[list[str], bool]:
        """Put what was rejected into the quarantine; ids of all images, and whether it was kept."""
        ids = [""] * len(images)
        if self.keeper is None or not verdicts.n_rejected:
            return ids, True
        items = items_of(
            images, verdicts, source_of(request, asked.source),
            model=self.settings.name, n_classes=self.guard.n_classes,
        )  # fmt: skip
        kept = await self.keeper.keep(list(items.values()))
        self.metrics.kept(len(items), done=kept)
        if kept:
            for i, item in items.items():
                ids[i] = str(item.id)
        return ids, kept

    async def aside(self, what: Callable[[], Any]) -> Any:
        """Do something slow in a thread of its own.

        Raises:
            RefusedError: 429 when too much waits for it.
        """
        if self._n_aside >= _ASIDE:
            raise RefusedError.busy("aside_full", "too many such questions wait: come back")
        self._n_aside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._aside, what)
        finally:
            self._n_aside -= 1

    def readiness(self) -> dict[str, Any]:
        """What ``/v2/health/ready`` says: a database that is away holds up no inference."""
        if self.keeper is None:
            return {"ready": True, "quarantine": "none", "waiting": 0}
        spool, away = self.keeper.spool, self.keeper.away
        state = "database_away" if away else "ok"
        return {"ready": True, "quarantine": state, "waiting": spool.n_items}

    def _verdicts(self, images: Tensor) -> Verdicts:
        """Of images that were looked through: what is wrong now is no fault of the client."""
        try:
            return self.guard.predict(images)
        except InputError as error:
            raise AnswerError(str(error)) from error

    def _gauges(self) -> None:
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


async def _gone(request: Request) -> None:
    """Return when the client has gone; its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
