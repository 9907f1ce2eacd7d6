"""The service as an ASGI application of Starlette."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from denseam.guard import Guard
from denseam.guard.server import inference, openapi, page, pictures, review
from denseam.guard.server.access import Access, read_keys
from denseam.guard.server.answers import Json
from denseam.guard.server.gate import HANDLERS, Gate
from denseam.guard.server.service import Service
from denseam.guard.server.settings import Settings


def create_app(guard: Guard, settings: Settings) -> Starlette:
    """Return the application of a guard; it holds the quarantine until it is shut down.

    Args:
        guard: a calibrated one.
        settings: of the server, which listens on host and port itself.

    Raises:
        InputError, DataUnavailableError: as ``read_keys``; these and others as ``Service``.
    """
    keys = read_keys(Path(settings.api_key_file)) if settings.api_key_file else {}
    called = settings.called if settings.loopback else None
    access = Access(keys, called=called, allowed=settings.allowed_hosts)
    service = Service(guard, settings)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    routes = [*inference.ROUTES, *pictures.ROUTES, *review.ROUTES, *page.ROUTES]
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
