"""One attempt of a call over either door, for threads and for coroutines.

Imports neither TensorFlow nor NumPy, and of gRPC and httpcore only what the address needs.
"""

import asyncio
import json
import os
import ssl
import time
from typing import Any, NamedTuple, TypeVar

from recall.errors import InputError
from serving.api import client_errors
from serving.api.client_errors import CallError
from serving.api.questions import Question
from serving.network import door_address
from serving.network.client_tls import ClientTls
from serving.protocol.status import ServingError

T = TypeVar("T")

_IDLE_S = 50.0
"""A connection over HTTP that nobody used for longer is not used again: the server closes it
after 60 s."""

_MAX_MESSAGE_BYTES = 64 << 20
"""As large as the server sends."""

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_reconnect_backoff_ms", 1000),  # A server that comes back is soon used again.
    ("grpc.enable_retries", 0),  # `serving/network/retries.py` says when.
)


class Where(NamedTuple):
    """A server and how it is called.

    Attributes:
        server: `host:port` of its gRPC door, or `http://host:port` or `https://host:port`.
        tls: Certificates.
        token: The admin token, None for none.
        max_connections: Open at a time over HTTP; calls beyond wait for one. Over gRPC one
            connection carries all calls.
    """

    server: str
    tls: ClientTls
    token: str | None
    max_connections: int

    @property
    def is_http(self) -> bool:
        """Whether it is the HTTP door."""
        return door_address.is_http(self.server)

    def authorization(self) -> tuple[tuple[str, str], ...]:
        """Headers or metadata with the token."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    def check(self) -> None:
        """Reads the certificates.

        Raises:
            InputError: They are for no such address, or one cannot be used.
        """
        if self.is_http and self.tls.server_ca is not None and not self._is_https():
            raise InputError(
                f"{self.tls.name_of('server_ca')} encrypts nothing at {self.server}. Ask https:// "
                "there."
            )
        self.tls.ssl_context()

    def pool_options(self) -> dict[str, Any]:
        """Arguments of a pool of connections of httpcore, which asks no proxy."""
        context = self.tls.ssl_context() if self._is_https() else None
        if context is None and self._is_https():
            context = ssl.create_default_context()
        return {
            "ssl_context": context,
            "max_connections": self.max_connections,
            "max_keepalive_connections": self.max_connections,
            "keepalive_expiry": _IDLE_S,
        }

    def _is_https(self) -> bool:
        return self.server.lower().startswith("https://")


class _HttpMessage(NamedTuple):
    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes | None
    extensions: dict[str, Any]


def _http_message(where: Where, question: Question, left_s: float) -> _HttpMessage:
    method, path, document = question.http(left_s)
    headers = list(where.authorization())
    body = None
    if document is not None:
        headers.append(("content-type", "application/json"))
        body = json.dumps(document).encode()
    timeouts = dict.fromkeys(("connect", "read", "write", "pool"), left_s)
    url = where.server.rstrip("/") + path
    return _HttpMessage(method, url, headers, body, {"timeout": timeouts})


def _read_http(where: Where, question: Question[T], answer: Any, body: bytes) -> T:
    """The answer's content, or its refusal."""
    if answer.status != 200 and answer.status not in question.accepts:
        phrase = answer.extensions.get("reason_phrase", b"").decode("latin-1")
        headers = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
        raise client_errors.of_http_status(
            where.server, answer.status, phrase, body, headers.get(b"retry-after")
        )
    try:
        return question.parse_json(json.loads(body))
    except (KeyError, TypeError, ValueError) as error:
        raise client_errors.another_server(where.server, "HTTP") from error


def _of_httpcore(where: Where, error: Exception, timeout_s: float) -> CallError:
    """Why a call over HTTP failed."""
    import httpcore

    if isinstance(error, (httpcore.TimeoutException, TimeoutError, asyncio.TimeoutError)):
        return client_errors.too_late(where.server, timeout_s)
    text = str(error)
    if isinstance(error, httpcore.RemoteProtocolError) and "disconnected" not in text:
        return client_errors.another_server(where.server, "HTTP")
    cause = error.__cause__ or error.__context__ or error
    while not isinstance(cause, OSError) and (deeper := cause.__cause__ or cause.__context__):
        cause = deeper
    reason = getattr(cause, "strerror", None) or text or type(error).__name__
    failed = client_errors.no_connection(where.server, reason, "HTTP", where.tls, details=text)
    if getattr(cause, "errno", 0) is not None and getattr(cause, "errno", 0) < 0:
        failed.is_transient = False  # No machine of that name.
    return failed


def _failures() -> tuple[type[Exception], ...]:
    """What httpcore raises where there is no answer."""
    import httpcore

    return httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException


