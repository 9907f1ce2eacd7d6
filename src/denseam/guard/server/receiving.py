"""Bodies and connections that keep within limits of size and time."""

import asyncio
import contextlib
from typing import Any

from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from denseam.guard.server.refusals import RefusedError
from denseam.guard.server.settings import Settings

_HEAD_BYTES = 64 << 10
_PLAIN = ("", "identity")
_LISTENED = 4  # times the longest body, that are read of one that is refused


class Bodies:
    """Reads bodies, each within its limit, and all of them together within another.

    Args:
        settings: ``max_body``, ``max_bodies`` and ``receive_seconds``.
    """

    def __init__(self, settings: Settings) -> None:
        self._most, self._room = settings.max_body, settings.max_bodies
        self._seconds = settings.receive_seconds

    async def discard(self, request: Request) -> None:
        """Read the rest of a refused body: clients do not read the answer while they send.

        Time and length are limited; a body that says it is far too long is not read.
        """
        size = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                while size <= _LISTENED * self._most:
                    message = await request.receive()
                    size += len(message.get("body", b""))
                    if not message.get("more_body"):
                        return

    async def read(self, request: Request) -> bytes:
        """Return the whole body; ``release`` its length when it is no longer needed.

        Raises:
            RefusedError: 415 for one that is compressed, 413 for one that is too long, 408 for one
                that comes too slowly, 429 where too many bytes are under way; 400 for one that
                breaks off.
        """
        if (encoding := request.headers.get("content-encoding", "")).lower() not in _PLAIN:
            await self.discard(request)
            raise RefusedError(
                415, "encoding", f"Content-Encoding {encoding[:20]!r}: wanted none",
                {"accept-encoding": "identity"},
            )  # fmt: skip
        length = request.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 12 or int(length) > _LISTENED * self._most):
            raise self._beyond(size=True)
        parts: list[bytes] = []
        size, more = 0, False
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise RefusedError(400, "broken_off", "the body broke off")  # noqa: TRY301
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    self._room -= len(parts[-1])
                    more = bool(message.get("more_body"))
                    if size > self._most or self._room < 0:
                        raise self._beyond(size=size > self._most)  # noqa: TRY301
                    if not more:
                        break
        except TimeoutError:
            self.release(size)
            raise RefusedError(
                408, "slow_body", f"the body did not come within {self._seconds:g} s",
                {"connection": "close"},
            ) from None  # fmt: skip
        except BaseException as error:
            self.release(size)
            parts.clear()
            if isinstance(error, RefusedError) and more:
                await self.discard(request)
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def release(self, size: int) -> None:
        """Give back room for bytes that are no longer held."""
        self._room += size

    def _beyond(self, *, size: bool) -> RefusedError:
        if not size:
            many = "too many bytes are under way: come back"
            return RefusedError.busy("bodies_full", many, close=True)
        long = f"the body is longer than {self._most} bytes"
        return RefusedError(413, "too_long", long, {"connection": "close"})


class Connection(HttpToolsProtocol):
    """A connection that cannot be held open for nothing.

    uvicorn limits how long an idle connection is kept, but neither how slowly the head of a request
    may come, nor how long it is, nor how slowly an answer may be read.

    Attributes:
        seconds: for a head to come, and for an answer to be read.
        most: connections at once.
    """

    seconds = 10.0
    most = 4096
    _watch: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.abort()
        self._limit()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unlimit()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
            if self._watch is None:
                self._limit()
        super().data_received(data)
        # Once the head has ended, bytes of the body do not count.
        if self._in_head and self._head_bytes > _HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._unlimit()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        if not self.pipeline:  # otherwise the next head has been read
            self._in_head, self._head_bytes = True, 0
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._limit()

    def _limit(self) -> None:
        self._unlimit()
        self._watch = self.loop.call_later(self.seconds, self._cut)

    def _unlimit(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _cut(self) -> None:
        self._watch = None
        if self.transport.get_write_buffer_size() or self._in_head:
            self.transport.abort()


def connection_class(settings: Settings) -> type[Connection]:
    """Return a class of connections with the limits of the settings."""
    limits = {"seconds": settings.receive_seconds, "most": settings.max_connections}
    return type("Connection", (Connection,), limits)
