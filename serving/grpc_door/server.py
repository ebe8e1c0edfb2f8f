"""The sockets of the gRPC door: reads messages, admits requests, runs them in threads.

An event loop reads, so that callers who send slowly or nothing hold no thread,
and health is answered whatever the threads do. (With gRPC's thread pool a call
takes a thread until its message is there: 72 calls without one stopped all
others.) It is uvloop's: with asyncio's own a request at 64 in flight costs 15 %
more processor time than with gRPC's threads, with uvloop 7 % (docs/measurements.md).
A message is read only when its request may be admitted, and its bytes count from
then on.
"""

import asyncio
import functools
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent import futures
from typing import Any, NamedTuple
from urllib.parse import unquote

import grpc
import uvloop
from grpc import aio

from serving.doors.admission import Admission
from serving.doors.backend import Backend
from serving.grpc_door.api import GRPC_ENTRYPOINT, GrpcCall, GrpcMethod, build_methods, status_of
from serving.grpc_door.inbox import Inbox
from serving.monitoring.access_log import (
    REQUEST_ID_HEADER,
    TRACE_HEADER,
    RequestRecord,
    choose_request_id,
)
from serving.protocol.call import Call
from serving.protocol.status import Code, ServingError

ASIDE_THREADS = 8
"""For what is no Predict: status, metadata, a reload of the configuration."""

MAX_ASIDE = 64
"""Of these calls in work or waiting; the excess is refused."""

