"""The calls of the HTTP door as paths of an OpenAPI document. Imports no TensorFlow."""

from typing import Any

from serving.openapi.json_schemas import Schema

JSON_CONTENT, _TEXT_CONTENT = "application/json", "text/plain"

_OF_ALL = (403, 429, 500)
_OF_BODIES = (400, 413, 415, 501, 503, 504)

ADMIN_TOKEN = "adminToken"

_MODELS = {
    "": ("", "the newest version"),
    "/versions/{version}": ("Version", "one version"),
    "/labels/{label}": ("Label", "the version of a label"),
}
"""How a path names the version of a model: its part of the path, of the operation's name, and
in words."""


def all_paths(*, needs_token: bool, metrics_paths: tuple[str, ...]) -> dict[str, Any]:
    """Every path; the arguments are those of `build_openapi`."""
    return {
        **_recall_paths(),
        **_items_paths(),
        **_item_change_paths(needs_token),
        **_model_paths(),
        **_health_paths(metrics_paths),
    }


def _recall_paths() -> dict[str, Any]:
    body = {"oneOf": [reference_to("TimedRecallRequest"), reference_to("RecallBatch")]}
    answer = {"oneOf": [reference_to("RecallAnswer"), reference_to("RecallAnswers")]}
    example = {"history": ["12", "57"], "k": 20, "with_metadata": True}
    return {
        "/recall": {
            "post": _operation(
                "recall",
                "Recall",
                "Items for a user, or for a batch of users",
                "A history, oldest first, becomes a few interests; the answer merges what each "
                "recalls. Without a known item, or feature of the user, it has popular items.",
                answer,
                body=body,
                example=example,
            )
        }
    }


def _items_paths() -> dict[str, Any]:
    """The calls that tell of items."""
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
                reference_to("SearchAnswer"),
                body=reference_to("Search"),
                example={"query": "star wars", "k": 10},
            )
        },
        "/items:lookup": {
            "post": _operation(
                "lookUpItems",
                "Items",
                "What is known of items",
                "One entry for every id, in their order; also of those that nobody knows.",
                reference_to("LookupAnswer"),
                body=reference_to("Lookup"),
                example={"ids": ["12", "57"]},
            )
        },
    }


def _item_change_paths(needs_token: bool) -> dict[str, Any]:
    """The calls that change items."""
    acknowledged = reference_to("Acknowledgement")
    return {
        "/items:upsert": {
            "post": _operation(
                "upsertItems",
                "Items",
                "Adds items, or replaces what is known of them",
                "Acknowledged once the change is on the disk and in every answer to come.",
                acknowledged,
                body=reference_to("Upsert"),
                example={"items": [{"id": "new", "categories": ["red"], "title": "Red hat"}]},
                needs_token=needs_token,
            )
        },
        "/items:delete": {
            "post": _operation(
                "deleteItems",
                "Items",
                "Takes items out of every answer",
                "Also out of those of later releases.",
                acknowledged,
                body=reference_to("Delete"),
                example={"ids": ["12"]},
                needs_token=needs_token,
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
                reference_to("ModelStatus"),
                **of_model,
            )
        }
        paths[f"{path}/metadata"] = {
            "get": _operation(
                f"modelMetadata{name}",
                "Models",
                f"Signatures of a model: {words}",
                "As TensorFlow Serving's GetModelMetadata.",
                reference_to("ModelMetadata"),
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
                reference_to("Predictions"),
                body=reference_to("Predict"),
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
    ready = object_of(ready={"type": "boolean"}, models={"type": "object"})
    is_ready = _operation(
        "ready", "Server", "Whether requests are answered", "For load balancers.", ready, errors=()
    )
    is_ready["responses"]["503"] = {
        "description": "Not now.",
        "content": {JSON_CONTENT: {"schema": ready}},
    }
    alive = object_of(alive={"type": "boolean"})
    document = _operation(
        "openapi", "Server", "This document", "OpenAPI 3.1.", {"type": "object"}, errors=()
    )
    shown = _operation(
        "metrics", "Server", "Metrics", "In Prometheus' format.", {"type": "string"}, errors=()
    )
    shown["responses"]["200"]["content"] = {_TEXT_CONTENT: {"schema": {"type": "string"}}}
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
            "200": {"description": "The answer.", "content": {JSON_CONTENT: {"schema": answer}}},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses},
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        content = {"schema": body, "example": example}
        operation["requestBody"] = {"required": True, "content": {JSON_CONTENT: content}}
    if needs_token:
        operation["security"] = [{ADMIN_TOKEN: []}]
    return operation


def object_of(**properties: Schema) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def reference_to(name: str) -> Schema:
    """A schema of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}
