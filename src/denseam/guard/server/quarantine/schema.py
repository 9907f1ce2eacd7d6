"""The table of the quarantine, and how its databases are reached."""

import datetime as dt
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from denseam.errors import DataUnavailableError, FileFormatError, InputError, MissingPackageError

__all__ = [
    "ITEMS",
    "VERSION",
    "VERSIONS",
    "check_file",
    "create",
    "engine_of",
    "sqlite_path",
    "url_of",
]

VERSION = 1
_MAGIC = b"SQLite format 3\0"


class _Utc(sa.TypeDecorator[dt.datetime]):
    """A time in UTC; SQLite forgets the zone."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        return value.replace(tzinfo=value.tzinfo or dt.UTC).astimezone(dt.UTC)


_metadata = sa.MetaData()

ITEMS = sa.Table(
    "denseam_quarantine",
    _metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("received_at", _Utc, nullable=False),
    sa.Column("model", sa.String(64), nullable=False),
    sa.Column("n_classes", sa.Integer),
    sa.Column("source", sa.String(128)),
    sa.Column("request_id", sa.String(128), nullable=False),
    sa.Column("address", sa.String(128)),
    sa.Column("key", sa.String(64)),
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("score", sa.Double),
    sa.Column("p_value", sa.Double, nullable=False),
    sa.Column("detector_label", sa.Integer, nullable=False),
    sa.Column("dtype", sa.String(16), nullable=False),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("width", sa.Integer, nullable=False),
    sa.Column("pixels", sa.LargeBinary, nullable=False),
    sa.Column("label", sa.Integer),
    sa.Column("reviewed_at", _Utc),
    sa.Index("denseam_quarantine_by_time", "received_at", "id"),
)

VERSIONS = sa.Table(
    "denseam_quarantine_version", _metadata, sa.Column("version", sa.Integer, primary_key=True)
)


def url_of(database: str) -> sa.URL:
    """The URL of a path, or of what is one already.

    Raises:
        InputError: for another kind of database.
        MissingPackageError: for PostgreSQL without its driver.
    """
    if "://" not in database:
        return sa.URL.create("sqlite+pysqlite", database=database)
    try:
        url = sa.make_url(database)
    except sa.exc.ArgumentError as error:
        raise InputError("the URL of the database cannot be read") from error  # it has a password
    match url.get_backend_name():
        case "sqlite" if url.database:
            return url.set(drivername="sqlite+pysqlite")
        case "postgresql" | "postgres":
            _check_driver()
            return url.set(drivername="postgresql+psycopg")
    raise InputError(
        f"a database of kind {url.drivername!r}: wanted a path or a sqlite:/// URL of a file, or a "
        "postgresql:// URL"
    )


def sqlite_path(url: sa.URL) -> Path | None:
    """The file of an SQLite database; None for another."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def engine_of(url: sa.URL, seconds: float) -> sa.Engine:
    """An engine that gives up on a database that does not answer within some seconds."""
    path = sqlite_path(url)
    if path is None:
        milliseconds = int(1000 * seconds)
        arguments = {
            "connect_timeout": max(2, int(seconds)),
            "tcp_user_timeout": milliseconds,
            "client_encoding": "utf8",
            "options": f"-c lock_timeout={milliseconds} -c statement_timeout={5 * milliseconds}",
        }
        return sa.create_engine(
            url, connect_args=arguments, pool_size=2, max_overflow=2, pool_pre_ping=True,
            hide_parameters=True,
        )  # fmt: skip

    def connect() -> sqlite3.Connection:
        # mode=rw: a file that has gone is not made anew, and its loss is noticed.
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True,
                                     timeout=seconds, check_same_thread=False)  # fmt: skip
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    return sa.create_engine(url, creator=connect, poolclass=NullPool, hide_parameters=True)


def create(engine: sa.Engine, *, new: bool) -> None:
    """Make the tables where they are not there yet; with ``new`` the file too.

    Raises:
        DataUnavailableError: when the folder of an SQLite file is not there.
        FileFormatError: with ``new``, when the file is there, and no SQLite database.
        InputError: for a database that a newer denseam has made, or that cannot hold any text.
    """
    path = sqlite_path(engine.url)
    if new and path is not None:
        check_file(path)
    with engine.begin() as connection:
        if path is not None:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")  # readers hold up no writer
        else:
            # Several servers may start at once.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7209170321)")
            encoding = connection.scalar(sa.text("SHOW server_encoding"))
            if encoding not in (
                "UTF8",
                "SQL_ASCII",
            ):  # others cannot hold any text
                raise InputError(f"the database holds text in {encoding}: wanted UTF8")
        _metadata.create_all(connection)
        found = connection.scalar(sa.select(sa.func.max(VERSIONS.c.version)))
        if found is None:
            connection.execute(VERSIONS.insert().values(version=VERSION))
        elif found > VERSION:
            raise InputError(
                f"the quarantine has version {found}, this denseam knows up to {VERSION}: "
                "install a newer one"
            )


def check_file(path: Path) -> None:
    """Make an SQLite file that is not there; one that is has to be one.

    Raises:
        DataUnavailableError: when its folder is not there.
        FileFormatError: when it is no SQLite database.
    """
    if not path.parent.is_dir():
        raise DataUnavailableError(f"there is no folder {path.parent} for the database")
    if not path.exists():
        path.touch(mode=0o600)
        return
    begin = b""
    if path.is_file():
        with path.open("rb") as file:
            begin = file.read(len(_MAGIC))
    if path.is_dir() or begin not in (b"", _MAGIC):
        raise FileFormatError(
            f"{path} is no SQLite database: wanted one, or a name that is not taken"
        )


def _check_driver() -> None:
    try:
        import psycopg  # noqa: F401, PLC0415 (an extra)
    except ImportError as error:
        raise MissingPackageError(
            "PostgreSQL needs psycopg: pip install 'denseam[postgresql]'"
        ) from error
