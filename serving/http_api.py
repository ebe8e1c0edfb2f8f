"""The HTTP door: TF Serving's REST API, `POST /recall`, health.

A plain callable, request in and response out, with no socket; `http_server`
puts it behind one. All bodies are JSON.
"""

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
    item_changes,
    items_json,
    json_tensors,
    metrics,
    recall_json,
    recall_types,
    signatures,
)
from serving.backend import Backend
from serving.call import Call
from serving.json_document import parse_json
from serving.servable import Servable
from serving.status import Code, ServingError, invalid_argument

_LOGGER = logging.getLogger(__name__)

MAX_BODY_BYTES = 16 << 20
"""Far above a full batch of long histories; bounds what one client can make us hold."""

ENTRYPOINT = "REST"
"""TF Serving's label of this door's requests."""

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
        body: UTF-8.
        headers: Beside Content-Type and Content-Length.
        content_type: Of the body.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


class HttpRequest(NamedTuple):
    """What the door is asked.

    Attributes:
        method: HTTP method, in capitals.
        path: As sent: still percent-encoded, without the query string.
        body: At most `MAX_BODY_BYTES`; the server sees to that.
        authorization: The header of that name.
        call: Deadline, and whether the client is still there.
    """

    method: str
    path: str
    body: bytes
    authorization: str | None
    call: Call


class _Route(NamedTuple):
    """A fixed path: its one method, who answers, and who may ask."""

    method: str
    handler: Callable[[HttpRequest], HttpResponse]
    needs_admin: bool = False


