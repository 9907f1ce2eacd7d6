"""The page at ``/`` and that of the API at ``/docs``: files of this folder."""

from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from denseam.explorer import PAGE
from denseam.guard.server.refusals import RefusedError

__all__ = ["ROUTES"]

_FOLDER = Path(__file__).parent
_FILES = {
    "canvas.js": PAGE,
    **dict.fromkeys(("style.css", "api.js", "page.js", "docs.js", "icon.svg"), _FOLDER),
}


async def home(_request: Request) -> Response:
    """Return the page to draw a digit, see the verdict and review the quarantine."""
    return FileResponse(_FOLDER / "index.html")


async def docs(_request: Request) -> Response:
    """Return the page that lays out the API."""
    return FileResponse(_FOLDER / "docs.html")


async def file(request: Request) -> Response:
    """Return a file of those pages."""
    name = request.path_params["name"]
    if name not in _FILES:
        raise RefusedError(404, "no_file", "no such file")
    return FileResponse(_FILES[name] / name)


ROUTES = [Route("/", home), Route("/docs", docs), Route("/page/{name}", file)]
