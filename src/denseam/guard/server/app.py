"""The service as an ASGI application: Starlette, whose routes stand in three files."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from denseam.guard import Guard
from denseam.guard.server import inference, openapi, page, review
from denseam.guard.server.access import Access, read_keys
from denseam.guard.server.answers import Json
from denseam.guard.server.gate import HANDLERS, Gate
from denseam.guard.server.service import Service
from denseam.guard.server.settings import Settings

__all__ = ["create_app"]


def create_app(guard: Guard, settings: Settings) -> Starlette:
    """The application of a guard; it holds the quarantine from now on until it is shut down.

    Args:
        guard: a calibrated one.
        settings: how it is served; host and port are the server's business.

    Raises:
        InputError: for a guard that is not calibrated, a database of another kind, or a file of
            keys with other lines.
        DataUnavailableError: when that file cannot be read, or the folder of an SQLite file is not
            there.
        FileFormatError: when the file of the database is no SQLite database.
        MissingPackageError: when the driver of the database is not installed.
        SaveError: when the folder of the journal cannot be made.
    """
    keys = read_keys(Path(settings.api_key_file)) if settings.api_key_file else {}
    called = settings.called if settings.loopback else None
    access = Access(keys, called=called, allowed=settings.allowed_hosts)
    service = Service(guard, settings)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        service.start()
        try:
            yield
        finally:
            await service.stop()

    routes = [*inference.ROUTES, *review.ROUTES, *page.ROUTES]
    document = openapi.document(routes, guard, settings)

    async def description(_request: Request) -> Response:
        """Return the document that the page at /docs shows."""
        return Json(document)

    routes.append(Route("/openapi.json", description))
    gate = Middleware(Gate, access=access, metrics=service.metrics, bodies=service.bodies)
    app = Starlette(
        routes=routes, middleware=[gate], exception_handlers=HANDLERS, lifespan=lifespan
    )
    app.state.service = service
    app.router.redirect_slashes = False
    return app