MAX_DETAILS = 2000
"""Characters of an error text: gRPC clients take 8 KiB of trailers."""

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
        self._loop = event_loop()
        self._inbox = Inbox(
            max_reading=2 * backend.admission.max_in_flight, count=backend.metrics.count_grpc_drop
        )
        # As many threads as may be admitted: none of them waits for another.
        self._workers = futures.ThreadPoolExecutor(
            backend.admission.max_in_flight, thread_name_prefix="grpc"
        )
        self._aside = futures.ThreadPoolExecutor(ASIDE_THREADS, thread_name_prefix="grpc-aside")
        self._aside_admission = Admission(MAX_ASIDE)
        self._server = self.run(self._build())

    def run(self, coroutine: Coroutine) -> Any:
        """Runs a coroutine in the loop of the door and returns its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def add_handlers(self, service: str, handlers: dict[str, grpc.RpcMethodHandler]) -> None:
        """Adds a service whose handlers are coroutines; before `start`."""
        handler = grpc.method_handlers_generic_handler(service, handlers)
        self.run(_call(lambda: self._server.add_generic_rpc_handlers((handler,))))

    def call_soon(self, function: Callable[[], None]) -> None:
        """Calls a function in the loop of the door."""
        self._loop.call_soon_threadsafe(function)

    async def read(self, context: aio.ServicerContext) -> bytes:
        """The message of a call of another service; ends the call when it does not come."""
        try:
            return await self._inbox.read(context)
        except ServingError as error:
            await _abort(context, error)

    def add_insecure_port(self, address: str) -> int:
        """Binds a port without encryption; returns its number."""
        return self.run(_call(lambda: self._server.add_insecure_port(address)))

    def add_secure_port(self, address: str, credentials: grpc.ServerCredentials) -> int:
        """As `add_insecure_port`, with TLS."""
        return self.run(_call(lambda: self._server.add_secure_port(address, credentials)))

    def start(self) -> None:
        """Returns when connections are accepted."""
        self.run(self._server.start())

    def stop(self, grace_s: float) -> "Stopping":
        """Refuses new calls, and ends those that run when the time is over."""
        stopped = asyncio.run_coroutine_threadsafe(self._server.stop(grace_s), self._loop)
        return Stopping(stopped, (self._workers, self._aside))

    async def _build(self) -> aio.Server:
        size = self._backend.budget.max_request_bytes
        server = aio.server(options=(*_OPTIONS, ("grpc.max_receive_message_length", size)))
        for method in build_methods(self._backend):
            serve = grpc.stream_unary_rpc_method_handler(functools.partial(self._serve, method))
            handler = grpc.method_handlers_generic_handler(method.service, {method.name: serve})
            server.add_generic_rpc_handlers((handler,))
        return server

    async def _serve(self, method: GrpcMethod, _: Any, context: aio.ServicerContext) -> bytes:
        """One call. As if requests were streams: it says itself when it reads."""
        facts = _Facts(context)
        # Whatever becomes of the call, its client can tell us which one it was.
        context.set_trailing_metadata(((REQUEST_ID_HEADER, facts.request_id),))
        code, answer, refusal = Code.OK, b"", None
        try:
            answer = await self._answer(method, context, facts)
        except asyncio.CancelledError:
            code = Code.CANCELLED
            raise
        except ServingError as error:
            # Its traceback would hold the message until Python looks for cycles.
            code, refusal = error.code, error.with_traceback(None)
        finally:
            if self._backend.requests.is_on:
                self._backend.requests.record(facts.record(method, context, code, len(answer)))
        if refusal is not None:
            await _abort(context, refusal)
        return answer

    async def _answer(
        self, method: GrpcMethod, context: aio.ServicerContext, facts: "_Facts"
    ) -> bytes:
        if method.is_admitted:
            with self._backend.shedding(GRPC_ENTRYPOINT):
                self._backend.admission.check()  # Known before the message is read.
        message = await self._inbox.read(context)
        facts.bytes_in = len(message)
        facts.call = GrpcCall(Call(context.time_remaining()), facts.authorization)
        try:
            answer = await self._submit(method, message, facts.call)
        except asyncio.CancelledError:
            facts.call.call.cancel()
            raise
        if isinstance(answer, ServingError):
            raise answer
        return answer

    def _submit(self, method: GrpcMethod, message: bytes, call: GrpcCall) -> asyncio.Future:
        """Runs a method in a thread.

        What it holds, a place and the bytes of its message, is free when it has ended, which
        may be after its client went away.
        """
        budget, size = self._backend.budget, len(message)
        admission, pool = self._aside_admission, self._aside
        if method.is_admitted:
            admission, pool = self._backend.admission, self._workers
        with self._backend.shedding(GRPC_ENTRYPOINT):
            admission.enter()
        try:
            budget.take(size)
        except ServingError:
            admission.leave()
            raise
        # One future instead of the three of `run_in_executor` or `wrap_future`.
        loop = asyncio.get_running_loop()
        answered = loop.create_future()

        def work() -> None:
            answer = _run(functools.partial(method.answer, message, call))
            admission.leave()
            budget.give_back(size)
            loop.call_soon_threadsafe(_deliver, answered, answer)

        pool.submit(work)
        return answered


class Stopping(NamedTuple):
    """A server that ends."""

    stopped: futures.Future
    pools: tuple[futures.ThreadPoolExecutor, ...]

    def wait(self) -> None:
        """Returns when every call has ended."""
        self.stopped.result()
        for pool in self.pools:
            pool.shutdown(wait=False)


class _Facts:
    """What a record of a call says."""

    def __init__(self, context: aio.ServicerContext):
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
        self, method: GrpcMethod, context: aio.ServicerContext, code: Code, bytes_out: int
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


_OUR_FAULTS = {Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS}


def _run(job: Callable[[], bytes]) -> bytes | ServingError:
    """In a thread: an error of any kind, as SystemExit, becomes one with a code.

    It is returned, not raised: a traceback would hold the message and what was made of it.
    """
    try:
        return job()
    except BaseException as error:
        return status_of(error)


def _deliver(answered: asyncio.Future, answer: bytes | ServingError) -> None:
    """Hands an answer to a call, unless its client went away."""
    if not answered.done():
        answered.set_result(answer)


async def _call(function: Callable[[], Any]) -> Any:
    return function()


async def _abort(context: aio.ServicerContext, error: ServingError) -> None:
    message = error.message
    if len(message) > MAX_DETAILS:
        message = message[: MAX_DETAILS - 3] + "..."
    await context.abort(grpc.StatusCode[error.code.name], message)


_LOOP_LOCK = threading.Lock()
_LOOP: list[asyncio.AbstractEventLoop] = []


def event_loop() -> asyncio.AbstractEventLoop:
    """The loop of all gRPC doors of the process, in a thread that ends with it.

    gRPC keeps hold of every loop it has seen, so there is one.
    """
    with _LOOP_LOCK:
        if not _LOOP:
            _LOOP.append(uvloop.new_event_loop())
            threading.Thread(target=_LOOP[0].run_forever, name="grpc-loop", daemon=True).start()
        return _LOOP[0]
