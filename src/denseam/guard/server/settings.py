"""Settings of a server."""

import ipaddress
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from denseam.checks import number, whole
from denseam.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HOST = re.compile(r"([A-Za-z0-9_.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")
_DAY, _MANY, _BYTES = 86_400, 2**31 - 1, 2**40
_RANGES: dict[str, tuple[Any, Any]] = {
    "port": (0, 65_535), "spool_bytes": (0, _BYTES), "retention_days": (0, 36_500),
    "retention_count": (0, _MANY), "max_batch": (1, _MANY), "max_wait": (0, 60),
    "queue": (1, _MANY), "deadline": (0.001, _DAY), "max_body": (1024, _BYTES),
    "max_bodies": (1024, _BYTES), "max_connections": (1, _MANY), "receive_seconds": (0.001, _DAY),
    "shutdown_seconds": (1, _DAY), "workers": (1, 1024), "threads": (1, 1024),
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Options of a server; they survive JSON.

    Attributes:
        name: of the model, in paths such as ``/v2/models/NAME/infer``.
        host: the address to listen on.
        allowed_hosts: other names that requests and pages may come by, such as a proxy's; with a
            port where it is not that of http or https.
        port: 0 for any free one.
        database: of the quarantine: a path (SQLite), or a URL of SQLite or PostgreSQL; None, or
            "none" on the command line, for no quarantine.
        spool: the folder of the journal before the database; None puts it beside an SQLite file,
            and into ``quarantine.spool`` otherwise.
        spool_bytes: the journal's limit.
        retention_days: unlabelled items are deleted after so many days; 0 keeps them.
        retention_count: the newest unlabelled items that are kept; 0 keeps all.
        api_key_file: lines of a name, a space and a key; None asks for no key.
        allow_anonymous: serve anybody who can reach the address, without keys.
        max_batch: images in one request, and in one pass through the models.
        max_wait: seconds that a busy server waits for more images to join a pass.
        queue: images that may be under way at once; a request beyond is answered 429.
        deadline: seconds after which a request that still waits for the models is answered 429.
        max_body: bytes of one request.
        max_bodies: bytes of all requests that are being received.
        max_connections: a connection beyond is closed.
        receive_seconds: for the head of a request, and again for its body.
        shutdown_seconds: for requests under way when the server is asked to stop.
        workers: passes through the models at once; 1 for a classifier that one thread at a time
            may ask.
        threads: of one pass through the models.

    Raises:
        InputError: for values that cannot be.
    """

    name: str = "guard"
    host: str = "127.0.0.1"
    port: int = 8080
    allowed_hosts: tuple[str, ...] = ()
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
        for field in fields(self):
            if (name := field.name) in _RANGES:
                least, most = _RANGES[name]
                check = whole if isinstance(field.default, int) else number
                value = check(name, getattr(self, name), least=least, most=most)
                object.__setattr__(self, name, value)
        whole("queue", self.queue, self.max_batch)
        whole("max_bodies", self.max_bodies, self.max_body)
        hosts = self.allowed_hosts
        if isinstance(hosts, str) or not all(_HOST.fullmatch(host) for host in hosts):
            raise InputError(
                f"allowed_hosts = {hosts!r}: wanted names such as guard.example or "
                "guard.example:8443"
            )
        object.__setattr__(self, "allowed_hosts", tuple(hosts))  # JSON has lists
        if not (self.loopback or self.api_key_file or self.allow_anonymous):
            raise InputError(
                f"host = {self.host!r} can be reached from other machines: wanted an API key "
                "file (--api-key-file), or --allow-anonymous to let anybody ask"
            )

    @property
    def called(self) -> str:
        """Return the host as it stands in a URL."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def loopback(self) -> bool:
        """Return whether only this machine can reach the server."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, for ``from_json``."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the settings of ``to_json``.

        Raises:
            InputError: for a field that does not exist.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(value) - known):
            raise InputError(f"settings {', '.join(unknown)}: wanted some of {', '.join(known)}")
        return cls(**value)
