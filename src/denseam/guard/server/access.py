"""API keys, the names of the server, and other people's web pages."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from denseam.errors import DataUnavailableError, InputError
from denseam.guard.server.refusals import RefusedError

_LINE = re.compile(r"([A-Za-z0-9_.-]{1,64}) +([\x21-\x7e]{16,256})")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_PORT = re.compile(r":\d*$")


def read_keys(path: Path) -> dict[str, bytes]:
    """Return SHA-256 of the keys in a file, by name.

    A line is a name, a space and a key of 16 to 256 printable characters. Lines that begin with #
    are comments.

    Raises:
        DataUnavailableError: when the file cannot be read.
        InputError: for any other line, a name that is there twice, or no key at all.
    """
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataUnavailableError(f"the API keys in {path} cannot be read: {error}") from error
    keys: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match[1] in keys:
            raise InputError(
                f"{path}, line {number}: wanted a new name, a space, and a key of 16 to 256 "
                "printable characters"
            )
        keys[match[1]] = _digest(match[2])
    if not keys:
        raise InputError(f"{path} holds no API key")
    return keys


class Access:
    """A door that looks at the head of a request.

    Args:
        keys: SHA-256 by name; without any, no key is wanted.
        called: the host of a server that only this machine can reach. Requests then have to name
            it, localhost, 127.0.0.1 or [::1], so that no web page reaches the server by a name of
            its own (DNS rebinding). None allows any name.
        allowed: other names, such as a proxy's, that requests and pages may use.
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
        """Refuse other names than the server's, and other people's pages.

        Raises:
            RefusedError: 403.
        """
        host = headers.get("host", "").lower()
        if self._names is not None and _PORT.sub("", host) not in self._names:
            names = ", ".join(sorted(self._names))
            raise RefusedError(403, "host", f"Host {host[:64]!r}: wanted one of {names}")
        origin = headers.get("origin")
        if origin is None:
            return
        page = origin.lower().partition("://")[2]
        if page != host and page not in self._allowed:
            raise RefusedError(
                403, "origin", f"Origin {origin[:64]!r}: only this server's own page may"
            )

    def key_name(self, headers: Mapping[str, str]) -> str | None:
        """Return the name of a request's key; None where no key is wanted.

        Raises:
            RefusedError: 401 without one of the keys.
        """
        if not self._keys:
            return None
        scheme, _, key = headers.get("authorization", "").partition(" ")
        digest = _digest(key.strip()) if scheme.lower() == "bearer" else b""
        # Every key is compared, so that the time says nothing.
        names = [name for name, known in self._keys.items() if hmac.compare_digest(known, digest)]
        if not names:
            challenge = {"www-authenticate": "Bearer"}
            raise RefusedError(401, "key", "wanted: Authorization: Bearer KEY", challenge)
        return names[0]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
