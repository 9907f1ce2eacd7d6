"""What a server is told when it starts."""

import ipaddress
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from denseam.errors import InputError

__all__ = ["Settings"]

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Settings:
    """How a guard is served; survives JSON.

    Attributes:
        name: of the model, in paths such as ``/v2/models/NAME/infer``.
        host: the address to listen on.
        port: 0 for any free one.
        database: of the quarantine: a path (SQLite), or a URL of SQLite or PostgreSQL; None to
            set junk aside nowhere.
        spool: the folder of the journal before the database; None puts it beside an SQLite file,
            and into ``quarantine.spool`` otherwise.
        spool_bytes: the journal's limit.
        retention_days: unlabelled items are deleted after so many days; 0 keeps them.
        retention_count: the newest unlabelled items that are kept; 0 keeps all.
        api_key_file: see ``access.read_keys``; None asks for no key.
        allow_anonymous: whether an address beyond this machine may be served without keys.
        max_batch: images in one request, and in one pass through the models.
        max_wait: seconds that a busy server waits for more images to join a pass.
        queue: images that may be under way at once; a request beyond is answered 429.
        deadline: seconds after which a request that still waits for the models is answered 429.
        max_body: bytes of one request.
        max_bodies: bytes of requests that are being received and worked on together.
        max_connections: a connection beyond is closed.
        receive_seconds: for the head of a request, and again for its body.
        shutdown_seconds: for requests under way when the server is told to stop.
        workers: passes through the models at once; 1 for a classifier that one thread at a time
            may ask.
        threads: of one pass through the models.

    Raises:
        InputError: for values that cannot be.
    """

    name: str = "guard"
    host: str = "127.0.0.1"
    port: int = 8080
    database: str | None = "quarantine.sqlite"
    spool: str | None = None
    spool_bytes: int = 256 << 20
    retention_days: float = 30.0
    retention_count: int = 100_000
    api_key_file: str | None = None
    allow_anonymous: bool = False
    max_batch: int = 256
    max_wait: float = 0.002
    queue: int = 1024
    deadline: float = 10.0
    max_body: int = 8 << 20
    max_bodies: int = 64 << 20
    max_connections: int = 4096
    receive_seconds: float = 10.0
    shutdown_seconds: int = 10
    workers: int = 2
    threads: int = 1

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InputError(f"name = {self.name!r}: wanted 1 to 64 letters, digits, or _ . -")
        lowest = {
            "port": 0, "spool_bytes": 0, "retention_days": 0, "retention_count": 0,
            "max_batch": 1, "max_wait": 0, "max_body": 1024, "max_connections": 1,
            "shutdown_seconds": 1, "workers": 1, "threads": 1, "queue": self.max_batch,
            "max_bodies": self.max_body,
        }  # fmt: skip
        for name, low in lowest.items():
            if not getattr(self, name) >= low:
                raise InputError(f"{name} = {getattr(self, name)!r}: wanted at least {low}")
        for name in ("deadline", "receive_seconds"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} = {getattr(self, name)!r}: wanted more than 0")
        if self.port > 65535:
            raise InputError(f"port = {self.port}: wanted at most 65535")
        if not (self.loopback or self.api_key_file or self.allow_anonymous):
            raise InputError(
                f"host = {self.host!r} can be reached from other machines: wanted an API key "
                "file, or to be told that anybody may ask"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for ``from_json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The settings of ``to_json``.

        Raises:
            InputError: for a field that there is not.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(value) - known):
            raise InputError(f"settings {', '.join(unknown)}: wanted some of {', '.join(known)}")
        return cls(**value)
