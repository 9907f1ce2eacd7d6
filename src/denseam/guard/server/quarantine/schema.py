"""The table of the quarantine, and how its databases are reached."""

import datetime as dt
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import inspect
from sqlalchemy.pool import NullPool

from denseam.errors import DataUnavailableError, FileFormatError, InputError, MissingPackageError
from denseam.guard.server.quarantine.items import Item

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


_TYPES: dict[type, Any] = {
    inspect.UUIDType: sa.Uuid, inspect.DateTimeType: _Utc, inspect.IntType: sa.Integer,
    inspect.FloatType: sa.Double, inspect.BytesType: sa.LargeBinary,
}  # fmt: skip


def _column(name: str, kind: Any) -> sa.Column[Any]:
    """Return the column of a field; only a field that may be None may be null."""
    options = [kind]
    if isinstance(kind, inspect.UnionType):
        options = [each for each in kind.types if not isinstance(each, inspect.NoneType)]
    of = options[0].type if isinstance(options[0], inspect.Metadata) else options[0]
    sql = sa.String(of.max_length) if isinstance(of, inspect.StrType) else _TYPES[type(of)]
    return sa.Column(name, sql, nullable=options != [kind], primary_key=name == "id")


_metadata = sa.MetaData()

ITEMS = sa.Table(
    "denseam_quarantine",
    _metadata,
    *(_column(field.name, inspect.type_info(field.type)) for field in msgspec.structs.fields(Item)),
    sa.Index("denseam_quarantine_by_time", "received_at", "id"),
)

VERSIONS = sa.Table(
    "denseam_quarantine_version", _metadata, sa.Column("version", sa.Integer, primary_key=True)
)


def url_of(database: str) -> sa.URL:
    """Return the URL of a path, or of a URL's text.

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


def engine_of(url: sa.URL, path: Path | None, seconds: float) -> sa.Engine:
    """Return an engine that gives up on a database without an answer after some seconds.

    Args:
        url: of the database.
        path: its file; None for PostgreSQL.
        seconds: for a lock or a connection.
    """
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
        # mode=rw: SQLite does not make a file that has vanished, so its loss is noticed.
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True,
                                     timeout=seconds, check_same_thread=False)  # fmt: skip
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    return sa.create_engine(url, creator=connect, poolclass=NullPool, hide_parameters=True)


def create(engine: sa.Engine, path: Path | None) -> None:
    """Make the tables where they are not there yet.

    Args:
        engine: of the database.
        path: its file; None for PostgreSQL.

    Raises:
        InputError: for a database that a newer denseam has made, or that cannot hold any text.
    """
    with engine.begin() as connection:
        if path is not None:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")  # readers hold up no writer
        else:
            # Several servers may start at once.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7209170321)")
            encoding = connection.scalar(sa.text("SHOW server_encoding"))
            if encoding not in ("UTF8", "SQL_ASCII"):  # others cannot hold any text
                raise InputError(f"the database holds text in {encoding}: wanted UTF8")
        _metadata.create_all(connection)
        version = connection.scalar(sa.select(sa.func.max(VERSIONS.c.version)))
        if version is None:
            connection.execute(VERSIONS.insert().values(version=VERSION))
        elif version > VERSION:
            raise InputError(
                f"the quarantine has version {version}, this denseam knows up to {VERSION}: "
                "install a newer one"
            )


def check_file(path: Path) -> None:
    """Check an SQLite file; make it where it is not there.

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
