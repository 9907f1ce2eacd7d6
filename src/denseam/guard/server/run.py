"""Run the service until a signal stops it."""

import contextlib
import gc
import resource
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from denseam.errors import InputError
from denseam.guard import Guard
from denseam.guard.server.app import create_app
from denseam.guard.server.receiving import connection_class
from denseam.guard.server.settings import Settings

_FILES = 256  # open ones besides connections


def serve(
    guard: Guard, settings: Settings, *, started: Callable[[str], None] = lambda _url: None
) -> None:
    """Serve a guard; returns after SIGTERM or SIGINT, when what was accepted is finished.

    Args:
        guard: a calibrated one.
        settings: of the server.
        started: called with the URL once the server listens.

    Raises:
        InputError: when the server cannot listen on the address; others as ``create_app``.
    """
    with (
        contextlib.closing(_bound(settings.host, settings.port)) as listening,
        _own_signals(),
        _short_collections() as ready,
    ):
        url = f"http://{settings.called}:{listening.getsockname()[1]}"
        _allow_files(settings.max_connections + _FILES)
        config = uvicorn.Config(
            create_app(guard, settings),
            http=connection_class(settings),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=settings.shutdown_seconds,
        )

        class Server(uvicorn.Server):
            async def startup(self, sockets: list[socket.socket] | None = None) -> None:
                await super().startup(sockets)
                ready()
                started(url)

        Server(config).run(sockets=[listening])


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise InputError(f"cannot listen on {host}, port {port}: {error}") from error
    return listening


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Swallow the signals that uvicorn raises once more after it has stopped at them."""
    signals = signal.SIGTERM, signal.SIGINT
    before = [signal.signal(each, lambda _number, _frame: None) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


@contextlib.contextmanager
def _short_collections() -> Iterator[Callable[[], None]]:
    """Yield a function that exempts all objects of this moment from garbage collection.

    A full collection visits every object of torch's: 0.2 s without an answer.
    """

    def freeze() -> None:
        gc.collect()
        gc.freeze()

    try:
        yield freeze
    finally:
        gc.unfreeze()


def _allow_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
