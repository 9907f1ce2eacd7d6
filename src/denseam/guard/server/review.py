"""The routes of the quarantine: list, look, label."""

import uuid
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from denseam.guard import REASONS
from denseam.guard.server.answers import Json
from denseam.guard.server.quarantine import Keeper
from denseam.guard.server.quarantine.items import to_json
from denseam.guard.server.refusals import RefusedError
from denseam.guard.server.service import Service

__all__ = ["ROUTES", "Labelled"]

_MOST = 200
_FLAGS = {"true": True, "false": False}


class Labelled(msgspec.Struct, forbid_unknown_fields=True):
    """A reviewer's label: a class, -1 for junk, or null to take it back."""

    label: int | None


async def items(request: Request) -> Response:
    """The newest items, with what they look like."""
    service, keeper = _with_keeper(request)
    given = request.query_params
    labelled = given.get("labelled")
    if labelled is not None and labelled not in _FLAGS:
        raise RefusedError(
            400, "bad_request", f"labelled: wanted true or false, got {labelled[:20]!r}"
        )
    reason = given.get("reason")
    if reason is not None and reason not in REASONS:
        raise RefusedError(400, "bad_request", f"reason: wanted one of {', '.join(REASONS)}")
    before = _uuid(given["before"]) if "before" in given else None
    kind: dict[str, Any] = {
        "labelled": None if labelled is None else _FLAGS[labelled],
        "reason": reason,
    }
    limit = _limit(given.get("limit", "50"))

    def found() -> dict[str, Any]:
        rows = keeper.store.list(limit=limit, before=before, **kind)
        return {
            "items": [to_json(row) for row in rows],
            "total": keeper.store.count(**kind),
            "waiting": keeper.spool.n_items,
        }

    return Json(await service.aside(found))


async def item(request: Request) -> Response:
    """One item."""
    service, keeper = _with_keeper(request)
    wanted = _uuid(request.path_params["id"])
    return _found(await service.aside(partial(keeper.store.get, wanted)))


async def label(request: Request) -> Response:
    """Note a reviewer's label."""
    service, keeper = _with_keeper(request)
    wanted = _uuid(request.path_params["id"])
    body = await service.bodies.read(request)
    service.bodies.release(len(body))
    try:
        given = msgspec.json.decode(body, type=Labelled).label
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, "bad_request", f'wanted {{"label": class}}: {error}') from error
    return _found(await service.aside(partial(keeper.store.label, wanted, given)))


def _with_keeper(request: Request) -> tuple[Service, Keeper]:
    service: Service = request.app.state.service
    if service.keeper is None:
        raise RefusedError(404, "no_quarantine", "this server has no quarantine")
    return service, service.keeper


def _found(row: Any) -> Response:
    if row is None:
        raise RefusedError(404, "no_item", "no such item; it may not have reached the database yet")
    return Json(to_json(row))


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise RefusedError(400, "bad_request", f"id {text[:40]!r}: wanted a UUID") from None


def _limit(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= _MOST:
        return int(text)
    raise RefusedError(400, "bad_request", f"limit {text[:20]!r}: wanted 1 to {_MOST}")


ROUTES = [
    Route("/quarantine", items),
    Route("/quarantine/{id}", item),
    Route("/quarantine/{id}/label", label, methods=["POST"]),
]
