"""One JSON object a line on the standard error.

A separate thread makes and writes the lines, many at a time, so that a busy server is not
interrupted for each. A reader that stops reading holds up no request: beyond a thousand waiting
records new ones are dropped, and counted in the next line that is written.
"""

import contextlib
import datetime as dt
import logging
import logging.handlers
import sys
import time
from collections.abc import Iterator
from queue import Full, Queue
from typing import Any

import msgspec

LEVELS = ("debug", "info", "warning", "error")

_WAITING = 1000  # records
_BUNDLE = 0.02  # seconds
_CLOSE = 2.0  # seconds for the last lines to be read
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class _Lines(logging.StreamHandler[Any]):
    """A handler that writes lines of JSON; a stream that is gone is no error."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            return self._line(record)
        except Exception as error:  # noqa: BLE001 (of anything that was logged; the other lines go on)
            said = {"level": "error", "event": "a line could not be made", "error": ascii(error)}
            return msgspec.json.encode({**said, "of": record.name}).decode()

    def _line(self, record: logging.LogRecord) -> str:
        when = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _USUAL}
        if record.exc_info:
            line["error"] = logging.Formatter().formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the standard library's)
        pass


class _Queue(logging.handlers.QueueHandler):
    """A handler that never waits, and counts the records for which there is no room."""

    _dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # the listener's thread makes the line

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._dropped:
            record.dropped = self._dropped
        try:
            self.queue.put_nowait(record)
        except Full:
            self._dropped += 1
        else:
            self._dropped = 0


class _Listener(logging.handlers.QueueListener):
    """A thread that waits a moment for more records when the first of a bundle has come."""

    queue: Queue[Any]

    def dequeue(self, block: bool) -> logging.LogRecord:
        idle = self.queue.empty()
        record: logging.LogRecord = self.queue.get(block)
        if idle:
            time.sleep(_BUNDLE)
        return record

    def stop(self) -> None:
        """Write what waits; give up on a reader that has stopped."""
        with contextlib.suppress(Full):
            self.queue.put(self._sentinel, timeout=_CLOSE)  # type: ignore[attr-defined]
        if self._thread is not None:
            self._thread.join(_CLOSE)


@contextlib.contextmanager
def logging_as_json(level: str) -> Iterator[None]:
    """Write the server's log to the standard error while the block runs."""
    handler = _Queue(Queue(_WAITING))
    listener = _Listener(handler.queue, _Lines(sys.stderr))
    listener.start()
    loggers = [logging.getLogger(name) for name in ("denseam.guard.server", "uvicorn")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level.upper())
        logger.propagate = False
    # Its own lines, of which ours are the better version.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
        listener.stop()
