"""What the HTTP door answers: TF Serving's REST API, `POST /recall`, health.

One function a route, request in and response out; `routes` has their paths. All bodies
are JSON.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from serving.api import item_changes, items_json, recall_json, recall_request
from serving.api.recall_limits import RecallLimits
from serving.doors import model_status
from serving.doors.backend import Backend, ItemsModel
from serving.http_door.endpoints import AdmittedRequest, LargeBodies
from serving.http_door.errors import JSON_TYPE, RETRY_AFTER
from serving.http_door.paths import ModelPath
from serving.monitoring.access_log import show_path
from serving.monitoring.metrics import CONTENT_TYPE, REST_ENTRYPOINT
from serving.monitoring.options import DEFAULT_PATH
from serving.openapi.document import build_openapi
from serving.protocol import json_outputs, json_tensors, signatures
from serving.protocol.json_answers import encode_json
from serving.protocol.json_document import parse_json
from serving.protocol.status import Code, ServingError, invalid_argument

_PREDICT = "predict"


class HttpApi:
    """Answers requests; safe to call from several threads.

    `async` functions run in the event loop and must be quick; the others run in a thread
    (`endpoints.InThread`).

    Attributes:
        backend: The models and what guards them.
        metrics_paths: Where metrics are shown: one path, or none.
        has_explorer: Whether the interest explorer is shown.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        metrics_path: str | None = DEFAULT_PATH,
        limits: RecallLimits | None = None,
        has_explorer: bool = True,
    ):
        """Answers for a server.

        Args:
            backend: The models and what guards them.
            metrics_path: Where metrics are shown; None shows none.
            limits: Largest sizes of a recall request, as the API's description has them.
            has_explorer: Whether the interest explorer is shown.
        """
        self.backend = backend
        self.metrics_paths = () if metrics_path is None else (metrics_path,)
        self.has_explorer = has_explorer
        self._large_bodies = LargeBodies()
        description = build_openapi(
            limits or RecallLimits(),
            needs_token=backend.admin.has_token,
            metrics_paths=self.metrics_paths,
        )
        self._openapi = encode_json(description)

    def predict(self, request: AdmittedRequest) -> Response:
        """POST /v1/models/NAME[/versions/N|/labels/L]:predict."""
        model, verb = request.path_params["model"], request.path_params["verb"]
        with self.backend.counted_answer(request.call, model.name, verb, REST_ENTRYPOINT):
            return self._predict(request, model, verb)

    def _predict(self, request: AdmittedRequest, model: ModelPath, verb: str) -> Response:
        if verb != _PREDICT:
            raise ServingError(
                Code.UNIMPLEMENTED,
                f"{verb} is not offered: it is for models whose signature has the method "
                f"tensorflow/serving/{verb}, which `tf.saved_model.save` never writes. "
                "Use :predict.",
            )
        with self._large_bodies.reading(request):
            document = parse_json(request.content)
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
                request.check_change(self.backend.admin)
            request.call.check()
            with self._large_bodies.reading(request):
                parsed = json_tensors.parse_inputs(document, signature)
            request.call.check()
            timeout_s = request.call.time_left_s()
            outputs = servable.predict(signature_name, parsed.arrays, timeout_s=timeout_s)
        if parsed.is_flat:
            outputs = json_outputs.flatten(outputs, signature)
        request.call.check()
        return _json(json_outputs.build_answer(outputs, parsed.row_form))

    def status(self, request: AdmittedRequest) -> Response:
        """GET /v1/models/NAME[/versions/N|/labels/L]."""
        model = _named(request)
        status = model_status.build_status(self.backend.model_server, *model)
        return _json(model_status.to_dict(status))

    def metadata(self, request: AdmittedRequest) -> Response:
        """GET /v1/models/NAME[/versions/N|/labels/L]/metadata."""
        with self.backend.model_server.use(*_named(request)) as servable:
            return _json(model_status.metadata_json(servable))

    async def malformed(self, request: Request) -> Response:
        """Whatever else begins with /v1/."""
        path = request.scope["path"]
        raise invalid_argument(f"Malformed request: {request.method} {show_path(path)}")

    def recall(self, request: AdmittedRequest) -> Response:
        """POST /recall."""
        name = recall_request.RECALL_MODEL
        with (
            self.backend.counted_answer(request.call, name, name, REST_ENTRYPOINT),
            self.backend.use_recall() as model,
        ):
            with self._large_bodies.reading(request):
                document = parse_json(request.content)
                body = recall_json.parse_body(document, model.service.limits.max_batch_size)
            request.call.check()
            timeout_s = body.shorter(request.call.time_left_s())
            responses = model.recall(body.requests, timeout_s=timeout_s)
        return Response(body.encode_answer(responses), media_type=JSON_TYPE)

    def items(self, request: AdmittedRequest) -> Response:
        """GET /items: live changes and how the loaded versions hold them."""
        with self.backend.use_items() as model:
            return _json(model.live_items.status())

    def search_items(self, request: AdmittedRequest) -> Response:
        """POST /items:search."""
        return self._find_items(request, "search", items_json.search)

    def look_up_items(self, request: AdmittedRequest) -> Response:
        """POST /items:lookup."""
        return self._find_items(request, "lookup", items_json.describe)

    def _find_items(self, request: AdmittedRequest, verb: str, find: Callable) -> Response:
        with self._asked_items(request, verb) as (model, document):
            timeout_s = request.call.time_left_s()
            answer = find(model.live_items, document, version=model.version, timeout_s=timeout_s)
            return _json(answer)

    def upsert_items(self, request: AdmittedRequest) -> Response:
        """POST /items:upsert."""
        return self._change_items(request, "upsert", items_json.upsert)

    def delete_items(self, request: AdmittedRequest) -> Response:
        """POST /items:delete."""
        return self._change_items(request, "delete", items_json.delete)

    def _change_items(self, request: AdmittedRequest, verb: str, change: Callable) -> Response:
        with self._asked_items(request, verb) as (model, document):
            return _json(change(model.live_items, document, version=model.version))

    @contextlib.contextmanager
    def _asked_items(
        self, request: AdmittedRequest, verb: str
    ) -> Iterator[tuple[ItemsModel, dict[str, Any]]]:
        """The model `items`, in use and counted, and the JSON object that asks it."""
        name = item_changes.ITEMS_MODEL
        with (
            self.backend.counted_answer(request.call, name, verb, REST_ENTRYPOINT),
            self.backend.use_items() as model,
        ):
            with self._large_bodies.reading(request):
                document = parse_json(request.content)
            yield model, document

    async def healthz(self, request: Request) -> Response:
        """GET /healthz: the process lives and its door answers."""
        return _json({"alive": True})

    async def readyz(self, request: Request) -> Response:
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
        return _json(document) if ready else _json(document, 503, RETRY_AFTER)

    async def openapi(self, request: Request) -> Response:
        """GET /openapi.json."""
        return Response(self._openapi, media_type=JSON_TYPE)

    async def metrics(self, request: Request) -> Response:
        """GET /monitoring/prometheus/metrics."""
        return Response(self.backend.metrics.page(), media_type=CONTENT_TYPE)


def _json(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer in our own JSON, which has numbers of numpy."""
    return Response(encode_json(document), status, headers, JSON_TYPE)


def _named(request: AdmittedRequest) -> ModelPath:
    """The model of a path.

    Raises:
        ServingError: INVALID_ARGUMENT, the path names none.
    """
    model = request.path_params["model"]
    if not model.name:
        raise invalid_argument("Missing model name in request.")
    return model
