"""Who may ask: API keys, the names that the server is called by, and other people's web pages."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from denseam.errors import DataUnavailableError, InputError
from denseam.guard.server.refusals import RefusedError

__all__ = ["Access", "read_keys"]

_LINE = re.compile(r"([A-Za-z0-9_.-]{1,64}) +([\x21-\x7e]{16,256})")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PORT = re.compile(r":\d*$")


def read_keys(path: Path) -> dict[str, bytes]:
    """SHA-256 of the keys in a file, by name.

    A line is a name, a space and a key of 16 to 256 printable characters; one that begins with #
    is not looked at.

    Raises:
        DataUnavailableError: when the file cannot be read.
        InputError: for another line, a name that comes twice, or no key at all.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataUnavailableError(f"the API keys in {path} cannot be read: {error}") from error
    keys: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None or found[1] in keys:
            raise InputError(
                f"{path}, line {number}: wanted a new name, a space, and a key of 16 to 256 "
                "printable characters"
            )
        keys[found[1]] = _digest(found[2])
    if not keys:
        raise InputError(f"{path} holds no API key")
    return keys


class Access:
    """Decides by the head of a request.

    Args:
        keys: SHA-256 by name; empty when none is asked for.
        called: the name that is listened on, where only this machine can reach the server. It is
            then to be called that, localhost, 127.0.0.1 or [::1], so that no web page can reach it
            by a name of its own (DNS rebinding). None where any name will do.
        allowed: other names, such as a proxy's, that requests and pages may come by.
    """

    def __init__(
        self, keys: Mapping[str, bytes], *, called: str | None, allowed: Iterable[str] = ()
    ) -> None:
        self._keys = keys
        self._allowed = frozenset(name.lower() for name in allowed)
        self._names: frozenset[str] | None = None
        if called is not None:
            others = {_PORT.sub("", name) for name in self._allowed}
            self._names = _LOOPBACK | {called.lower()} | others

    def check_place(self, headers: Mapping[str, str]) -> None:
        """Refuse names that are not the server's, and the pages of others.

        Raises:
            RefusedError: 403.
        """
        host = headers.get("host", "").lower()
        if self._names is not None and _PORT.sub("", host) not in self._names:
            wanted = ", ".join(sorted(self._names))
            raise RefusedError(403, "host", f"Host {host[:64]!r}: wanted one of {wanted}")
        origin = headers.get("origin")
        if origin is None:
            return
        page = origin.lower().partition("://")[2]
        if page != host and page not in self._allowed:
            raise RefusedError(
                403, "origin", f"Origin {origin[:64]!r}: only this server's own page may"
            )

    def key_name(self, headers: Mapping[str, str]) -> str | None:
        """Whose key a request carries; None where none is asked for.

        Raises:
            RefusedError: 401 without one of the keys.
        """
        if not self._keys:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        digest = _digest(given.strip()) if scheme.lower() == "bearer" else b""
        # All of them, whichever fits: how long it takes tells nothing.
        fitting = [name for name, key in self._keys.items() if hmac.compare_digest(key, digest)]
        if not fitting:
            challenge = {"www-authenticate": "Bearer"}
            raise RefusedError(401, "key", "wanted: Authorization: Bearer KEY", challenge)
        return fitting[0]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
