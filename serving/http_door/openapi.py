"""What the HTTP door offers, as an OpenAPI 3.1 document.

Imports no TensorFlow. The schemas of what is sent come from the declarations of the fields
(`serving.api.json_schemas`); here are the paths, the answers and the errors.
"""

from typing import Any

import recall
from serving.api import json_schemas
from serving.api.json_schemas import Schema
from serving.api.recall_limits import RecallLimits

JSON, TEXT = "application/json", "text/plain"

_ERRORS = {
    400: "The request is malformed, beyond a limit, or does not fit the model.",
    401: "The admin token is missing.",
    403: "A wrong admin token, closed admin calls, or a page or host that may not ask.",
    404: "There is no such model, version or label, or no such path.",
    413: "The body is larger than 16 MiB.",
    415: "The body is not JSON, or of an unknown encoding.",
    429: "The server has as much work as it takes; `Retry-After` says when to come again.",
    500: "A defect; the server's log has the details.",
    501: "Not offered: over shards, for example, `merge` other than `max_score`.",
    503: "No version is loaded, or what the model needs is away.",
    504: "The time was over before anything was found.",
}
_OF_ALL = (403, 429, 500)
_OF_BODIES = (400, 413, 415, 501, 503, 504)

_TOKEN = "adminToken"

_MODELS = {
    "": ("", "the newest version"),
    "/versions/{version}": ("Version", "one version"),
    "/labels/{label}": ("Label", "the version of a label"),
}
"""How a path names the version of a model: its part of the path, of the operation's name, and
in words."""


