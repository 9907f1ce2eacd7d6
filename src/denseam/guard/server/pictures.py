"""The route that makes images of pictures, by the reader and the preparation of `guard check`."""

from dataclasses import replace
from functools import partial
from typing import Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from denseam.data.pictures import pages
from denseam.data.pixels import to_bytes
from denseam.errors import DenseAMError
from denseam.fronts.centring import Invert
from denseam.guard import Guard
from denseam.guard.server.answers import Json
from denseam.guard.server.inference import of_model
from denseam.guard.server.openapi import DocumentedRoute
from denseam.guard.server.refusals import RefusedError

_PIXELS = 25_000_000  # of a page: larger than what cameras of telephones make
_ANSWERS: dict[str, Invert] = {"auto": "auto", "true": True, "false": False}
_Answer = Literal["auto", "true", "false"]


class Preparing(msgspec.Struct):
    """The query of a preparation; without it as `denseam guard check` does."""

    centre: _Answer | msgspec.UnsetType = msgspec.UNSET
    invert: _Answer | msgspec.UnsetType = msgspec.UNSET
    detail: Literal["1", "2", "3", "4"] = "1"


class Prepared(msgspec.Struct):
    """The first page of a picture as an image (H, W) of bytes, row by row."""

    shape: list[int]
    pages: int
    image: bytes


async def prepare(request: Request) -> Response:
    """Make an image of a picture file; with detail, of so many times its height and width."""
    service = of_model(request)
    try:
        options = msgspec.convert(dict(request.query_params), Preparing, strict=False)
    except msgspec.ValidationError as error:
        raise RefusedError.bad(f"the query: {error}") from error
    body = await service.bodies.read(request)
    try:
        return Json(await service.aside(partial(_prepared, service.guard, body, options)))
    finally:
        service.bodies.release(len(body))


def _prepared(guard: Guard, body: bytes, options: Preparing) -> Prepared:
    """Read and prepare.

    Raises:
        RefusedError: 400 for what is no picture.
    """
    answers = {"centre": options.centre, "invert": options.invert}
    chosen = {name: _ANSWERS[word] for name, word in answers.items() if isinstance(word, str)}
    try:
        usual = guard.preparation(**chosen)
        shape = tuple(int(options.detail) * side for side in usual.shape)
        read = list(pages(body, name="the file", colour=usual.colour, most_pixels=_PIXELS))
        image = to_bytes(replace(usual, shape=shape)(read[0]))
    except DenseAMError as error:
        raise RefusedError.bad(str(error)) from error
    return Prepared(list(shape), len(read), image.numpy().tobytes())


ROUTES = [
    DocumentedRoute(f"{path}/prepare", prepare, answer=Prepared, body=bytes, query=Preparing)
    for path in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
]
