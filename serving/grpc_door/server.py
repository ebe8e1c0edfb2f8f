"""The sockets of the gRPC door: reads messages, admits requests, runs them in threads.

A call has a thread of gRPC's pool from its start to its answer, without a hop between
threads: an event loop that read messages and handed requests to threads answered 7 to 23 %
fewer requests at 64 in flight (docs/measurements.md).
Calls that send nothing, or slowly, therefore hold threads. So every kind of call has its
bound, which is known before its message is read, and the pool has as many threads as all
bounds together and some to refuse the excess: no call waits for a thread, and health is
answered whatever the others do. Threads are made when they are first needed.
"""

import functools
import logging
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any, NamedTuple, NoReturn
from urllib.parse import unquote

import grpc

from serving.doors.admission import Admission
from serving.doors.backend import Backend
from serving.grpc_door.api import GrpcCall, GrpcMethod, build_methods, status_of
from serving.grpc_door.inbox import Inbox
from serving.monitoring.access_log import (
    REQUEST_ID_HEADER,
    TRACE_HEADER,
    RequestRecord,
    choose_request_id,
)
from serving.monitoring.metrics import GRPC_ENTRYPOINT
from serving.protocol.call import Call
from serving.protocol.status import Code, ServingError

_LOGGER = logging.getLogger(__name__)

MAX_ASIDE = 64
"""Calls in work that are no Predict, as status, metadata, a reload of the configuration."""

STREAM_THREADS = 144
"""For streams of other services, which bound their number themselves."""

SPARE_THREADS = 24
"""Beyond all bounds: they refuse the excess."""

LOOK_S = 0.2
"""Time between two looks for calls whose messages do not come."""

MAX_DETAILS = 2000
"""Characters of an error text: gRPC clients take 8 KiB of trailers."""

_OUR_FAULTS = {Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS}

_OPTIONS = (
    ("grpc.so_reuseport", 0),
    # The connection of a client that is gone without a word ends after 80 s.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    # Who connects has 10 s to speak HTTP/2, and 15 minutes without a call.
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_connection_idle_ms", 900_000),
    # More calls of one connection wait at the client. Far above `max_in_flight`, so that
    # the excess is told at once.
    ("grpc.max_concurrent_streams", 1024),
    ("grpc.max_allowed_incoming_connections", 2048),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.max_send_message_length", 64 << 20),  # As much as our own clients take.
    # What comes before a message is asked for stays small.
    ("grpc.http2.bdp_probe", 0),
)
"""Of gRPC core; no fixed age, which would cut calls without a deadline."""