class HttpApi:
    """Routes requests; safe to call from several threads."""

    def __init__(self, backend: Backend, *, metrics_path: str | None = metrics.DEFAULT_PATH):
        """Opens the door to a server.

        Args:
            backend: The models and what guards them.
            metrics_path: Where metrics are shown; None shows none.
        """
        self.backend = backend
        self._routes: dict[str, _Route] = {
            "/recall": _Route("POST", self._recall),
            "/items": _Route("GET", self._items),
            "/items:upsert": _Route("POST", self._upsert_items, needs_admin=True),
            "/items:delete": _Route("POST", self._delete_items, needs_admin=True),
            "/healthz": _Route("GET", self._healthz),
            "/readyz": _Route("GET", self._readyz),
        }
        if metrics_path is not None:
            self._routes[metrics_path] = _Route("GET", self._metrics)
        self.immediate_paths = frozenset({"/healthz", "/readyz", metrics_path} - {None})

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        authorization: str | None = None,
        call: Call | None = None,
    ) -> HttpResponse:
        """Answers one request; the arguments are those of `HttpRequest`."""
        try:
            return self._route(HttpRequest(method, path, body, authorization, call or Call()))
        except ServingError as error:
            return error_response(error.code, error.message)
        except InputError as error:
            return error_response(Code.INVALID_ARGUMENT, str(error))
        except Exception:
            _LOGGER.exception("%s %s failed", method, path)
            return error_response(
                Code.INTERNAL, "Internal error; the server's log has the details."
            )

    def _route(self, request: HttpRequest) -> HttpResponse:
        method, path = request.method, request.path
        if path in self._routes:
            route = self._routes[path]
            if method != route.method:
                text = _encode({"error": f"{path} answers {route.method} only."})
                return HttpResponse(405, text, (("Allow", route.method),))
            if route.needs_admin:
                self.backend.admin.check(request.authorization)
            return route.handler(request)
        if not path.startswith("/v1/"):
            return error_response(Code.NOT_FOUND, f"Not Found: {path}")
        predict = _PREDICT_PATH.fullmatch(path) if method == "POST" else None
        if predict is not None:
            model, verb = _parse_model(*predict.groups()[:3]), predict.group(4)
            with self.backend.answering(request.call, model[0], verb, ENTRYPOINT):
                return self._predict(request, *model, verb)
        model = _MODEL_PATH.fullmatch(path) if method == "GET" else None
        if model is not None:
            return self._describe(*_parse_model(*model.groups()[:3]), model.group(4) is not None)
        raise invalid_argument(f"Malformed request: {method} {path}")

    def _predict(
        self, request: HttpRequest, name: str, version: int | None, label: str | None, verb: str
    ) -> HttpResponse:
        """POST /v1/models/NAME[/versions/N|/labels/L]:predict."""
        if verb != "predict":
            raise ServingError(Code.UNIMPLEMENTED, f"{verb} is not offered; use predict.")
        document = parse_json(request.body)
        signature_name = document.get("signature_name", signatures.DEFAULT_SIGNATURE)
        if not isinstance(signature_name, str):
            raise invalid_argument(
                "JSON Value not formatted correctly. 'signature_name' key must be a string value."
            )
        with self.backend.model_server.use(name, version, label) as servable:
            signature = servable.signature_defs.get(signature_name or signatures.DEFAULT_SIGNATURE)
            # One without inputs is answered too; TF Serving refuses it.
            if signature is None:
                raise invalid_argument(
                    f'Serving signature name: "{signature_name}" not found in signature def'
                )
            self.backend.check_admin(servable, signature_name, request.authorization)
            inputs, row_form = json_tensors.parse_inputs(document, signature)
            timeout_s = request.call.time_left_s()
            outputs = servable.predict(signature_name, inputs, timeout_s=timeout_s)
        self.backend.metrics.count_answers(outputs)
        return HttpResponse(200, _encode(json_tensors.build_answer(outputs, row_form)))

    def _describe(
        self, name: str, version: int | None, label: str | None, metadata: bool
    ) -> HttpResponse:
        """GET /v1/models/NAME[/versions/N|/labels/L][/metadata]."""
        if not name:
            raise invalid_argument("Missing model name in request.")
        if metadata:
            with self.backend.model_server.use(name, version, label) as servable:
                return HttpResponse(200, _encode(_metadata_json(servable)))
        status = grpc_api.build_status(self.backend.model_server, name, version, label)
        return HttpResponse(200, _encode(_to_dict(status)))

    def _recall(self, request: HttpRequest) -> HttpResponse:
        """POST /recall."""
        name = recall_types.MODEL_NAME
        with (
            self.backend.answering(request.call, name, name, ENTRYPOINT),
            self.backend.model_server.use(name) as servable,
        ):
            answer = recall_json.answer(
                servable.service, parse_json(request.body), timeout_s=request.call.time_left_s()
            )
        self.backend.metrics.count_answers(answer)
        return HttpResponse(200, _encode(answer))

    def _items(self, request: HttpRequest) -> HttpResponse:
        """GET /items: live changes and how the loaded versions hold them."""
        with self.backend.model_server.use(item_changes.MODEL_NAME) as servable:
            return HttpResponse(200, _encode(servable.live_items.status()))

    def _upsert_items(self, request: HttpRequest) -> HttpResponse:
        """POST /items:upsert."""
        return self._change_items(request, "upsert", items_json.upsert)

    def _delete_items(self, request: HttpRequest) -> HttpResponse:
        """POST /items:delete."""
        return self._change_items(request, "delete", items_json.delete)

    def _change_items(self, request: HttpRequest, verb: str, change: Callable) -> HttpResponse:
        name = item_changes.MODEL_NAME
        with (
            self.backend.answering(request.call, name, verb, ENTRYPOINT),
            self.backend.model_server.use(name) as servable,
        ):
            document = parse_json(request.body)
            answer = change(servable.live_items, document, version=servable.version)
            return HttpResponse(200, _encode(answer))

    def _healthz(self, request: HttpRequest) -> HttpResponse:
        """GET /healthz: the process lives and its door answers."""
        return HttpResponse(200, _encode({"alive": True}))

    def _readyz(self, request: HttpRequest) -> HttpResponse:
        """GET /readyz: every model is available, and no shutdown began."""
        model_server = self.backend.model_server
        ready = model_server.is_ready()
        models = {
            name: {str(version): state.name for version, state in versions.items()}
            for name, versions in model_server.states().items()
        }
        return HttpResponse(200 if ready else 503, _encode({"ready": ready, "models": models}))

    def _metrics(self, request: HttpRequest) -> HttpResponse:
        """GET /monitoring/prometheus/metrics."""
        return HttpResponse(200, self.backend.metrics.page(), content_type=metrics.CONTENT_TYPE)


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
