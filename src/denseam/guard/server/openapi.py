"""The OpenAPI document of the service."""

from typing import Any

from denseam.guard import REASONS, Guard
from denseam.guard.server.protocol import OUTPUTS
from denseam.guard.server.settings import Settings
from denseam.version import __version__

__all__ = ["document"]

Json = dict[str, Any]

_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}
_TEXT = {"type": "string", "maxLength": 128}
_COMMON = {
    400: "The request is not as it should be.",
    401: "An API key is wanted.",
    403: "The server was called by a name that is not its own, or from another page.",
    408: "The request came too slowly.",
    413: "The body is too long.",
    415: "The body is compressed.",
    429: "Too much is under way: come back after Retry-After.",
}


def document(guard: Guard, settings: Settings) -> Json:
    """OpenAPI 3.1 of a guard that is served like this."""
    name = _parameter("name", "path", {"type": "string", "const": settings.name})
    item = _parameter("id", "path", {"type": "string", "format": "uuid"})
    tensors = _body("InferRequest")
    paths: dict[str, Json] = {
        "/v2": {"get": _get("What the server is", "Server")},
        "/v2/health/live": {"get": _get("Whether it runs", "Live", key=False)},
        "/v2/health/ready": {"get": _get("Whether it can infer", "Ready", key=False)},
        "/v2/models/{name}": {"parameters": [name], "get": _get("What the guard takes", "Model")},
        "/v2/models/{name}/ready": {
            "parameters": [name],
            "get": _get("Whether the guard can infer", "ModelReady"),
        },
        "/v2/models/{name}/infer": {
            "parameters": [name],
            "post": {**_get("Verdicts on images", "InferResponse", 502), "requestBody": tensors},
        },
        "/v2/models/{name}/explain": {
            "parameters": [name],
            "post": {
                **_get("The memories that voted for one image", "Explanation"),
                "requestBody": tensors,
            },
        },
        "/metrics": {"get": _metrics()},
    }
    if settings.database is not None:
        paths |= {
            "/quarantine": {
                "get": {**_get("What was set aside", "Items", 503), "parameters": _filters()}
            },
            "/quarantine/{id}": {"parameters": [item], "get": _get("One item", "Item", 503)},
            "/quarantine/{id}/label": {
                "parameters": [item],
                "post": {**_get("Label an item", "Item", 503), "requestBody": _body("Label")},
            },
        }
    components: Json = {"schemas": _schemas(guard)}
    if settings.api_key_file is not None:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "denseam guard",
            "version": __version__,
            "description": "A dense associative memory before a classifier: junk and attacks are "
            "set aside. The Open Inference Protocol, version 2, and a quarantine.",
        },
        "paths": paths,
        "components": components,
        "security": [{"key": []}] if settings.api_key_file is not None else [],
    }


def _get(summary: str, schema: str, *more: int, key: bool = True) -> Json:
    errors = {
        **_COMMON, 404: "There is no such thing.", 502: "A model of the guard failed.",
        503: "The database is away.",
    }  # fmt: skip
    codes = [*_COMMON, 404, *more]
    answers = {str(code): _answer(errors[code], "Error") for code in codes}
    found: Json = {"summary": summary, "responses": {"200": _answer(summary, schema), **answers}}
    return found if key else {**found, "security": []}


def _answer(what: str, schema: str) -> Json:
    return {"description": what, "content": {"application/json": {"schema": _ref(schema)}}}


def _metrics() -> Json:
    found = _get("Counters for Prometheus", "Error")
    text = {"text/plain": {"schema": _STRING}}
    found["responses"]["200"] = {"description": "Prometheus' text format", "content": text}
    return found


def _body(schema: str) -> Json:
    return {"required": True, "content": {"application/json": {"schema": _ref(schema)}}}


def _parameter(name: str, where: str, schema: Json) -> Json:
    return {"name": name, "in": where, "required": where == "path", "schema": schema}


def _filters() -> list[Json]:
    kinds: dict[str, Json] = {
        "limit": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
        "before": {"type": "string", "format": "uuid"},
        "labelled": {"type": "boolean"},
        "reason": {"enum": list(REASONS)},
    }
    return [_parameter(name, "query", schema) for name, schema in kinds.items()]


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: Json, *optional: str, closed: bool = False) -> Json:
    required = [name for name in properties if name not in optional]
    found = {"type": "object", "properties": properties, "required": required}
    return {**found, "additionalProperties": False} if closed else found


