"""The socket under the HTTP door: uvicorn, run in a thread of this process.

uvicorn parses HTTP strictly, keeps connections alive and stops gracefully;
Python's own http.server is not meant for production. Models run in a thread
pool, so that they do not hold up the health checks.
"""

import asyncio
import logging
import socket
import threading
from concurrent import futures
from typing import Any

import uvicorn

from serving.call import Call
from serving.http_api import ENTRYPOINT, MAX_BODY_BYTES, HttpApi, HttpResponse, error_response
from serving.status import Code, ServingError
from serving.tls import TlsFiles

TIMEOUT_S = 30.0
"""Deadline of a request, which HTTP has no way to state: TF Serving's default."""

_KEEP_ALIVE_S = 60
"""Idle connections are closed then; load balancers reuse them sooner."""

_STARTUP_S = 10.0


class _BodyTooLargeError(Exception):
    """The body of a request exceeds the limit."""


class _DisconnectedError(Exception):
    """The client went away before its request was complete."""


class HttpServer:
    """Serves an `HttpApi` on a bound socket."""

    def __init__(
        self,
        api: HttpApi,
        bound_socket: socket.socket,
        *,
        tls: TlsFiles | None = None,
        shutdown_s: float = 10.0,
    ):
        """Prepares the server.

        Args:
            api: Answers the requests.
            bound_socket: Bound, not yet listening; closed by `stop`.
            tls: Certificate and key; None speaks HTTP without encryption.
            shutdown_s: Time running requests have when the server stops.
        """
        self._api = api
        self._socket = bound_socket
        # As many as may be admitted: none of them waits for a thread.
        self._executor = futures.ThreadPoolExecutor(
            api.backend.admission.max_in_flight, thread_name_prefix="http"
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._application,
                http="h11",
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_config=None,
                log_level=logging.WARNING,
                server_header=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(shutdown_s)),
                **(tls.uvicorn_options() if tls is not None else {}),
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, args=([bound_socket],), name="http-server", daemon=True
        )

    def start(self) -> None:
        """Returns when connections are accepted."""
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(_STARTUP_S / 0.01)):
            if self._server.started or not self._thread.is_alive():
                return
            waited.wait(0.01)

    def stop(self) -> None:
        """Lets running requests finish, then closes the socket."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._executor.shutdown()
        self._socket.close()

    async def _application(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """One request, in ASGI's terms."""
        try:
            body = await _read_body(scope, receive)
        except _BodyTooLargeError:
            message = f"The body must be at most {MAX_BODY_BYTES} bytes."
            oversized = error_response(Code.INVALID_ARGUMENT, message)
            await _send(send, oversized._replace(status=413, headers=(("Connection", "close"),)))
            return
        except _DisconnectedError:
            return
        method, path = scope["method"], scope["raw_path"].decode("ascii", "replace")
        if path in self._api.immediate_paths:
            await _send(send, self._api(method, path, body))
            return
        try:
            self._api.backend.admission.enter()
        except ServingError as error:
            self._api.backend.metrics.count_shed(ENTRYPOINT)
            await _send(send, error_response(error.code, error.message))
            return
        try:
            response = await self._answer(method, path, body, scope, receive)
        finally:
            self._api.backend.admission.leave()
        await _send(send, response)

    async def _answer(
        self, method: str, path: str, body: bytes, scope: dict[str, Any], receive: Any
    ) -> HttpResponse:
        """Runs an admitted request in a thread, and tells it when its client goes."""
        call = Call(TIMEOUT_S)
        authorization = dict(scope["headers"]).get(b"authorization", b"").decode("ascii", "replace")
        request = (method, path, body, authorization or None, call)
        # Once the body is read, the next message says that the client went.
        departure = asyncio.ensure_future(receive())
        departure.add_done_callback(lambda _: call.cancel())
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._executor, self._api, *request
            )
        finally:
            departure.cancel()


async def _read_body(scope: dict[str, Any], receive: Any) -> bytes:
    """The whole body; gives up before it holds more than the limit.

    Raises:
        _BodyTooLargeError: The body is, or says it is, too large.
        _DisconnectedError: There is nobody to answer.
    """
    stated = dict(scope["headers"]).get(b"content-length", b"0")
    if stated.isdigit() and int(stated) > MAX_BODY_BYTES:
        raise _BodyTooLargeError
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _DisconnectedError
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _BodyTooLargeError
        if not message.get("more_body", False):
            return bytes(body)


async def _send(send: Any, response: HttpResponse) -> None:
    headers = [
        (b"content-type", response.content_type.encode()),
        (b"content-length", str(len(response.body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in response.headers),
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})
