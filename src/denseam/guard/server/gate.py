"""The gate of every request: access, counters, the log, and errors in the protocol's form."""

import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from denseam.errors import AnswerError, EndpointError, InputError
from denseam.guard.server.access import Access
from denseam.guard.server.answers import Json
from denseam.guard.server.metrics import Metrics
from denseam.guard.server.quarantine import DatabaseAwayError
from denseam.guard.server.quarantine.items import Source
from denseam.guard.server.receiving import Bodies
from denseam.guard.server.refusals import RefusedError

_log = logging.getLogger(__name__)
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
OPEN = frozenset({"/", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready"})
"""Paths that need no key, beside the files of the page."""

_NONE = 499  # in the log, where the client went away before an answer
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}


class Gate:
    """The outermost layer, which checks the head, names the request, counts and logs the answer."""

    def __init__(self, app: ASGIApp, access: Access, metrics: Metrics, bodies: Bodies) -> None:
        self._app, self._access, self._metrics, self._bodies = app, access, metrics, bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), _NONE
        proposed = Headers(scope=scope).get("x-request-id", "")
        request_id = proposed if _ID.fullmatch(proposed) else uuid.uuid4().hex
        state = scope.setdefault("state", {})
        state |= {"request_id": request_id, "key": None, "log": {}}

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = MutableHeaders(scope=message)
                more["x-request-id"] = request_id
                for name, value in _HEADERS.items():
                    more.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, answer)
        except Exception as error:
            if status != _NONE:  # the answer has begun
                raise
            request = Request(scope, receive)
            if isinstance(error, RefusedError):  # by its head: the body has not been read
                await self._bodies.discard(request)
            await (await _answer(request, error))(scope, receive, answer)
        finally:
            self._done(scope, status, time.perf_counter() - started)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        self._access.check_place(headers)
        if scope["path"] not in OPEN and not scope["path"].startswith("/page/"):
            scope["state"]["key"] = self._access.key_name(headers)

    def _done(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("endpoint"), "__name__", "none")
        self._metrics.request(route, status, seconds)
        state = scope["state"]
        if "refused" in state:
            self._metrics.refused(state["refused"])
        if _log.isEnabledFor(logging.INFO):
            facts = {
                "request_id": state["request_id"],
                "method": scope["method"],
                "path": scope["path"][:200],
                "status": status,
                "ms": round(1000 * seconds, 3),
                "address": address_of(scope),
                "key": state["key"],
                **state["log"],
            }
            _log.info("request", extra=facts)


def address_of(scope: Scope) -> str | None:
    """Return the client's address."""
    return scope["client"][0] if scope.get("client") else None


def source_of(request: Request, named: str | None) -> Source:
    """Return the origin of a request, for the quarantine."""
    return Source(named, request.state.request_id, address_of(request.scope), request.state.key)


async def _answer(request: Request, error: Exception) -> Response:
    """Answer an error; an unexpected one is the server's."""
    match error:
        case RefusedError():
            request.state.refused = error.why
            return Json({"error": str(error)}, error.status, headers=error.headers)
        case HTTPException():
            return Json({"error": error.detail}, error.status_code, headers=error.headers)
        case InputError():
            request.state.refused = "bad_request"
            return Json({"error": str(error)}, 400)
        case DatabaseAwayError():
            return Json({"error": f"the quarantine's database is away: {error}"}, 503)
        case AnswerError() | EndpointError():
            status, culprit = 502, "a model of the guard"
        case _:
            status, culprit = 500, "the server"
    name = request.state.request_id
    _log.error("failed", exc_info=error, extra={"request_id": name})
    return Json({"error": f"{culprit} failed; the log has more under {name}"}, status)


_ANSWERED: tuple[type[Exception], ...] = (
    RefusedError, HTTPException, InputError, DatabaseAwayError, AnswerError, EndpointError,
)  # fmt: skip
HANDLERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = (
    dict.fromkeys(_ANSWERED, _answer)
)
"""For Starlette; the gate answers all other errors."""
