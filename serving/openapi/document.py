"""What the HTTP door offers, as an OpenAPI 3.1 document.

Imports no TensorFlow. The schemas of what is sent come from the declarations of the fields
(`serving.openapi.json_schemas`), the calls are in `paths`; here they become one document.
"""

from typing import Any

import recall
from serving.api.recall_limits import RecallLimits
from serving.openapi import json_schemas
from serving.openapi.json_schemas import Schema
from serving.openapi.paths import (
    ADMIN_TOKEN,
    JSON_CONTENT,
    all_paths,
    object_of,
    reference_to,
)

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


def build_openapi(
    limits: RecallLimits, *, needs_token: bool, metrics_paths: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The document of a server.

    Args:
        limits: Largest sizes of a recall request.
        needs_token: Whether admin calls need the admin token.
        metrics_paths: Where metrics are shown.
    """
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
        "paths": all_paths(needs_token=needs_token, metrics_paths=metrics_paths),
        "components": {
            "schemas": _schemas(limits),
            "responses": {str(status): _error(text) for status, text in _ERRORS.items()},
            "securitySchemes": {
                ADMIN_TOKEN: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token of `--admin_token_file`.",
                }
            },
        },
    }


def _schemas(limits: RecallLimits) -> dict[str, Schema]:
    """Everything that has a name."""
    return {
        **_recall_schemas(limits),
        **_items_schemas(),
        **_model_schemas(),
        "Error": object_of(error={"type": "string", "description": "What is wrong."}),
    }


def _recall_schemas(limits: RecallLimits) -> dict[str, Schema]:
    """What `/recall` takes, one request or many, and answers."""
    timeout = {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Time the client waits, in milliseconds.",
    }
    lone = json_schemas.recall_request_schema(limits)
    requests = {
        "type": "array",
        "items": reference_to("RecallRequest"),
        "maxItems": limits.max_batch_size,
    }
    return {
        "RecallRequest": lone,
        "TimedRecallRequest": {
            **lone,
            "properties": {**lone["properties"], "timeout_ms": timeout},
        },
        "RecallBatch": {
            "type": "object",
            "properties": {"requests": requests, "timeout_ms": timeout},
            "required": ["requests"],
            "additionalProperties": False,
        },
        "RecallAnswer": json_schemas.recall_response_schema(),
        "RecallAnswers": object_of(
            responses={"type": "array", "items": reference_to("RecallAnswer")},
        ),
    }


def _items_schemas() -> dict[str, Schema]:
    """What the calls of `/items` take and answer."""
    return {
        "Upsert": json_schemas.upsert_schema(),
        "Delete": json_schemas.delete_schema(),
        "Acknowledgement": json_schemas.acknowledgement_schema(),
        "Search": json_schemas.search_schema(),
        "Lookup": json_schemas.lookup_schema(),
        "SearchAnswer": json_schemas.found_schema(of_search=True),
        "LookupAnswer": json_schemas.found_schema(of_search=False),
    }


def _model_schemas() -> dict[str, Schema]:
    """What TensorFlow Serving's REST API takes and answers."""
    return {
        "Predict": _predict_schema(),
        "Predictions": {
            "type": "object",
            "description": "`predictions` for `instances`, `outputs` for `inputs`.",
            "oneOf": [{"required": ["predictions"]}, {"required": ["outputs"]}],
        },
        "ModelStatus": object_of(
            model_version_status={
                "type": "array",
                "items": object_of(
                    version={"type": "string"},
                    state={"enum": ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]},
                    status=object_of(
                        error_code={"type": "string"}, error_message={"type": "string"}
                    ),
                ),
            }
        ),
        "ModelMetadata": object_of(
            model_spec={"type": "object"},
            metadata=object_of(signature_def={"type": "object"}),
        ),
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


def _error(description: str) -> Schema:
    return {
        "description": description,
        "content": {JSON_CONTENT: {"schema": reference_to("Error")}},
    }