def build_openapi(
    limits: RecallLimits, *, needs_token: bool, metrics_paths: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The document of a server.

    Args:
        limits: Largest sizes of a recall request.
        needs_token: Whether admin calls need the admin token.
        metrics_paths: Where metrics are shown.
    """
    paths = {
        **_recall_paths(),
        **_items_paths(needs_token),
        **_model_paths(),
        **_health_paths(metrics_paths),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "recall",
            "version": recall.__version__,
            "description": "Candidate recall by a multi-interest model: recommendations for a "
            "history, live items, and TensorFlow Serving's REST API for the same models.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This server"}],
        "tags": [
            {"name": "Recall", "description": "Recommendations, and items like given ones."},
            {"name": "Items", "description": "Items that change while they are served."},
            {"name": "Models", "description": "TensorFlow Serving's REST API."},
            {"name": "Server", "description": "Health, metrics, and this document."},
        ],
        "paths": paths,
        "components": {
            "schemas": _schemas(limits),
            "responses": {str(status): _error(text) for status, text in _ERRORS.items()},
            "securitySchemes": {
                _TOKEN: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token of `--admin_token_file`.",
                }
            },
        },
    }


def _schemas(limits: RecallLimits) -> dict[str, Schema]:
    """Everything that has a name."""
    timeout = {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Time the client waits, in milliseconds.",
    }
    lone = json_schemas.recall_request_schema(limits)
    batch = {
        "type": "object",
        "properties": {
            "requests": {
                "type": "array",
                "items": _ref("RecallRequest"),
                "maxItems": limits.max_batch_size,
            },
            "timeout_ms": timeout,
        },
        "required": ["requests"],
        "additionalProperties": False,
    }
    return {
        "RecallRequest": lone,
        "TimedRecallRequest": {
            **lone,
            "properties": {**lone["properties"], "timeout_ms": timeout},
        },
        "RecallBatch": batch,
        "RecallAnswer": json_schemas.recall_response_schema(),
        "RecallAnswers": _object(
            responses={"type": "array", "items": _ref("RecallAnswer")},
        ),
        "Upsert": json_schemas.upsert_schema(),
        "Delete": json_schemas.delete_schema(),
        "Acknowledgement": json_schemas.acknowledgement_schema(),
        "Search": json_schemas.search_schema(),
        "Lookup": json_schemas.lookup_schema(),
        "SearchAnswer": json_schemas.found_schema(of_search=True),
        "LookupAnswer": json_schemas.found_schema(of_search=False),
        "Predict": _predict_schema(),
        "Predictions": {
            "type": "object",
            "description": "`predictions` for `instances`, `outputs` for `inputs`.",
            "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
        },
        "ModelStatus": _object(
            model_version_status={
                "type": "array",
                "items": _object(
                    version={"type": "string"},
                    state={"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
                    status=_object(error_code={"type": "string"}, error_message={"type": "string"}),
                ),
            }
        ),
        "ModelMetadata": _object(
            model_spec={"type": "object"},
            metadata=_object(signature_def={"type": "object"}),
        ),
        "Error": _object(error={"type": "string", "description": "What is wrong."}),
    }


def _predict_schema() -> Schema:
    signature = {
        "type": "string",
        "default": "serving_default",
        "description": "Of those that the model's metadata list.",
    }
    return {
        "type": "object",
        "description": "Rows (`instances`) or columns (`inputs`); what a model's signature "
        "takes is in its metadata.",
        "properties": {"signature_name": signature, "instances": {"type": "array"}, "inputs": {}},
        "oneOf": [{"required": ["instances"]}, {"required": ["inputs"]}],
    }


def _recall_paths() -> dict[str, Any]:
    body = {"oneOf": [_ref("TimedRecallRequest"), _ref("RecallBatch")]}
    answer = {"oneOf": [_ref("RecallAnswer"), _ref("RecallAnswers")]}
    example = {"history": ["12", "57"], "k": 20, "with_metadata": True}
    return {
        "/recall": {
            "post": _operation(
                "recall",
                "Recall",
                "Items for a user, or for a batch of users",
                "A history, oldest first, becomes a few interests; the answer merges what each "
                "recalls. Without a known item in the history it has popular items.",
                answer,
                body=body,
                example=example,
            )
        }
    }


def _items_paths(needs_token: bool) -> dict[str, Any]:
    acknowledged, admin = _ref("Acknowledgement"), {"needs_token": needs_token}
    status = _operation(
        "itemsStatus",
        "Items",
        "How items changed so far",
        "Numbers of changes, and how every loaded version holds them.",
        {"type": "object"},
        errors=(503, 504),
    )
    return {
        "/items": {"get": status},
        "/items:search": {
            "post": _operation(
                "searchItems",
                "Items",
                "Items by words of their titles, or by an id",
                "The id itself comes first, then titles that begin with the query, then words "
                "that do, then the rest; of equally good ones the more popular.",
                _ref("SearchAnswer"),
                body=_ref("Search"),
                example={"query": "star wars", "k": 10},
            )
        },
        "/items:lookup": {
            "post": _operation(
                "lookUpItems",
                "Items",
                "What is known of items",
                "One entry for every id, in their order; also of those that nobody knows.",
                _ref("LookupAnswer"),
                body=_ref("Lookup"),
                example={"ids": ["12", "57"]},
            )
        },
        "/items:upsert": {
            "post": _operation(
                "upsertItems",
                "Items",
                "Adds items, or replaces what is known of them",
                "Acknowledged once the change is on the disk and in every answer to come.",
                acknowledged,
                body=_ref("Upsert"),
                example={"items": [{"id": "new", "categories": ["red"], "title": "Red hat"}]},
                **admin,
            )
        },
        "/items:delete": {
            "post": _operation(
                "deleteItems",
                "Items",
                "Takes items out of every answer",
                "Also out of those of later releases.",
                acknowledged,
                body=_ref("Delete"),
                example={"ids": ["12"]},
                **admin,
            )
        },
    }


def _model_paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for part, (name, words) in _MODELS.items():
        path = f"/v1/models/{{model}}{part}"
        parameters = _parameters(path)
        of_model = {"parameters": parameters, "errors": (400, 404, 503)}
        paths[path] = {
            "get": _operation(
                f"modelStatus{name}",
                "Models",
                f"States of a model: {words}",
                "As TensorFlow Serving's GetModelStatus.",
                _ref("ModelStatus"),
                **of_model,
            )
        }
        paths[f"{path}/metadata"] = {
            "get": _operation(
                f"modelMetadata{name}",
                "Models",
                f"Signatures of a model: {words}",
                "As TensorFlow Serving's GetModelMetadata.",
                _ref("ModelMetadata"),
                **of_model,
            )
        }
        paths[f"{path}:predict"] = {
            "post": _operation(
                f"predict{name}",
                "Models",
                f"Runs a model: {words}",
                "As TensorFlow Serving's Predict. Signatures that change items need the admin "
                "token.",
                _ref("Predictions"),
                body=_ref("Predict"),
                example={"instances": [{"history_item_ids": ["12", "57"]}]},
                parameters=parameters,
                errors=(401, 404, *_OF_BODIES),
            )
        }
    return paths


def _parameters(path: str) -> list[Schema]:
    """Those that a path has in braces."""
    text = {"type": "string", "minLength": 1, "pattern": "^[^/:]+$"}
    known = {
        "model": {**text, "example": "recall"},
        "version": {"type": "integer", "minimum": 0, "maximum": (1 << 63) - 1},
        "label": text,
    }
    return [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in known.items()
        if f"{{{name}}}" in path
    ]


def _health_paths(metrics_paths: tuple[str, ...]) -> dict[str, Any]:
    ready = _object(ready={"type": "boolean"}, models={"type": "object"})
    is_ready = _operation(
        "ready", "Server", "Whether requests are answered", "For load balancers.", ready, errors=()
    )
    is_ready["responses"]["503"] = {
        "description": "Not now.",
        "content": {JSON: {"schema": ready}},
    }
    alive = _object(alive={"type": "boolean"})
    document = _operation(
        "openapi", "Server", "This document", "OpenAPI 3.1.", {"type": "object"}, errors=()
    )
    shown = _operation(
        "metrics", "Server", "Metrics", "In Prometheus' format.", {"type": "string"}, errors=()
    )
    shown["responses"]["200"]["content"] = {TEXT: {"schema": {"type": "string"}}}
    return {
        "/healthz": {
            "get": _operation("alive", "Server", "Whether the process lives", "", alive, errors=())
        },
        "/readyz": {"get": is_ready},
        "/openapi.json": {"get": document},
        **{path: {"get": shown} for path in metrics_paths},
    }


def _operation(
    name: str,
    tag: str,
    summary: str,
    description: str,
    answer: Schema,
    *,
    body: Schema | None = None,
    example: Any = None,
    parameters: list[Schema] | None = None,
    errors: tuple[int, ...] = _OF_BODIES,
    needs_token: bool = False,
) -> dict[str, Any]:
    """One call."""
    statuses = sorted({*_OF_ALL, *errors, *((401,) if needs_token else ())})
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [tag],
        "summary": summary,
        "description": description,
        "responses": {
            "200": {"description": "The answer.", "content": {JSON: {"schema": answer}}},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses},
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        content = {"schema": body, "example": example}
        operation["requestBody"] = {"required": True, "content": {JSON: content}}
    if needs_token:
        operation["security"] = [{_TOKEN: []}]
    return operation


def _error(description: str) -> Schema:
    return {"description": description, "content": {JSON: {"schema": _ref("Error")}}}


def _object(**properties: Schema) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
