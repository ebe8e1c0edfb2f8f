"""How a request comes to the function that answers it: admitted, read, in a thread.

Imports no TensorFlow.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent import futures

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from serving.doors.admin import AdminGuard
from serving.http_door.body import read_body
from serving.http_door.errors import JSON_TYPE, HttpError
from serving.http_door.exchange import Exchange
from serving.http_door.paths import ModelPath
from serving.monitoring.access_log import show_path
from serving.monitoring.metrics import REST_ENTRYPOINT
from serving.protocol.call import Call
from serving.protocol.json_document import decoded_bytes

_TIMEOUT_S = 30.0
"""Deadline of a request, which HTTP has no way to state: TF Serving's default."""

LARGE_BYTES = 64 << 10
"""A body above takes milliseconds to decode, and what is decoded counts."""

_PATIENCE_S = 0.1


class AdmittedRequest(Request):
    """A request in its thread, with its body.

    Attributes:
        exchange: What the door knows of it.
        content: The body, decompressed; at most `MAX_BODY_BYTES`.
        call: Deadline, and whether the client is still there.
    """

    content: bytes
    call: Call

    def __init__(self, scope: Scope, receive: Receive):
        """A request whose body is not read yet."""
        super().__init__(scope, receive)
        self.exchange: Exchange = scope["state"]["exchange"]

    def check_change(self, admin: AdminGuard) -> None:
        """Refuses to change something for a page that nobody named, a form, or without the token.

        Browsers send no JSON to another origin without asking (a preflight).

        Raises:
            HttpError: 403 or 415.
            ServingError: See `AdminGuard.check`.
        """
        if self.exchange.is_foreign:
            raise HttpError(
                "origin",
                403,
                "Pages of other origins may not change items. Name their origin in "
                "--cors_allowed_origins.",
            )
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != JSON_TYPE:
            raise HttpError(
                "content_type",
                415,
                f"Changes need the header Content-Type: {JSON_TYPE}, received "
                f"{show_path(media_type) or 'none'}.",
                {"Accept": JSON_TYPE},
            )
        admin.check(self.headers.get("authorization"))


class InThread:
    """An endpoint whose answer takes time: the server must have room, and a thread works on it.

    Starlette's own threads have no bound that fits `Admission`, and do not tell the
    function when its client goes.
    """

    def __init__(
        self,
        handler: Callable[[AdmittedRequest], Response],
        model: str = "",
        *,
        needs_admin: bool = False,
    ):
        """An endpoint.

        Args:
            handler: Answers; runs in a thread.
            model: That it asks where the path names none, for the access log.
            needs_admin: Whether it changes something: see `AdmittedRequest.check_change`.
        """
        self._handler = handler
        self._model = model
        self._needs_admin = needs_admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, in ASGI's terms."""
        request, door = AdmittedRequest(scope, receive), scope["app"]
        exchange, backend = request.exchange, door.backend
        path_model: ModelPath | None = scope["path_params"].get("model")
        exchange.model = self._model if path_model is None else path_model.name
        with backend.shedding(REST_ENTRYPOINT):
            backend.admission.check()  # Known before the body is read.
            request.content, exchange.bytes_in = await read_body(request, exchange.reservation)
            if len(request.content) > LARGE_BYTES:
                exchange.reservation.grow(decoded_bytes(request.content))
        with backend.admitted(REST_ENTRYPOINT):
            response = await self._run(request, door.executor)
        await response(scope, receive, send)

    async def _run(self, request: AdmittedRequest, executor: futures.Executor) -> Response:
        """Answers in a thread, and tells it when the client goes."""
        request.call = call = Call(_TIMEOUT_S)
        # Once the body is read, the next message says that the client went.
        departure = asyncio.ensure_future(request.receive())
        departure.add_done_callback(lambda _: call.cancel())
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(executor, self._answer, request)
        finally:
            departure.cancel()

    def _answer(self, request: AdmittedRequest) -> Response:
        if self._needs_admin:
            request.check_change(request.app.backend.admin)
        return self._handler(request)


class LargeBodies:
    """Lets one large body be read at a time; safe to use from several threads.

    Each holds the interpreter's lock for long; together they would keep the
    health checks waiting.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def reading(self, request: AdmittedRequest) -> Iterator[None]:
        """Reads the body of a request in the block.

        Raises:
            ServingError: The deadline came first.
        """
        if len(request.content) <= LARGE_BYTES:
            yield
            return
        while not self._lock.acquire(timeout=_PATIENCE_S):
            request.call.check()
        try:
            request.call.check()
            yield
        finally:
            self._lock.release()
