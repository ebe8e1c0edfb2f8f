"""Connections of the HTTP door: uvicorn's on h11, with bounds and errors in JSON.

Imports no TensorFlow. uvicorn's own class waits for ever for headers, bodies and
readers, and answers what it cannot parse in plain text.
"""

import asyncio
import http
import re
import time
from typing import Any

import h11
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.http_door.connections import BODY, HEADER, IDLE, WORK, WRITE, Connections
from serving.http_door.errors import refusal
from serving.http_door.limits import MAX_HEADER_BYTES, MAX_TARGET_BYTES
from serving.monitoring.access_log import REQUEST_ID_HEADER, RequestRecord, choose_request_id
from serving.monitoring.metrics import REST_ENTRYPOINT

_HTTP_VERSIONS = (b"1.1", b"1.0")
_SCHEMES = (b"http", b"https")
_BYTES_SENT = re.compile(r":? (bytearray\()?b['\"].*", re.DOTALL)
"""What h11 repeats of a request at the end of an error."""
_HEAD, _INTERIM_HEAD = b"HTTP/1.1 ", b"HTTP/1.1 1"


class StrictConnection(h11.Connection):
    """h11's parser with what RFC 9112 leaves to the server.

    Attributes:
        refused: Status and text of the request that could not be accepted.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEADER_BYTES)
        self.refused = (400, "The request is no valid HTTP/1.1.")

    def next_event(self) -> Any:
        """The next event of h11; requests with their target in origin form.

        Raises:
            h11.RemoteProtocolError: The request is not accepted; `refused` says why.
        """
        try:
            event = super().next_event()
        except h11.RemoteProtocolError as error:
            self.refused = self._describe(error)
            raise
        return self._accept(event) if isinstance(event, h11.Request) else event

    def _describe(self, error: h11.RemoteProtocolError) -> tuple[int, str]:
        """Status and text of what h11 could not parse."""
        if error.error_status_hint != 431:
            reason = _BYTES_SENT.sub("", str(error))
            return error.error_status_hint, f"The request is no valid HTTP/1.1: {reason}."
        if b"\n" not in self.trailing_data[0]:
            return self._too_long()
        return self._too_large()

    def _too_large(self) -> tuple[int, str]:
        return 431, f"The headers must have at most {MAX_HEADER_BYTES} bytes."

    def _too_long(self) -> tuple[int, str]:
        return 414, f"The target of the request must have at most {MAX_TARGET_BYTES} bytes."

    def _accept(self, request: h11.Request) -> h11.Request:
        """Refuses what can be read in two ways, and brings targets into origin form."""
        target = request.target
        if len(target) > MAX_TARGET_BYTES:
            raise self._refuse(*self._too_long())
        # h11 bounds only what is not whole yet, and not headers that come at once.
        if sum(len(name) + len(value) for name, value in request.headers) > MAX_HEADER_BYTES:
            raise self._refuse(*self._too_large())
        if request.http_version not in _HTTP_VERSIONS:
            raise self._refuse(505, "The server speaks HTTP/1.1 and HTTP/1.0.")
        names = [name for name, _ in request.headers]
        if b"transfer-encoding" in names and b"content-length" in names:
            text = "A request has Content-Length or Transfer-Encoding, not both."
            raise self._refuse(400, text)
        if target[:1] == b"/" or (target == b"*" and request.method == b"OPTIONS"):
            return request
        scheme, separator, rest = target.partition(b"://")
        authority, slash, path = rest.partition(b"/")
        if not separator or scheme.lower() not in _SCHEMES or not authority:
            raise self._refuse(400, "The target of the request is neither a path nor an http URL.")
        if not slash:  # http://host?query
            authority, mark, query = authority.partition(b"?")
            path = mark + query
        # RFC 9112, 3.2.2: the authority of such a target takes the place of Host.
        headers = [(n, authority if n == b"host" else v) for n, v in request.headers]
        return h11.Request(
            method=request.method,
            headers=headers,
            target=b"/" + path,
            http_version=request.http_version,
        )

    def _refuse(self, status: int, text: str) -> h11.RemoteProtocolError:
        self.refused = (status, text)
        return h11.RemoteProtocolError(text, error_status_hint=status)


class _JoiningTransport:
    """A transport that sends the head of an answer together with what follows it.

    uvicorn writes them one by one: two calls of the system and two packets, which
    wake a client twice.
    """

    def __init__(self, transport: asyncio.Transport):
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Keeps a head until the next call; all answers of uvicorn have one, if of b""."""
        if data.startswith(_HEAD) and not data.startswith(_INTERIM_HEAD):
            self._head = data
            return
        data = self._head + data
        self._head = b""
        if data:
            self._transport.write(data)

    def close(self) -> None:
        """Sends what is kept, and closes."""
        if self._head:
            self.write(b"")
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class GuardedProtocol(H11Protocol):
    """One connection, which `Connections` may refuse or drop."""

    def __init__(self, connections: Connections, **arguments: Any):
        """A connection that is just being accepted.

        Args:
            connections: All of the door.
            **arguments: Those of uvicorn's class.
        """
        super().__init__(**arguments)
        self.conn = StrictConnection()
        self._guard = connections
        self._is_refused = False
        self.watched: tuple[str, object] | None = None
        self.watched_since_s = 0.0

    @property
    def peer(self) -> str:
        """Address of the other side, without its port."""
        return self.client[0] if self.client else ""

    @property
    def unread_bytes(self) -> int:
        """Bytes of answers the other side has not taken yet."""
        return self.transport.get_write_buffer_size()

    @property
    def phase(self) -> str:
        """What the connection waits for."""
        if self.transport.is_closing():
            return WRITE
        if self.conn.their_state is h11.SEND_BODY:
            return BODY
        answered = self.cycle is None or self.cycle.response_complete
        if not answered:
            return WRITE if self.cycle.response_started or self.flow.write_paused else WORK
        if self.unread_bytes:
            return WRITE
        if self.cycle is None or self.conn.trailing_data[0]:
            return HEADER
        return IDLE

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Takes the connection, or refuses it where there are too many."""
        super().connection_made(_JoiningTransport(transport))  # type: ignore[arg-type]
        reason = self._guard.enter(self)
        if reason is not None:
            self._is_refused = True
            self._send_last(refusal(503, "Too many connections are open. Try again later."))

    def connection_lost(self, exc: Exception | None) -> None:
        """Gives the connection up."""
        self._guard.leave(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what came, unless the connection was refused."""
        if not self._is_refused:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Answers a request that could not be accepted, in JSON, and closes."""
        status, text = self.conn.refused
        self._guard.metrics.count_http_refusal("malformed")
        self._forget_cycle()
        self._send_last(refusal(status, text))

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection on which no further request came."""
        self._guard.metrics.count_http_drop(IDLE)
        super().timeout_keep_alive_handler()

    def drop(self, phase: str) -> None:
        """Ends a connection that took too long."""
        self._guard.metrics.count_http_drop(phase)
        self._forget_cycle()
        if phase == WRITE:
            self.transport.abort()
        elif phase == HEADER and not self.conn.trailing_data[0]:
            self.transport.close()  # Nothing was asked: there is nothing to answer.
        else:
            self._send_last(refusal(408, f"The {phase} of the request took too long."))

    def _forget_cycle(self) -> None:
        """Tells a request in work that nobody waits for its answer."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _send_last(self, response: Response) -> None:
        """Sends an answer past the application and closes, where one can be sent at all."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.abort()
            return
        request_id = choose_request_id(None)
        self._record(response, request_id)
        phrase = http.HTTPStatus(response.status_code).phrase
        headers = [*response.raw_headers, (REQUEST_ID_HEADER.encode(), request_id.encode())]
        lines = [
            f"HTTP/1.1 {response.status_code} {phrase}".encode(),
            *(b"%s: %s" % header for header in headers),
            b"connection: close\r\n\r\n",
        ]
        self.transport.write(b"\r\n".join(lines) + response.body)
        self.transport.close()
        self._is_refused = True

    def _record(self, response: Response, request_id: str) -> None:
        """Leaves a record of what the application never saw."""
        if self._guard.requests.is_on:
            record = RequestRecord(
                door=REST_ENTRYPOINT,
                method="",
                path="",
                model="",
                status=response.status_code,
                is_error=False,
                bytes_in=0,
                bytes_out=len(response.body),
                start_s=time.time(),
                seconds=0.0,
                peer=self.peer,
                request_id=request_id,
            )
            self._guard.requests.record(record)
