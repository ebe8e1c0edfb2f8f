"""The HTTP door: TF Serving's REST API, `POST /recall`, health.

A plain callable, request in and response out, with no socket; `http_server`
puts it behind one. All bodies are JSON.
"""

import functools
import json
import logging
import re
import urllib.parse
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from google.protobuf import json_format
from google.protobuf.message import Message

from recall.errors import InputError
from serving import (
    grpc_api,
    items_json,
    items_servable,
    json_tensors,
    recall_json,
    recall_types,
    signatures,
)
from serving.json_document import parse_json
from serving.model_server import ModelServer, Servable
from serving.status import Code, ServingError, invalid_argument

_LOGGER = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 << 20
"""Far above a full batch of long histories; bounds what one client can make us hold."""

IMMEDIATE_PATHS = ("/healthz", "/readyz")
"""Answered at once, however busy the models are."""

_PREDICT_PATH = re.compile(
    r"/v1/models/([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?:(classify|regress|predict)"
)
_MODEL_PATH = re.compile(
    r"/v1/models(?:/([^/:]+))?(?:/versions/(\d+)|/labels/([^/:]+))?(?:/(metadata))?"
)
_MAX_INT64 = (1 << 63) - 1

_HTTP_STATUS = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ABORTED: 409,
    Code.ALREADY_EXISTS: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
"""TF Serving's table; every other code is 500."""


