"""One JSON object a line on the standard error, written by a thread of its own.

A reader that stops reading holds up no request: beyond a thousand waiting lines new ones are
dropped, and counted in the next that is written.
"""

import contextlib
import datetime as dt
import logging
import logging.handlers
import queue
from collections.abc import Iterator
from typing import Any

import msgspec

__all__ = ["LEVELS", "logging_as_json"]

LEVELS = ("debug", "info", "warning", "error")

_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _USUAL}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class _Queue(logging.handlers.QueueHandler):
    """Never waits."""

    dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        if self.dropped:
            record.dropped = self.dropped
        try:
            super().enqueue(record)
            self.dropped = 0
        except queue.Full:
            self.dropped += 1


@contextlib.contextmanager
def logging_as_json(level: str) -> Iterator[None]:
    """While the block runs, the server's log goes to the standard error."""
    writer = logging.StreamHandler()
    writer.setFormatter(_Lines())
    handler = _Queue(queue.Queue(1000))
    listener = logging.handlers.QueueListener(handler.queue, writer)
    loggers = [logging.getLogger(name) for name in ("denseam.guard.server", "uvicorn")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(level.upper())
        logger.propagate = False
    # Its own lines, of which ours are the better version.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    listener.start()
    try:
        yield
    finally:
        listener.stop()
        for logger in loggers:
            logger.removeHandler(handler)
            logger.propagate = True
