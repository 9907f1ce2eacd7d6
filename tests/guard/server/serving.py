"""Real servers on loopback, and how they are spoken to."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

_SECONDS = 60.0


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def outputs(self) -> dict[str, list[Any]]:
        return {output["name"]: output["data"] for output in self.json["outputs"]}


@dataclass
class Server:
    """A process that serves, and its address."""

    process: subprocess.Popen[str]
    port: int
    log_path: Path
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One request on a connection of its own."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, _SECONDS)
        ) as http_:
            return self.ask_on(http_, method, path, body, **headers)

    def ask_on(self, connection: Any, method: str, path: str, body: Any = None, **headers: str):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {**self.headers, **named})
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, found, answer.read())

    def infer(self, images: Any, datatype: str = "UINT8", **more: Any) -> Answer:
        return self.ask("POST", "/v2/models/guard/infer", request(images, datatype, **more))

    def socket(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), _SECONDS)

    def ready(self) -> dict[str, Any]:
        return self.ask("GET", "/v2/health/ready").json

    def metric(self, name: str) -> float:
        """The sum of a counter over its labels."""
        page = self.ask("GET", "/metrics").body.decode().splitlines()
        rows = [line for line in page if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.rsplit(" ", 1)[1]) for line in rows)

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(_SECONDS)


def request(images: Any, datatype: str = "UINT8", **more: Any) -> dict[str, Any]:
    array = np.asarray(images)
    tensor = {"name": "images", "datatype": datatype, "shape": list(array.shape)}
    return {"inputs": [{**tensor, "data": array.ravel().tolist()}], **more}


@contextlib.contextmanager
def serving(guard: Path, folder: Path, **settings: Any) -> Iterator[Server]:
    """A server with everything it writes in ``folder``."""
    # On a busy machine a verdict may take more than the usual ten seconds.
    patient = {"deadline": _SECONDS, "shutdown_seconds": 50}
    database = str(folder / "quarantine.sqlite")
    settings = {"port": 0, "database": database, **patient, **settings}
    log = folder / f"log-{time.monotonic_ns()}"
    script = str(Path(__file__).with_name("process.py"))
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, script, str(guard), json.dumps(settings)],
            stdout=subprocess.PIPE, stderr=stderr, text=True, cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ) as process,
    ):  # fmt: skip
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError(log.read_text())
            yield Server(process, int(url.rsplit(":", 1)[1]), log)
        finally:
            if process.poll() is None:
                process.kill()


def eventually(true: Callable[[], Any], seconds: float = _SECONDS) -> Any:
    """What is true at last; it is asked for again and again."""
    until = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > until:
            raise AssertionError("it did not come true")
        time.sleep(0.05)
    return found