class HttpResponse(NamedTuple):
    """What the door answers.

    Attributes:
        status: HTTP status code.
        body: JSON, UTF-8.
        headers: Beside Content-Type and Content-Length.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class HttpApi:
    """Routes requests; safe to call from several threads."""

    def __init__(self, model_server: ModelServer):
        self._model_server = model_server
        self._routes: dict[str, tuple[str, Callable[[bytes], HttpResponse]]] = {
            "/recall": ("POST", self._recall),
            "/items": ("GET", self._items),
            "/items:upsert": ("POST", functools.partial(self._change_items, items_json.upsert)),
            "/items:delete": ("POST", functools.partial(self._change_items, items_json.delete)),
            "/healthz": ("GET", self._healthz),
            "/readyz": ("GET", self._readyz),
        }

    def __call__(self, method: str, path: str, body: bytes = b"") -> HttpResponse:
        """Answers one request.

        Args:
            method: HTTP method, in capitals.
            path: As sent: still percent-encoded, without the query string.
            body: At most `MAX_BODY_BYTES`; the server sees to that.
        """
        try:
            return self._route(method, path, body)
        except ServingError as error:
            return error_response(error.code, error.message)
        except InputError as error:
            return error_response(Code.INVALID_ARGUMENT, str(error))
        except Exception:
            _LOGGER.exception("%s %s failed", method, path)
            return error_response(
                Code.INTERNAL, "Internal error; the server's log has the details."
            )

    def _route(self, method: str, path: str, body: bytes) -> HttpResponse:
        if path in self._routes:
            allowed, handler = self._routes[path]
            if method != allowed:
                text = _encode({"error": f"{path} answers {allowed} only."})
                return HttpResponse(405, text, (("Allow", allowed),))
            return handler(body)
        if not path.startswith("/v1/"):
            return error_response(Code.NOT_FOUND, f"Not Found: {path}")
        predict = _PREDICT_PATH.fullmatch(path) if method == "POST" else None
        if predict is not None:
            return self._predict(*_parse_model(*predict.groups()[:3]), predict.group(4), body)
        model = _MODEL_PATH.fullmatch(path) if method == "GET" else None
        if model is not None:
            return self._describe(*_parse_model(*model.groups()[:3]), model.group(4) is not None)
        raise invalid_argument(f"Malformed request: {method} {path}")

    def _predict(
        self, name: str, version: int | None, label: str | None, verb: str, body: bytes
    ) -> HttpResponse:
        """POST /v1/models/NAME[/versions/N|/labels/L]:predict."""
        if verb != "predict":
            raise ServingError(Code.UNIMPLEMENTED, f"{verb} is not offered; use predict.")
        document = parse_json(body)
        signature_name = document.get("signature_name", signatures.DEFAULT_SIGNATURE)
        if not isinstance(signature_name, str):
            raise invalid_argument(
                "JSON Value not formatted correctly. 'signature_name' key must be a string value."
            )
        servable = self._model_server.find(name, version, label)
        signature = servable.signature_defs.get(signature_name or signatures.DEFAULT_SIGNATURE)
        if signature is None or not signature.inputs:
            raise invalid_argument(
                f'Serving signature name: "{signature_name}" not found in signature def'
            )
        inputs, row_form = json_tensors.parse_inputs(document, signature)
        outputs = servable.predict(signature_name, inputs)
        return HttpResponse(200, _encode(json_tensors.build_answer(outputs, row_form)))

    def _describe(
        self, name: str, version: int | None, label: str | None, metadata: bool
    ) -> HttpResponse:
        """GET /v1/models/NAME[/versions/N|/labels/L][/metadata]."""
        if not name:
            raise invalid_argument("Missing model name in request.")
        if metadata:
            servable = self._model_server.find(name, version, label)
            return HttpResponse(200, _encode(_metadata_json(servable)))
        status = grpc_api.build_status(self._model_server, name, version, label)
        return HttpResponse(200, _encode(_to_dict(status)))

    def _recall(self, body: bytes) -> HttpResponse:
        """POST /recall."""
        servable = self._model_server.find(recall_types.MODEL_NAME)
        return HttpResponse(200, _encode(recall_json.answer(servable.service, parse_json(body))))

    def _items(self, body: bytes) -> HttpResponse:
        """GET /items: live changes and how the loaded versions hold them."""
        servable = self._model_server.find(items_servable.MODEL_NAME)
        return HttpResponse(200, _encode(servable.live_items.status()))

    def _change_items(self, change: Callable, body: bytes) -> HttpResponse:
        """POST /items:upsert and /items:delete."""
        servable = self._model_server.find(items_servable.MODEL_NAME)
        return HttpResponse(200, _encode(change(servable.live_items, parse_json(body))))

    def _healthz(self, body: bytes) -> HttpResponse:
        """GET /healthz: the process lives and its door answers."""
        return HttpResponse(200, _encode({"alive": True}))

    def _readyz(self, body: bytes) -> HttpResponse:
        """GET /readyz: every model is available, and no shutdown began."""
        ready = self._model_server.is_ready()
        models = {
            name: {str(version): state.name for version, state in versions.items()}
            for name, versions in self._model_server.states().items()
        }
        return HttpResponse(200 if ready else 503, _encode({"ready": ready, "models": models}))


def error_response(code: Code, message: str) -> HttpResponse:
    """An error in TF Serving's form."""
    return HttpResponse(_HTTP_STATUS.get(code, 500), _encode({"error": message}))


def _parse_model(
    name: str | None, version: str | None, label: str | None
) -> tuple[str, int | None, str | None]:
    """Parts of a path, decoded."""
    number = None
    if version is not None:
        number = int(version) if len(version) <= 19 else _MAX_INT64 + 1
        if number > _MAX_INT64:
            raise invalid_argument(f"Failed to convert version: {version[:40]} to numeric.")
    return (
        urllib.parse.unquote(name or ""),
        number,
        urllib.parse.unquote(label) if label is not None else None,
    )


def _metadata_json(servable: Servable) -> dict[str, Any]:
    """The metadata message with its `Any` unpacked, as TF Serving writes it."""
    response = grpc_api.build_metadata(servable)
    packed = response.metadata[grpc_api.SIGNATURE_DEF_FIELD]
    signature_def_map = grpc_api.get_model_metadata_pb2.SignatureDefMap()
    packed.Unpack(signature_def_map)
    return {
        "model_spec": _to_dict(response.model_spec),
        "metadata": {grpc_api.SIGNATURE_DEF_FIELD: _to_dict(signature_def_map)},
    }


def _to_dict(message: Message) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _encode(document: Mapping[str, Any]) -> bytes:
    """JSON text; NaN and infinities as the tokens TF Serving writes."""
    return json.dumps(document, ensure_ascii=False).encode()
