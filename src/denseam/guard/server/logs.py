"""One JSON object a line on the standard error.

Lines are made and written by a thread of its own, in bundles, so that a busy server is not
interrupted for each. A reader that stops reading holds up no request: beyond a thousand waiting
lines new ones are dropped, and counted in the next that is written.
"""

import contextlib
import datetime as dt
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, TextIO

import msgspec

__all__ = ["LEVELS", "logging_as_json"]

LEVELS = ("debug", "info", "warning", "error")

_WAITING = 1000  # lines
_BUNDLE = 0.02  # seconds
_CLOSE = 2.0  # seconds for the last lines to be read
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line: dict[str, Any] = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _USUAL}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class _Bundles(logging.Handler):
    """Never waits for whoever reads the stream, but for a moment when it is closed."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.setFormatter(_Lines())
        self._stream, self._dropped, self._closed = stream, 0, False
        self._lines: deque[logging.LogRecord] = deque()
        self._some = threading.Event()
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._lines) >= _WAITING:
            self._dropped += 1
            return
        if self._dropped:
            record.dropped, self._dropped = self._dropped, 0
        self._lines.append(record)
        if not self._some.is_set():
            self._some.set()

    def close(self) -> None:
        self._closed = True
        self._some.set()
        self._writer.join(_CLOSE)
        super().close()

    def _line(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001 (of whatever is told; the other lines go on)
            told = {"level": "error", "event": "a line could not be made", "error": ascii(error)}
            return msgspec.json.encode({**told, "of": record.name}).decode()

    def _write(self) -> None:
        closing = False
        while not closing:
            self._some.wait()
            time.sleep(_BUNDLE)
            self._some.clear()  # before lines are taken: what comes meanwhile sets it again
            closing = self._closed  # before, too: then nothing comes any more
            bundle = [self._lines.popleft() for _ in range(len(self._lines))]
            text = "".join(f"{self._line(record)}\n" for record in bundle)
            with contextlib.suppress(OSError, ValueError):  # nobody is there to read
                self._stream.write(text)
                self._stream.flush()


@contextlib.contextmanager
def logging_as_json(level: str) -> Iterator[None]:
    """While the block runs, the server's log goes to the standard error."""
    handler = _Bundles(sys.stderr)
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
        handler.close()
