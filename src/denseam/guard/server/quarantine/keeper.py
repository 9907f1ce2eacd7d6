"""Items go into the journal at once, and into the database soon after."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from denseam.errors import DenseAMError, SaveError
from denseam.guard.server.quarantine.items import Item
from denseam.guard.server.quarantine.spool import Spool
from denseam.guard.server.quarantine.store import DatabaseAwayError, Store

_log = logging.getLogger(__name__)

_PAUSE = 0.2  # seconds between two moves, so that there is something to move
_LOOK = 5.0  # seconds between two looks at an idle database
_LONGEST = 5.0  # seconds between two tries of a database that is away
_TIDY = 600.0  # seconds between two deletions of old items


class Keeper:
    """A journal, a database, and the thread that moves items from one to the other.

    Args:
        store: the database.
        spool: the journal.
        retention_days, retention_count: as in ``Settings``.
        stored: called with the number of items that were moved.

    Attributes:
        away: the reason why the database cannot be used now; None while it can.
    """

    def __init__(
        self,
        store: Store,
        spool: Spool,
        *,
        retention_days: float,
        retention_count: int,
        stored: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self.store, self.spool = store, spool
        self._days, self._count, self._stored = retention_days, retention_count, stored
        self.away: str | None = "not reached yet"
        self._pending: list[tuple[Sequence[Item], asyncio.Future[bool]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._writer = ThreadPoolExecutor(1, "journal")
        self._stirred = threading.Event()
        self._closing = threading.Event()
        self._tidied = -_TIDY
        self._logged = False
        self._mover = threading.Thread(target=self._move_on, name="quarantine", daemon=True)

    def reach(self) -> None:
        """Make the tables; a database that is away is no error.

        Raises:
            DataUnavailableError, FileFormatError, InputError: as ``Store.create``.
        """
        self.spool.files()  # counts what waits
        self._try(lambda: self.store.create(new=True))

    def start(self) -> None:
        """Start to move items."""
        self._mover.start()

    async def stop(self) -> None:
        """Move what can be moved; the rest stays in the journal for the next server."""
        if self._writing is not None:
            await self._writing
        self._closing.set()
        self._stirred.set()
        await asyncio.to_thread(self._mover.join)
        self._writer.shutdown()
        self.spool.close()
        self.store.close()

    async def keep(self, items: Sequence[Item]) -> bool:
        """Write items to the journal, all of one moment together; return whether that worked."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pending.append((items, done))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await done

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while self._pending:
            group, self._pending = self._pending, []
            together = [item for items, _ in group for item in items]
            try:
                await loop.run_in_executor(self._writer, self.spool.append, together)
                kept = True
            except Exception as error:  # noqa: BLE001 (or a request would wait forever)
                kept = False
                _log.error(
                    "not kept: %s", error, extra={"images": len(together)},
                    exc_info=None if isinstance(error, SaveError) else error,
                )  # fmt: skip
            self._stirred.set()
            for _, done in group:
                if not done.done():
                    done.set_result(kept)
        self._writing = None

    def _move_on(self) -> None:
        """Move, look and tidy until it is closed; wait longer while the database is away."""
        pause = _PAUSE
        while not self._closing.is_set():
            if self.away is None:
                self._stirred.wait(_LOOK)
                self._stirred.clear()
            pause = _PAUSE if self._went_on() else min(2 * pause, _LONGEST)
            self._closing.wait(pause)
        self._went_on()

    def _went_on(self) -> bool:
        """Move items; return whether that worked. No error ends the thread."""
        try:
            return self._try(self._once)
        except Exception as error:  # noqa: BLE001 (or nothing would be moved until a restart)
            reason = f"{type(error).__name__}: {error}"
            if self.away != reason:
                _log.exception("items cannot be moved")
            self.away, self._logged = reason, True
            return False

    def _once(self) -> None:
        if self.away is not None:
            self.store.create(new=False)
        files = self.spool.files()
        for path in files:
            self._move(path)
        if not files:
            self.store.ping()
        if time.monotonic() - self._tidied > _TIDY:
            self._tidied = time.monotonic()
            if deleted := self.store.retain(days=self._days, count=self._count):
                _log.info("old items deleted", extra={"items": deleted})

    def _move(self, path: Path) -> None:
        items, wrong = self.spool.read(path)
        if items:
            self.store.add(items)
        if wrong is None:
            self.spool.remove(path)
        else:
            _log.error("kept as %s: %s", self.spool.set_aside(path), wrong)
        self._stored(len(items))

    def _try(self, action: Callable[[], None]) -> bool:
        """Return whether the database could be used; log a change once."""
        try:
            action()
        except (DatabaseAwayError, OSError) as error:
            if isinstance(error, DenseAMError) and not isinstance(error, DatabaseAwayError):
                raise
            if self.away is None or not self._logged:
                _log.warning("the database is away: %s", error)
            self.away, self._logged = str(error), True
            return False
        if self.away is not None:
            _log.info("the database is there: %s", self.store.name)
        self.away = None
        return True
