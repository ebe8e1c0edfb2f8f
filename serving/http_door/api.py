"""The HTTP door: TF Serving's REST API, `POST /recall`, health.

A plain callable, request in and response out, with no socket; `server`
puts it behind one. All bodies are JSON.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

from recall.errors import InputError
from serving.api import item_changes, items_json, recall_json, recall_request
from serving.doors import model_status
from serving.doors.backend import Backend
from serving.http_door import paths
from serving.http_door.request import HttpRequest, LargeBodies
from serving.http_door.response import RETRY_AFTER, HttpError, HttpResponse, error_response, refusal
from serving.monitoring import metrics
from serving.monitoring.access_log import show_path
from serving.protocol import json_outputs, json_tensors, signatures
from serving.protocol.call import Call
from serving.protocol.json_answers import encode_json
from serving.protocol.json_document import parse_json
from serving.protocol.status import Code, ServingError, invalid_argument

_LOGGER = logging.getLogger(__name__)

REST_ENTRYPOINT = "REST"
"""TF Serving's label of this door's requests."""

_PREDICT = "predict"
_READING, _ASKING = ("GET", "HEAD", "OPTIONS"), ("POST", "OPTIONS")


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
        self._large_bodies = LargeBodies()
        self.immediate_paths = frozenset({"/healthz", "/readyz", metrics_path} - {None})

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        authorization: str | None = None,
        call: Call | None = None,
        content_type: str | None = None,
        is_foreign: bool = False,
    ) -> HttpResponse:
        """Answers one request; the arguments are those of `HttpRequest`."""
        request = HttpRequest(
            method, path, body, authorization, call or Call(), content_type, is_foreign
        )
        try:
            return self._route(request)
        except HttpError as error:
            self.backend.metrics.count_http_refusal(error.reason)
            return error.response
        except ServingError as error:
            return error_response(error.code, error.message)
        except InputError as error:
            return error_response(Code.INVALID_ARGUMENT, str(error))
        except Exception:
            _LOGGER.exception("%s %s failed", method, show_path(path))
            return error_response(
                Code.INTERNAL, "Internal error; the server's log has the details."
            )

    def allowed_methods(self, path: str) -> str:
        """The methods a path answers, as `Allow` has them; all where it is not known."""
        if path in self._routes:
            methods = _ASKING if self._routes[path].method == "POST" else _READING
        elif paths.parse_predict(path) is not None:
            methods = _ASKING
        elif paths.parse_model(path) is not None:
            methods = _READING
        else:
            methods = dict.fromkeys((*_READING, *_ASKING))
        return ", ".join(methods)

    def model_of(self, path: str) -> str:
        """The model a path names, "" for none."""
        if path in self._routes:
            return "" if path in self.immediate_paths else path[1:].partition(":")[0]
        return paths.model_name(path)

    def _route(self, request: HttpRequest) -> HttpResponse:
        path = request.path
        method = "GET" if request.method == "HEAD" else request.method
        if path in self._routes:
            route = self._routes[path]
            if method != route.method:
                allow = (("Allow", self.allowed_methods(path)),)
                return refusal(405, f"{path} answers {route.method} only.", allow)
            if route.needs_admin:
                request.check_change()
                self.backend.admin.check(request.authorization)
            return route.handler(request)
        if not paths.is_models(path):
            return error_response(Code.NOT_FOUND, f"Not Found: {show_path(path)}")
        predict = paths.parse_predict(path) if method == "POST" else None
        if predict is not None:
            model, verb = predict
            with self.backend.counted_answer(request.call, model.name, verb, REST_ENTRYPOINT):
                return self._predict(request, model, verb)
        described = paths.parse_model(path) if method == "GET" else None
        if described is not None:
            return self._describe(*described)
        raise invalid_argument(f"Malformed request: {request.method} {show_path(path)}")

    def _predict(self, request: HttpRequest, model: paths.ModelPath, verb: str) -> HttpResponse:
        """POST /v1/models/NAME[/versions/N|/labels/L]:predict."""
        if verb != _PREDICT:
            raise ServingError(
                Code.UNIMPLEMENTED,
                f"{verb} is not offered: it is for models whose signature has the method "
                f"tensorflow/serving/{verb}, which `tf.saved_model.save` never writes. "
                "Use :predict.",
            )
        with self._large_bodies.reading(request):
            document = parse_json(request.body)
        signature_name = document.get("signature_name", signatures.DEFAULT_SIGNATURE)
        if not isinstance(signature_name, str):
            raise invalid_argument(
                "JSON Value not formatted correctly. 'signature_name' key must be a string value."
            )
        with self.backend.model_server.use(*model) as servable:
            signature = servable.signature_defs.get(signature_name or signatures.DEFAULT_SIGNATURE)
            # One without inputs is answered too; TF Serving refuses it.
            if signature is None:
                raise invalid_argument(
                    f'Serving signature name: "{signature_name}" not found in signature def'
                )
            if self.backend.needs_admin(servable, signature_name):
                request.check_change()
                self.backend.admin.check(request.authorization)
            request.call.check()
            with self._large_bodies.reading(request):
                parsed = json_tensors.parse_inputs(document, signature)
            request.call.check()
            timeout_s = request.call.time_left_s()
            outputs = servable.predict(signature_name, parsed.arrays, timeout_s=timeout_s)
        if parsed.is_flat:
            outputs = json_outputs.flatten(outputs, signature)
        request.call.check()
        return HttpResponse(200, encode_json(json_outputs.build_answer(outputs, parsed.row_form)))

    def _describe(self, model: paths.ModelPath, metadata: bool) -> HttpResponse:
        """GET /v1/models/NAME[/versions/N|/labels/L][/metadata]."""
        if not model.name:
            raise invalid_argument("Missing model name in request.")
        if metadata:
            with self.backend.model_server.use(*model) as servable:
                return HttpResponse(200, encode_json(model_status.metadata_json(servable)))
        status = model_status.build_status(self.backend.model_server, *model)
        return HttpResponse(200, encode_json(model_status.to_dict(status)))

    def _recall(self, request: HttpRequest) -> HttpResponse:
        """POST /recall."""
        name = recall_request.RECALL_MODEL
        with (
            self.backend.counted_answer(request.call, name, name, REST_ENTRYPOINT),
            self.backend.model_server.use(name) as servable,
        ):
            with self._large_bodies.reading(request):
                document = parse_json(request.body)
                body = recall_json.parse_body(document, servable.service.limits.max_batch_size)
            request.call.check()
            timeout_s = body.shorter(request.call.time_left_s())
            responses = servable.recall(body.requests, timeout_s=timeout_s)
        return HttpResponse(200, body.encode_answer(responses))

    def _items(self, request: HttpRequest) -> HttpResponse:
        """GET /items: live changes and how the loaded versions hold them."""
        with self.backend.model_server.use(item_changes.ITEMS_MODEL) as servable:
            return HttpResponse(200, encode_json(servable.live_items.status()))

    def _upsert_items(self, request: HttpRequest) -> HttpResponse:
        """POST /items:upsert."""
        return self._change_items(request, "upsert", items_json.upsert)

    def _delete_items(self, request: HttpRequest) -> HttpResponse:
        """POST /items:delete."""
        return self._change_items(request, "delete", items_json.delete)

    def _change_items(self, request: HttpRequest, verb: str, change: Callable) -> HttpResponse:
        name = item_changes.ITEMS_MODEL
        with (
            self.backend.counted_answer(request.call, name, verb, REST_ENTRYPOINT),
            self.backend.model_server.use(name) as servable,
        ):
            with self._large_bodies.reading(request):
                document = parse_json(request.body)
            answer = change(servable.live_items, document, version=servable.version)
            return HttpResponse(200, encode_json(answer))

    def _healthz(self, request: HttpRequest) -> HttpResponse:
        """GET /healthz: the process lives and its door answers."""
        return HttpResponse(200, encode_json({"alive": True}))

    def _readyz(self, request: HttpRequest) -> HttpResponse:
        """GET /readyz: every model is available, requests are answered, no shutdown began."""
        model_server = self.backend.model_server
        ready = self.backend.is_ready()
        models = {
            name: {str(version): state.name for version, state in versions.items()}
            for name, versions in model_server.states().items()
        }
        document = {"ready": ready, "models": models}
        if not self.backend.heartbeat.is_alive:
            silent_s = self.backend.heartbeat.silent_s
            document["error"] = f"No request was answered for {silent_s:.0f} s."
        body = encode_json(document)
        return HttpResponse(200, body) if ready else HttpResponse(503, body, RETRY_AFTER)

    def _metrics(self, request: HttpRequest) -> HttpResponse:
        """GET /monitoring/prometheus/metrics."""
        return HttpResponse(200, self.backend.metrics.page(), content_type=metrics.CONTENT_TYPE)