class GrpcServer:
    """Serves a `Backend` over gRPC."""

    def __init__(self, backend: Backend):
        """Prepares a server without ports."""
        self._backend = backend
        max_in_flight = backend.admission.max_in_flight
        max_reading = 2 * max_in_flight
        self._inbox = Inbox(max_reading=max_reading, count=backend.metrics.count_grpc_drop)
        self._inboxes = [self._inbox]
        self._aside_admission = Admission(MAX_ASIDE)
        self._threads = _Threads(
            max_in_flight + max_reading + MAX_ASIDE + STREAM_THREADS + SPARE_THREADS,
            thread_name_prefix="grpc",
        )
        size = backend.budget.max_request_bytes
        self._server = grpc.server(
            self._threads, options=(*_OPTIONS, ("grpc.max_receive_message_length", size))
        )
        self._stopping = threading.Event()
        services: dict[str, dict[str, grpc.RpcMethodHandler]] = {}
        for method in build_methods(backend):
            serve = functools.partial(self._serve, method)
            handlers = services.setdefault(method.service, {})
            # As if requests were streams, so that the call itself says when it reads.
            handlers[method.name] = grpc.stream_unary_rpc_method_handler(serve)
        for service, handlers in services.items():
            self.add_handlers(service, handlers)

    def add_handlers(self, service: str, handlers: dict[str, grpc.RpcMethodHandler]) -> None:
        """Adds a service; before `start`. Its streams are at most `STREAM_THREADS`."""
        handler = grpc.method_handlers_generic_handler(service, handlers)
        self._server.add_generic_rpc_handlers((handler,))

    def watch(self, inbox: Inbox) -> None:
        """Ends calls that wait too long in an inbox of another service; before `start`."""
        self._inboxes.append(inbox)

    def read(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """The message of a call of another service; ends the call when it does not come."""
        try:
            return self._inbox.read(requests, context)
        except ServingError as error:
            abort(context, error)

    def add_insecure_port(self, address: str) -> int:
        """Binds a port without encryption; returns its number."""
        return self._server.add_insecure_port(address)

    def add_secure_port(self, address: str, credentials: grpc.ServerCredentials) -> int:
        """As `add_insecure_port`, with TLS."""
        return self._server.add_secure_port(address, credentials)

    def start(self) -> None:
        """Returns when connections are accepted."""
        threading.Thread(target=self._look, name="grpc-inbox", daemon=True).start()
        self._server.start()

    def stop(self, grace_s: float) -> "Stopping":
        """Refuses new calls, and ends those that run when the time is over."""
        return Stopping(self._server.stop(grace_s), self._stopping, self._threads)

    def _look(self) -> None:
        """Ends calls whose messages do not come."""
        while not self._stopping.wait(LOOK_S):
            for inbox in self._inboxes:
                inbox.give_up_late()

    def _serve(
        self, method: GrpcMethod, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> bytes:
        """One call."""
        facts = _Facts(context)
        # Whatever becomes of the call, its client can tell us which one it was.
        context.set_trailing_metadata(((REQUEST_ID_HEADER, facts.request_id),))
        code, answer, refusal = Code.OK, b"", None
        try:
            answer = self._answer(method, requests, context, facts)
            if facts.call.call.is_cancelled:
                code = Code.CANCELLED
        except BaseException as error:
            # An error of any kind, as SystemExit, becomes one with a code. It is a new one: the
            # traceback would hold the message and what was made of it.
            refusal = status_of(error)
            code = refusal.code
        if self._backend.requests.is_on:
            self._backend.requests.record(facts.record(method, context, code, len(answer)))
        if refusal is not None:
            abort(context, refusal)
        return answer

    def _answer(
        self,
        method: GrpcMethod,
        requests: Iterator[bytes],
        context: grpc.ServicerContext,
        facts: "_Facts",
    ) -> bytes:
        backend, admission = self._backend, self._aside_admission
        if method.is_admitted:
            admission = backend.admission
            with backend.shedding(GRPC_ENTRYPOINT):
                admission.check()  # Known before the message is read.
        message = self._inbox.read(requests, context)
        facts.bytes_in = len(message)
        facts.call = GrpcCall(Call(context.time_remaining()), facts.authorization)
        if not context.add_callback(facts.call.call.cancel):
            facts.call.call.cancel()
        # What the call holds, a place and the bytes of its message, is free when it has ended,
        # which may be after its client went away.
        with backend.admitted(GRPC_ENTRYPOINT, admission), backend.budget.held(len(message)):
            return method.answer(message, facts.call)


class _Threads(futures.ThreadPoolExecutor):
    """Threads of gRPC's server, whose own thread would end where none can be started."""

    def submit(self, *arguments: Any) -> futures.Future:
        """Runs a call, in one of the other threads where the system gives no more."""
        try:
            return super().submit(*arguments)
        except RuntimeError as error:  # The call waits in the queue already.
            _LOGGER.error("The gRPC door has %d threads: %s", len(self._threads), error)
            return futures.Future()


class Stopping(NamedTuple):
    """A server that ends.

    Attributes:
        stopped: Set by gRPC when no call runs any more.
        stopping: Ends the look for late messages.
        threads: Those of the calls.
    """

    stopped: threading.Event
    stopping: threading.Event
    threads: futures.ThreadPoolExecutor

    def wait(self) -> None:
        """Returns when every call has ended."""
        self.stopped.wait()
        self.stopping.set()
        self.threads.shutdown(wait=False)


class _Facts:
    """What a call says of itself, and what its record needs.

    Attributes:
        authorization: What the client sent to show that it may call.
        request_id: The client's, or a new one.
        bytes_in: Size of its message, 0 until that is there.
        call: Given to the method, None until the message is there.
    """

    def __init__(self, context: grpc.ServicerContext):
        self.start_s, self._started_s = time.time(), time.perf_counter()
        self.bytes_in = 0
        self.authorization = self._trace_parent = sent_id = None
        for key, value in context.invocation_metadata() or ():
            text = value if isinstance(value, str) else value.decode("ascii", "replace")
            if key == "authorization":
                self.authorization = text
            elif key == REQUEST_ID_HEADER:
                sent_id = text
            elif key == TRACE_HEADER:
                self._trace_parent = text
        self.request_id = choose_request_id(sent_id)
        self.call: GrpcCall | None = None

    def record(
        self, method: GrpcMethod, context: grpc.ServicerContext, code: Code, bytes_out: int
    ) -> RequestRecord:
        """The record of the call, which has ended."""
        return RequestRecord(
            door=GRPC_ENTRYPOINT,
            method=method.name,
            path=f"/{method.service}/{method.name}",
            model="" if self.call is None else self.call.model,
            status=code.name,
            is_error=code in _OUR_FAULTS,
            bytes_in=self.bytes_in,
            bytes_out=bytes_out,
            start_s=self.start_s,
            seconds=time.perf_counter() - self._started_s,
            peer=_address(context.peer() or ""),
            request_id=self.request_id,
            trace_parent=self._trace_parent,
        )


def _address(peer: str) -> str:
    """The address in gRPC's name of a peer, `ipv4:127.0.0.1:50000` or `ipv6:%5B::1%5D:50000`."""
    kind, _, place = peer.partition(":")
    return unquote(place.rpartition(":")[0]).strip("[]") if kind in ("ipv4", "ipv6") else peer


def abort(context: grpc.ServicerContext, error: ServingError) -> NoReturn:
    """Ends a call with an error."""
    message = error.message
    if len(message) > MAX_DETAILS:
        message = message[: MAX_DETAILS - 3] + "..."
    context.abort(grpc.StatusCode[error.code.name], message)
