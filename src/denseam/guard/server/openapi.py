"""The OpenAPI document, made from the routes, their docstrings and their structures."""

from collections.abc import Iterable
from typing import Any

import msgspec
from starlette.routing import BaseRoute, Route

from denseam.guard import Guard
from denseam.guard.server.answers import VERSION, Error
from denseam.guard.server.gate import OPEN
from denseam.guard.server.settings import Settings
from denseam.version import __version__

_ERRORS = {
    400: "The request is not as it should be.",
    401: "An API key is wanted.",
    403: "The server was called by a name that is not its own, or from another page.",
    404: "There is no such thing.",
    408: "The request came too slowly.",
    413: "The body is too long.",
    415: "The body is compressed.",
    429: "Too much is under way: come back after Retry-After.",
    502: "A model of the guard failed.",
    503: "The database is away.",
}
_RARE = (502, 503)  # only where a route says so


class DocumentedRoute(Route):
    """A route with what the document says of it.

    Args:
        path: with parameters such as ``{name}``.
        endpoint: its function, whose docstring begins with the summary.
        answer: the structure of its answer in JSON, or str for plain text.
        body: the structure of the body, or bytes for a file; None for a GET.
        query: the structure of the query; None where there is none.
        errors: statuses that only some routes answer.
    """

    def __init__(
        self,
        path: str,
        endpoint: Any,
        *,
        answer: Any,
        body: Any = None,
        query: Any = None,
        errors: tuple[int, ...] = (),
    ) -> None:
        super().__init__(path, endpoint, methods=["POST" if body else "GET"])
        self.answer, self.body, self.query, self.errors = answer, body, query, errors


def document(routes: Iterable[BaseRoute], guard: Guard, settings: Settings) -> dict[str, Any]:
    """Return OpenAPI 3.1 of a guard that is served like this."""
    documented = [route for route in routes if isinstance(route, DocumentedRoute)]
    if settings.database is None:
        documented = [route for route in documented if 503 not in route.errors]
    kinds = {kind for each in documented for kind in (each.answer, each.body, each.query) if kind}
    ordered = sorted({*kinds, Error} - {str, bytes}, key=lambda kind: kind.__name__)
    schemas, components = msgspec.json.schema_components(
        ordered, ref_template="#/components/schemas/{name}"
    )
    for component in components.values():
        component.pop("title", None)  # its name once more
    file = {"type": "string", "format": "binary"}
    schema_of = {str: {"type": "string"}, bytes: file, **dict(zip(ordered, schemas, strict=True))}
    queries_of = {
        route.query: components.pop(route.query.__name__)["properties"]
        for route in {route.query: route for route in documented if route.query}.values()
    }
    if guard.n_classes is not None and "Label" in components:
        components["Label"]["properties"]["label"]["anyOf"][0]["maximum"] = guard.n_classes - 1
    in_path = {
        "name": {"type": "string", "const": settings.name},
        "version": {"type": "string", "const": VERSION},
        "id": {"type": "string", "format": "uuid"},
    }
    paths = {}
    for route in documented:
        parameters = [
            _parameter(name, "path", in_path[name]) for name in sorted(route.param_convertors)
        ]
        if route.query:
            queries = queries_of[route.query].items()
            parameters += [_parameter(name, "query", schema) for name, schema in queries]
        operation = _operation(route, schema_of)
        method = "post" if route.body else "get"
        paths[route.path] = {method: {**operation, "parameters": parameters}}
    keys = settings.api_key_file is not None
    if keys:
        schemes = {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "denseam guard",
            "version": __version__,
            "description": "A dense associative memory before a classifier: junk and attacks are "
            "set aside. The Open Inference Protocol, version 2, and a quarantine.",
        },
        "paths": paths,
        "components": {"schemas": components, **(schemes if keys else {})},
        "security": [{"key": []}] if keys else [],
    }


def _operation(route: DocumentedRoute, schema_of: dict[Any, Any]) -> dict[str, Any]:
    summary = (route.endpoint.__doc__ or "").partition("\n")[0]
    form = "text/plain" if route.answer is str else "application/json"
    responses = {"200": _content(summary, form, schema_of[route.answer])}
    for status, text in _ERRORS.items():
        if status not in _RARE or status in route.errors:
            responses[str(status)] = _content(text, "application/json", schema_of[Error])
    operation: dict[str, Any] = {"summary": summary, "responses": responses}
    if route.body:
        form = "application/octet-stream" if route.body is bytes else "application/json"
        body = {form: {"schema": schema_of[route.body]}}
        operation["requestBody"] = {"required": True, "content": body}
    return {**operation, "security": []} if route.path in OPEN else operation


def _content(description: str, form: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {form: {"schema": schema}}}


def _parameter(name: str, where: str, schema: Any) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}
