"""The database of the quarantine."""

import contextlib
import datetime as dt
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from denseam.errors import DenseAMError, InputError
from denseam.guard.server.quarantine import schema
from denseam.guard.server.quarantine.items import Item
from denseam.guard.server.quarantine.schema import ITEMS

_MOST = 2**31 - 1  # items of a list
_ROWS = 500  # of one insertion, or of one export's step


class DatabaseAwayError(DenseAMError):
    """The database cannot be used now: it is locked, full, or away."""


class Store:
    """Items in an SQLite file, or in PostgreSQL.

    Each method raises ``DatabaseAwayError`` when the database cannot be used now.

    Args:
        database: a path, or a URL.
        seconds: the longest wait for a lock, or an answer.

    Raises:
        InputError: for another kind of database.
        MissingPackageError: when its driver is not installed.
    """

    def __init__(self, database: str, *, seconds: float = 2.0) -> None:
        url = schema.url_of(database)
        self.name = url.render_as_string(hide_password=True)
        self.path = (
            Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None
        )
        self._engine = schema.engine_of(url, self.path, seconds)
        self._insert = sqlite.insert if self.path is not None else postgresql.insert

    def check_file(self) -> None:
        """Check an SQLite file; make it where it is not there.

        Raises:
            DataUnavailableError: when its folder is not there.
            FileFormatError: when it is no SQLite database.
        """
        if self.path is not None:
            with self._reached():
                schema.check_file(self.path)

    def create(self, *, new: bool) -> None:
        """Make the table where there is none yet.

        Args:
            new: whether to make an SQLite file that is not there. A server does so when it starts;
                a file that vanishes later may come back, with a volume say.

        Raises:
            DataUnavailableError: when the folder of the file is not there.
            FileFormatError: with ``new``, when the file is there, and no SQLite database.
            InputError: for a database that a newer denseam has made.
        """
        if new:
            self.check_file()
        with self._reached():
            schema.create(self._engine, self.path)

    def ping(self) -> None:
        """Ask for one item."""
        with self._connection() as connection:
            connection.execute(sa.select(ITEMS.c.id).limit(1)).first()

    def add(self, items: Sequence[Item]) -> None:
        """Store items; one whose id is there stays as it is, with its label."""
        rows = [msgspec.structs.asdict(item) for item in items]
        with self._reached():
            before = self._inode()
            with self._engine.begin() as connection:
                for start in range(0, len(rows), _ROWS):
                    new = self._insert(ITEMS).on_conflict_do_nothing(index_elements=["id"])
                    connection.execute(new, rows[start : start + _ROWS])
            # What was committed to a file that has lost its name is lost with it.
            if self._inode() != before:
                raise DatabaseAwayError(f"{self.name} was replaced")

    def get(self, item: uuid.UUID) -> Item | None:
        """Return an item, or None."""
        with self._connection() as connection:
            rows = connection.execute(sa.select(ITEMS).where(ITEMS.c.id == item))
            row = rows.mappings().first()
        return None if row is None else Item(**row)

    def starting_with(self, digits: str, limit: int = 3) -> Sequence[uuid.UUID]:
        """Return the first ids that begin with some hexadecimal digits, 1 to 32 of them."""
        low, high = uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))
        query = sa.select(ITEMS.c.id).where(ITEMS.c.id.between(low, high)).limit(limit)
        with self._connection() as connection:
            return connection.scalars(query).all()

    def list(
        self,
        *,
        limit: int = 50,
        before: uuid.UUID | None = None,
        labelled: bool | None = None,
        reason: str | None = None,
    ) -> list[Item]:
        """Return items, the newest first.

        Args:
            limit: the most items, 1 to 2147483647.
            before: only items after this one in the list.
            labelled: only items with a label, or without.
            reason: only items set aside for it.

        Raises:
            InputError: for a limit that is none.
        """
        if not 1 <= limit <= _MOST:
            raise InputError(f"limit = {limit}: wanted 1 to {_MOST} items")
        query = sa.select(ITEMS).order_by(ITEMS.c.received_at.desc(), ITEMS.c.id.desc())
        query = query.where(*_conditions(labelled, reason)).limit(limit)
        if before is not None:
            last = sa.select(ITEMS.c.received_at).where(ITEMS.c.id == before).scalar_subquery()
            query = query.where(
                (ITEMS.c.received_at < last)
                | ((ITEMS.c.received_at == last) & (ITEMS.c.id < before))
            )
        with self._connection() as connection:
            return [Item(**row) for row in connection.execute(query).mappings()]

    def count(self, *, labelled: bool | None = None, reason: str | None = None) -> int:
        """Count the items of a kind."""
        query = sa.select(sa.func.count()).select_from(ITEMS)
        with self._connection() as connection:
            return int(connection.scalar(query.where(*_conditions(labelled, reason))) or 0)

    def label(self, item: uuid.UUID, label: int | None) -> Item | None:
        """Note a reviewer's label, -1 for junk; None takes it back. Return the item, or None.

        Raises:
            InputError: for a label that is no class.
        """
        known = self.get(item)
        if known is None:
            return None
        high = "" if known.n_classes is None else f" to {known.n_classes - 1}"
        if label is not None and not -1 <= label < (known.n_classes or 1 << 31):
            raise InputError(f"label {label}: wanted a class 0{high}, or -1 for junk")
        now = None if label is None else dt.datetime.now(dt.UTC)
        change = sa.update(ITEMS).where(ITEMS.c.id == item).values(label=label, reviewed_at=now)
        with self._connection() as connection:
            connection.execute(change)
        return self.get(item)

    def delete(self, items: Sequence[uuid.UUID]) -> int:
        """Delete items, labelled or not; return how many there were."""
        with self._connection() as connection:
            return connection.execute(sa.delete(ITEMS).where(ITEMS.c.id.in_(items))).rowcount

    def retain(self, *, days: float, count: int) -> int:
        """Delete unlabelled items older than so many days, or beyond the newest so many.

        Args:
            days: 0 for no limit.
            count: 0 for no limit.

        Returns:
            The number of deleted items.
        """
        limits: list[sa.ColumnElement[bool]] = []
        if days:
            oldest = dt.datetime.now(dt.UTC) - dt.timedelta(days=days)
            limits.append(ITEMS.c.received_at < oldest)
        if count:
            newest = sa.select(ITEMS.c.id).where(ITEMS.c.label.is_(None))
            newest = newest.order_by(ITEMS.c.received_at.desc(), ITEMS.c.id.desc()).limit(count)
            limits.append(ITEMS.c.id.not_in(newest))
        if not limits:
            return 0
        old = sa.delete(ITEMS).where(ITEMS.c.label.is_(None), sa.or_(*limits))
        with self._connection() as connection:
            return connection.execute(old).rowcount

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        """A connection whose changes are committed when the block ends."""
        with self._reached(), self._engine.begin() as connection:
            yield connection

    @contextlib.contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:
            if isinstance(error, DenseAMError):
                raise
            reason = str(getattr(error, "orig", None) or error).strip().split("\n", 1)[0]
            raise DatabaseAwayError(f"{self.name}: {reason}") from error

    def _inode(self) -> Any:
        return None if self.path is None else self.path.stat().st_ino


def _conditions(labelled: bool | None, reason: str | None) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if labelled is not None:
        conditions.append(ITEMS.c.label.is_not(None) if labelled else ITEMS.c.label.is_(None))
    if reason is not None:
        conditions.append(ITEMS.c.reason == reason)
    return conditions
