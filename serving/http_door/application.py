"""The HTTP door as an ASGI application: what happens between a socket and `HttpApi`.

Refuses what may not be asked, reads bodies within their bounds, admits requests,
runs them in threads, and leaves a record of each.
"""

import asyncio
import time
from collections.abc import Mapping
from concurrent import futures
from typing import Any

from serving.http_door.api import REST_ENTRYPOINT, HttpApi
from serving.http_door.body import DisconnectedError, Reservation, read_body
from serving.http_door.request import LARGE_BYTES
from serving.http_door.response import HttpError, HttpResponse, error_response
from serving.http_door.sites import Sites
from serving.monitoring.access_log import (
    REQUEST_ID_HEADER,
    TRACE_HEADER,
    RequestRecord,
    choose_request_id,
)
from serving.protocol.call import Call
from serving.protocol.json_document import decoded_bytes
from serving.protocol.status import ServingError

_TIMEOUT_S = 30.0
"""Deadline of a request, which HTTP has no way to state: TF Serving's default."""

_FIRST_ERROR = 500

_STEP_BYTES = 256 << 10
"""Of an answer, handed to the connection at a time."""

_REQUEST_ID = REQUEST_ID_HEADER.encode()
_TRACE = TRACE_HEADER.encode()


class HttpDoor:
    """Answers requests of an ASGI server."""

    def __init__(self, api: HttpApi, sites: Sites, executor: futures.Executor):
        """Opens the door.

        Args:
            api: Answers the requests.
            sites: Which pages may ask, and under which names.
            executor: Runs them, so that they do not hold up health checks.
        """
        self._api = api
        self._backend = api.backend
        self._sites = sites
        self._executor = executor

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """One request, in ASGI's terms."""
        start_s, started_s = time.time(), time.perf_counter()
        headers = dict(scope["headers"])
        request_id = choose_request_id(_text(headers, _REQUEST_ID))
        with Reservation(self._backend.budget) as reservation:
            sizes = [0]
            response = await self._answer(scope, headers, receive, reservation, sizes)
            if response is not None:
                more = (*self._sites.answer_headers(headers), (REQUEST_ID_HEADER, request_id))
                response = response._replace(headers=response.headers + more)
                await _send(send, response, reservation)
        if self._backend.requests.is_on:
            if response is None:
                response = HttpResponse(499, b"")
            path = _path(scope)
            self._backend.requests.record(
                RequestRecord(
                    door=REST_ENTRYPOINT,
                    method=scope["method"],
                    path=path,
                    model=self._api.model_of(path),
                    status=response.status,
                    is_error=response.status >= _FIRST_ERROR,
                    bytes_in=sizes[0],
                    bytes_out=len(response.body),
                    start_s=start_s,
                    seconds=time.perf_counter() - started_s,
                    peer=scope["client"][0] if scope["client"] else "",
                    request_id=request_id,
                    trace_parent=_text(headers, _TRACE),
                )
            )

    async def _answer(
        self,
        scope: Mapping[str, Any],
        headers: Mapping[bytes, bytes],
        receive: Any,
        reservation: Reservation,
        sizes: list[int],
    ) -> HttpResponse | None:
        """The answer, also of a refusal; None when there is nobody to answer."""
        method, path = scope["method"], _path(scope)
        try:
            is_foreign = self._sites.check(method, headers)
            if method == "OPTIONS":
                return self._sites.preflight(headers, self._api.allowed_methods(path))
            if path in self._api.immediate_paths:
                return self._api(method, path)
            with self._backend.shedding(REST_ENTRYPOINT):
                self._backend.admission.check()  # Known before the body is read.
                body, sizes[0] = await read_body(receive, headers, reservation)
                if len(body) > LARGE_BYTES:
                    reservation.grow(decoded_bytes(body))
            with self._backend.admitted(REST_ENTRYPOINT):
                return await self._run(method, path, body, headers, is_foreign, receive)
        except HttpError as error:
            self._backend.metrics.count_http_refusal(error.reason)
            return error.response
        except ServingError as error:
            return error_response(error.code, error.message)
        except DisconnectedError:
            return None

    async def _run(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: Mapping[bytes, bytes],
        is_foreign: bool,
        receive: Any,
    ) -> HttpResponse:
        """Runs an admitted request in a thread, and tells it when its client goes."""
        call = Call(_TIMEOUT_S)
        authorization, content_type = (
            _text(headers, b"authorization"),
            _text(headers, b"content-type"),
        )
        request = (method, path, body, authorization, call, content_type, is_foreign)
        # Once the body is read, the next message says that the client went.
        departure = asyncio.ensure_future(receive())
        departure.add_done_callback(lambda _: call.cancel())
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, self._api, *request
            )
        finally:
            departure.cancel()


def _path(scope: Mapping[str, Any]) -> str:
    return scope["raw_path"].decode("ascii", "replace")


def _text(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    value = headers.get(name)
    return None if value is None else value.decode("ascii", "replace")


async def _send(send: Any, response: HttpResponse, reservation: Reservation) -> None:
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", str(len(response.body)).encode()),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in response.headers),
    ]
    if response.status == 204:
        del headers[:2]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    body = memoryview(response.body)
    if len(body) > _STEP_BYTES:
        # Sending at once would copy all of it several times while others wait.
        reservation.hold(len(body))
        while len(body) > _STEP_BYTES:
            part, body = bytes(body[:_STEP_BYTES]), body[_STEP_BYTES:]
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": bytes(body)})
