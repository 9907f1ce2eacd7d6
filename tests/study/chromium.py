"""Headless Chromium through a pipe: the DevTools protocol, no driver and no port.

Chromium reads requests from file descriptor 3 and writes answers and events to 4, each a JSON text
that ends in a zero byte (``--remote-debugging-pipe``).
"""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HOW_TO_INSTALL = "no Chromium here: apt-get install chromium (Debian), or any Chrome"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_SECONDS = 60.0


def find() -> str | None:
    """Where Chromium is, or None."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Browser:
    """One page, and what happened on it."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._numbers = itertools.count(1)
        self._buffer = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask for something and wait for its answer; events on the way are kept."""
        number = next(self._numbers)
        request = {"id": number, "method": method, "params": params}
        if self._session:
            request["sessionId"] = self._session
        self._process.stdin.write(json.dumps(request).encode() + b"\0")
        self._process.stdin.flush()
        while (message := self._receive()).get("id") != number:
            self.events.append(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def open(self, path: Path, *, width: int, media: str = "screen", scheme: str = "light") -> None:
        """Open a file in a window of this width and wait until all of it is there."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._receive())

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        done = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in done:
            raise RuntimeError(done["exceptionDetails"])
        return done["result"].get("value")

    def happened(self, method: str) -> list[dict[str, Any]]:
        """The events of one kind since the page was opened."""
        return [e["params"] for e in self.events if e.get("method") == method]

    def pdf(self) -> bytes:
        """The page as printed on A4."""
        size = {"paperWidth": 8.27, "paperHeight": 11.69}
        done = self.call("Page.printToPDF", preferCSSPageSize=True, **size)
        return base64.b64decode(done["data"])

    def picture(self) -> bytes:
        """The whole page as PNG."""
        done = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(done["data"])

    def _receive(self) -> dict[str, Any]:
        until = time.monotonic() + _SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._process.stdout], [], [], until - time.monotonic())
            chunk = os.read(self._process.stdout.fileno(), 1 << 20) if ready else b""
            if not chunk:
                raise RuntimeError(f"Chromium fell silent; its last words: {self._log.read_text()}")
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)


@contextlib.contextmanager
def running(program: str, folder: Path) -> Iterator[Browser]:
    """A browser of its own, with profile and log in ``folder``; gone when the block ends."""
    command = [
        program, "--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu",
        "--disable-dev-shm-usage", "--no-first-run", f"--user-data-dir={folder / 'profile'}",
        "about:blank",
    ]  # fmt: skip
    pipes = 'exec "$@" 3<&0 4>&1 </dev/null >/dev/null'
    with (
        (folder / "chromium.log").open("wb") as log,
        subprocess.Popen(
            ["/bin/sh", "-c", pipes, "sh", *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0,
        ) as process,
    ):  # fmt: skip
        try:
            yield Browser(process, folder / "chromium.log")
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