def _list(of: Json) -> Json:
    return {"type": "array", "items": of}


def _or_null(of: Json) -> Json:
    return {"anyOf": [of, {"type": "null"}]}


def _schemas(guard: Guard) -> Json:
    values = {"type": ["string", "number", "boolean", "null"]}
    parameters = {"type": "object", "additionalProperties": values}
    shape = _list({"type": "integer", "minimum": -1})
    names = _list(_STRING)
    pixels = {
        "description": "Numbers, flat or nested, row by row; left out where they are bytes.",
        "type": "array",
    }
    tensor = _object(
        {
            "name": {"const": "images"},
            "datatype": {"enum": ["FP32", "UINT8"]},
            "shape": {**_list({"type": "integer", "minimum": 1}), "minItems": 2, "maxItems": 4},
            "data": pixels,
            "parameters": {
                **parameters,
                "properties": {
                    "binary_data_size": {
                        "type": "integer",
                        "description": "Of data that are bytes after the JSON.",
                    }
                },
            },
        },
        "data",
        "parameters",
    )
    asked = _object({"name": {"enum": list(OUTPUTS)}, "parameters": parameters}, "parameters")
    given = _object(
        {
            "name": {"enum": list(OUTPUTS)},
            "datatype": {"enum": sorted(set(OUTPUTS.values()))},
            "shape": shape,
            "data": {"type": "array"},
            "parameters": parameters,
        },
        "data",
        "parameters",
    )
    described = _object({"name": _STRING, "datatype": _STRING, "shape": shape})
    label = {"type": "integer", "minimum": -1}
    if guard.n_classes is not None:
        label["maximum"] = guard.n_classes - 1
    return {
        "Error": _object({"error": _STRING}),
        "Live": _object({"live": {"const": True}}),
        "Ready": _object(
            {
                "ready": {"const": True},
                "quarantine": {"enum": ["ok", "database_away", "none"]},
                "waiting": _INTEGER,
            }
        ),
        "Server": _object(
            {"name": _STRING, "version": _STRING, "extensions": names, "models": names}
        ),
        "Model": _object(
            {
                "name": _STRING,
                "platform": _STRING,
                "inputs": {**_list(described), "minItems": 1, "maxItems": 1},
                "outputs": _list(described),
                "parameters": {"type": "object"},
            }
        ),
        "ModelReady": _object({"name": _STRING, "ready": {"type": "boolean"}}),
        "InferRequest": _object(
            {
                "inputs": {**_list(tensor), "minItems": 1, "maxItems": 1},
                "id": _TEXT,
                "outputs": {**_list(asked), "maxItems": len(OUTPUTS)},
                "parameters": {
                    **parameters,
                    "properties": {
                        "source": {**_TEXT, "description": "Who sends it, for the quarantine."}
                    },
                },
            },
            "id", "outputs", "parameters",
        ),
        "InferResponse": _object(
            {
                "model_name": _STRING,
                "id": _STRING,
                "parameters": parameters,
                "outputs": _list(given),
            },
            "id", "parameters",
        ),
        "Explanation": _object(
            {
                "active": {"type": "boolean"},
                "shape": _list(_INTEGER),
                "votes": _list({"type": "object"}),
            }
        ),
        "Label": _object({"label": _or_null(label)}, closed=True),
        "Items": _object({"items": _list(_ref("Item")), "total": _INTEGER, "waiting": _INTEGER}),
        "Item": _item(),
    }  # fmt: skip


def _item() -> Json:
    number, time = {"type": "number"}, {"type": "string", "format": "date-time"}
    return _object(
        {
            "id": {"type": "string", "format": "uuid"},
            "received_at": time,
            "model": _STRING,
            "n_classes": _or_null(_INTEGER),
            "source": _or_null(_STRING),
            "request_id": _STRING,
            "address": _or_null(_STRING),
            "key": _or_null(_STRING),
            "reason": {"enum": list(REASONS)},
            "score": _or_null(number),
            "p_value": number,
            "detector_label": _INTEGER,
            "dtype": {"enum": ["uint8", "float32"]},
            "height": _INTEGER,
            "width": _INTEGER,
            "image": {"type": "string", "contentEncoding": "base64"},
            "label": _or_null(_INTEGER),
            "reviewed_at": _or_null(time),
        }
    )