class HttpConnections:
    """Calls of threads over HTTP, on connections that are kept."""

    def __init__(self, where: Where):
        """Opens no connection yet."""
        import httpcore

        from serving.network.kept_connections import KeptConnections

        self._where = where
        self._pool = httpcore.ConnectionPool(
            network_backend=KeptConnections(), **where.pool_options()
        )

    def ask(self, question: Question[T], left_s: float, timeout_s: float) -> T:
        """One attempt.

        Args:
            question: What is asked.
            left_s: Longest wait.
            timeout_s: Longest wait of the whole call, for the text of an error.

        Raises:
            CallError: No server answers there in time, or it refuses the request.
        """
        message = _http_message(self._where, question, left_s)
        deadline_s = time.monotonic() + left_s
        try:
            with self._pool.stream(
                message.method,
                message.url,
                headers=message.headers,
                content=message.body,
                extensions=message.extensions,
            ) as answer:
                parts = []
                for part in answer.iter_stream():
                    if time.monotonic() > deadline_s:  # It comes, but drop by drop.
                        raise client_errors.too_late(self._where.server, timeout_s)
                    parts.append(part)
        except _failures() as error:
            raise _of_httpcore(self._where, error, timeout_s) from error
        return _read_http(self._where, question, answer, b"".join(parts))

    def close(self) -> None:
        """Closes the connections."""
        self._pool.close()


class AsyncHttpConnections:
    """Calls of coroutines over HTTP; see `HttpConnections`."""

    def __init__(self, where: Where):
        """Opens no connection yet."""
        import httpcore

        self._where = where
        self._pool = httpcore.AsyncConnectionPool(**where.pool_options())

    async def ask(self, question: Question[T], left_s: float, timeout_s: float) -> T:
        """See `HttpConnections.ask`."""
        message = _http_message(self._where, question, left_s)
        try:
            call = self._pool.request(
                message.method,
                message.url,
                headers=message.headers,
                content=message.body,
                extensions=message.extensions,
            )
            answer = await asyncio.wait_for(call, left_s)
        except (*_failures(), asyncio.TimeoutError) as error:
            # Another class than Python's own up to 3.10.
            raise _of_httpcore(self._where, error, timeout_s) from error
        return _read_http(self._where, question, answer, answer.content)

    async def close(self) -> None:
        """Closes the connections."""
        await self._pool.aclose()


class GrpcConnection:
    """Calls of threads over gRPC, on one connection."""

    def __init__(self, where: Where):
        """Opens no connection yet."""
        _quiet_grpc()
        self._where = where
        self._channel = where.tls.open_channel(where.server, _CHANNEL_OPTIONS)

    def ask(self, question: Question[T], left_s: float, timeout_s: float) -> T:
        """See `HttpConnections.ask`."""
        import grpc

        call, message = _grpc_call(self._channel, question)
        try:
            answer = call(message, timeout=left_s, metadata=self._where.authorization())
        except grpc.RpcError as error:
            tls = self._where.tls
            raise client_errors.of_grpc(self._where.server, error, timeout_s, tls) from error
        return _read_message(self._where, question, answer)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()


class AsyncGrpcConnection:
    """Calls of coroutines over gRPC; see `GrpcConnection`."""

    def __init__(self, where: Where):
        """Opens no connection yet."""
        _quiet_grpc()
        self._where = where
        self._channel = where.tls.open_aio_channel(where.server, _CHANNEL_OPTIONS)

    async def ask(self, question: Question[T], left_s: float, timeout_s: float) -> T:
        """See `HttpConnections.ask`."""
        import grpc

        call, message = _grpc_call(self._channel, question)
        try:
            answer = await call(message, timeout=left_s, metadata=self._where.authorization())
        except grpc.RpcError as error:
            tls = self._where.tls
            raise client_errors.of_grpc(self._where.server, error, timeout_s, tls) from error
        return _read_message(self._where, question, answer)

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()


def _quiet_grpc() -> None:
    """Before gRPC is first imported: else its C core writes to the caller's terminal, as about a
    server that stops. What matters comes as an error. An explicit setting wins."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def _grpc_call(channel: Any, question: Question) -> tuple[Any, Any]:
    """The method of a channel, and the message for it."""
    method, message, answer_class = question.grpc()
    serializer = type(message).SerializeToString
    return channel.unary_unary(method, serializer, answer_class.FromString), message


def _read_message(where: Where, question: Question[T], answer: Any) -> T:
    try:
        return question.parse_message(answer)
    except (KeyError, TypeError, ValueError, IndexError, ServingError) as error:
        raise client_errors.another_server(where.server, "gRPC") from error


def open_connections(where: Where) -> HttpConnections | GrpcConnection:
    """The door of an address, for threads."""
    return HttpConnections(where) if where.is_http else GrpcConnection(where)


def open_async(where: Where) -> AsyncHttpConnections | AsyncGrpcConnection:
    """The door of an address, for coroutines of the running loop."""
    return AsyncHttpConnections(where) if where.is_http else AsyncGrpcConnection(where)
