"""The HTTP door as an ASGI application: Starlette's routes behind the guards of the door.

Refuses what may not be asked, turns errors into JSON, and leaves a record of each request.
"""

import logging
import time
from collections.abc import Mapping
from concurrent import futures

from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Router
from starlette.types import Receive, Scope, Send

from recall.errors import InputError
from serving.doors.backend import Backend
from serving.http_door.body import Reservation
from serving.http_door.errors import HttpError, error_response, refusal
from serving.http_door.exchange import Exchange
from serving.http_door.paths import allowed_methods
from serving.http_door.sites import Sites
from serving.monitoring.access_log import (
    REQUEST_ID_HEADER,
    TRACE_HEADER,
    RequestRecord,
    choose_request_id,
    show_path,
)
from serving.monitoring.metrics import REST_ENTRYPOINT
from serving.protocol.status import Code, ServingError

_LOGGER = logging.getLogger(__name__)

_FIRST_ERROR = 500

_REQUEST_ID = REQUEST_ID_HEADER.encode()
_TRACE = TRACE_HEADER.encode()


class HttpDoor:
    """Answers requests of an ASGI server.

    Attributes:
        backend: The models and what guards them.
        router: The routes.
        executor: Runs what takes time, so that it does not hold up health checks.
    """

    def __init__(self, backend: Backend, router: Router, sites: Sites, executor: futures.Executor):
        """Opens the door.

        Args:
            backend: The models and what guards them.
            router: The routes.
            sites: Which pages may ask, and under which names.
            executor: Runs what takes time.
        """
        self.backend = backend
        self.router = router
        self.executor = executor
        self._sites = sites
        # Not the whole of `Starlette`: its outermost layer raises again what it answered.
        self._app = ExceptionMiddleware(
            self._check_and_route,
            {
                404: self._answer_no_path,
                405: self._answer_no_method,
                HTTPException: self._answer_refusal,
                ServingError: self._answer_error,
                InputError: self._answer_fault,
                ClientDisconnect: self._answer_nobody,
                Exception: self._answer_defect,
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, in ASGI's terms."""
        start_s, started_s = time.time(), time.perf_counter()
        headers = dict(scope["headers"])
        request_id = choose_request_id(_text(headers, _REQUEST_ID))
        added = [*self._sites.answer_headers(headers), (_REQUEST_ID, request_id.encode())]
        with Reservation(self.backend.budget) as reservation:
            exchange = Exchange(send, reservation, added)
            scope["app"] = self
            scope["path"] = _path(scope)
            scope["state"]["exchange"] = exchange
            await self._app(scope, receive, exchange.send)
        if self.backend.requests.is_on:
            self.backend.requests.record(
                RequestRecord(
                    door=REST_ENTRYPOINT,
                    method=scope["method"],
                    path=_path(scope),
                    model=exchange.model,
                    status=exchange.status,
                    is_error=exchange.status >= _FIRST_ERROR,
                    bytes_in=exchange.bytes_in,
                    bytes_out=exchange.bytes_out,
                    start_s=start_s,
                    seconds=time.perf_counter() - started_s,
                    peer=scope["client"][0] if scope["client"] else "",
                    request_id=request_id,
                    trace_parent=_text(headers, _TRACE),
                )
            )

    async def _check_and_route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What has no row in the table of routes: who may ask, and OPTIONS."""
        headers, method = dict(scope["headers"]), scope["method"]
        scope["state"]["exchange"].is_foreign = self._sites.check(method, headers)
        if method == "OPTIONS":
            answer = self._sites.preflight(headers, self._allowed_methods(scope))
            await answer(scope, receive, send)
        else:
            await self.router(scope, receive, send)

    def _allowed_methods(self, scope: Scope) -> str:
        return allowed_methods(self.router.routes, _path(scope))

    # Answers to errors, wherever they come from.

    async def _answer_no_path(self, request: Request, error: HTTPException) -> Response:
        return error_response(Code.NOT_FOUND, f"Not Found: {show_path(_path(request.scope))}")

    async def _answer_no_method(self, request: Request, error: HTTPException) -> Response:
        path, allow = _path(request.scope), self._allowed_methods(request.scope)
        words = [word for word in allow.split(", ") if word not in ("HEAD", "OPTIONS")]
        text = f"{show_path(path)} answers {' and '.join(words)} only."
        return refusal(405, text, {"Allow": allow})

    async def _answer_refusal(self, request: Request, error: HTTPException) -> Response:
        if isinstance(error, HttpError):
            self.backend.metrics.count_http_refusal(error.reason)
        return refusal(error.status_code, error.detail, error.headers)

    async def _answer_error(self, request: Request, error: ServingError) -> Response:
        return error_response(error.code, error.message)

    async def _answer_fault(self, request: Request, error: InputError) -> Response:
        return error_response(Code.INVALID_ARGUMENT, str(error))

    async def _answer_nobody(self, request: Request, error: ClientDisconnect) -> None:
        """There is none to answer."""

    async def _answer_defect(self, request: Request, error: Exception) -> Response:
        path = show_path(_path(request.scope))
        _LOGGER.error("%s %s failed", request.method, path, exc_info=error)
        text = "Internal error; the server's log has the details."
        return error_response(Code.INTERNAL, text)


def _path(scope: Scope) -> str:
    """The path as it was sent, which a mount does not change."""
    return scope["raw_path"].decode("ascii", "replace")


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("ascii", "replace")
