"""The routes of the quarantine: list, look, label."""

import uuid
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.requests import Request
from starlette.responses import Response

from denseam.guard import REASONS
from denseam.guard.server.answers import Items, Json
from denseam.guard.server.openapi import DocumentedRoute
from denseam.guard.server.quarantine import Keeper
from denseam.guard.server.quarantine.items import Item, ItemView, view_of
from denseam.guard.server.refusals import RefusedError
from denseam.guard.server.service import Service


class Label(msgspec.Struct, forbid_unknown_fields=True):
    """A reviewer's label: a class, -1 for junk, or null to take it back."""

    label: Annotated[int, Meta(ge=-1)] | None


class Filters(msgspec.Struct):
    """The query of a list."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    before: uuid.UUID | UnsetType = UNSET
    labelled: bool | UnsetType = UNSET
    reason: Annotated[str, Meta(extra_json_schema={"enum": list(REASONS)})] | UnsetType = UNSET


async def items(request: Request) -> Response:
    """List the newest items."""
    service, keeper = _with_keeper(request)
    try:
        filters = msgspec.convert(dict(request.query_params), Filters, strict=False)
    except msgspec.ValidationError as error:
        raise RefusedError.bad(f"the query: {error}") from error
    kind: dict[str, Any] = {
        "labelled": _or_none(filters.labelled),
        "reason": _or_none(filters.reason),
    }
    if kind["reason"] not in (None, *REASONS):
        raise RefusedError.bad(f"reason: wanted one of {', '.join(REASONS)}")

    def page() -> Items:
        rows = keeper.store.list(limit=filters.limit, before=_or_none(filters.before), **kind)
        views = [view_of(row) for row in rows]
        return Items(views, keeper.store.count(**kind), keeper.spool.n_items)

    return Json(await service.aside(page))


async def item(request: Request) -> Response:
    """Show one item."""
    service, keeper = _with_keeper(request)
    return _shown(await service.aside(partial(keeper.store.get, _id(request))))


async def label(request: Request) -> Response:
    """Note a reviewer's label."""
    service, keeper = _with_keeper(request)
    key = _id(request)
    body = await service.bodies.read(request)
    service.bodies.release(len(body))
    try:
        noted = msgspec.json.decode(body, type=Label).label
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError.bad(f'wanted {{"label": class}}: {error}') from error
    return _shown(await service.aside(partial(keeper.store.label, key, noted)))


def _with_keeper(request: Request) -> tuple[Service, Keeper]:
    service: Service = request.app.state.service
    if service.keeper is None:
        raise RefusedError(404, "no_quarantine", "this server has no quarantine")
    return service, service.keeper


def _shown(row: Item | None) -> Response:
    if row is None:
        raise RefusedError(404, "no_item", "no such item; it may not have reached the database yet")
    return Json(view_of(row))


def _id(request: Request) -> uuid.UUID:
    text = request.path_params["id"]
    try:
        return uuid.UUID(text)
    except ValueError:
        raise RefusedError.bad(f"id {text[:40]!r}: wanted a UUID") from None


def _or_none(value: Any) -> Any:
    return None if value is UNSET else value


ROUTES = [
    DocumentedRoute("/quarantine", items, answer=Items, query=Filters, errors=(503,)),
    DocumentedRoute("/quarantine/{id}", item, answer=ItemView, errors=(503,)),
    DocumentedRoute("/quarantine/{id}/label", label, answer=ItemView, body=Label, errors=(503,)),
]
