"""gRPC's health service, in threads of the door.

Watchers hold one each. (The service of grpcio-health-checking can do without, but tells
all watchers in the thread of who changes the status, which a client that reads nothing
would stop.)
"""

import threading
from collections.abc import Iterator

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

from serving.grpc_door.server import GrpcServer

MAX_WATCHERS = 128
"""Streams last as long as their clients like; load balancers keep one each.
`GrpcServer` has threads for them."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """What the health service says about the server and its services."""

    def __init__(self, server: GrpcServer, services: tuple[str, ...]):
        """Adds the service; nothing is serving yet.

        Args:
            server: Not yet started.
            services: Full names beside "", the whole server.
        """
        self._server = server
        self._services = {health.OVERALL_HEALTH, *services}
        self._status = _NOT_SERVING
        self._draining = False
        self._watchers: set[threading.Event] = set()
        self._lock = threading.Lock()
        server.add_handlers(
            health.SERVICE_NAME,
            {
                "Check": grpc.stream_unary_rpc_method_handler(self._check),
                "Watch": grpc.stream_stream_rpc_method_handler(self._watch),
            },
        )

    def set_serving(self, serving: bool) -> None:
        """Tells those who ask, and those who watch."""
        if not self._draining:
            self._set(_SERVING if serving else _NOT_SERVING)

    def drain(self) -> None:
        """Says NOT_SERVING from now on, whatever is set later."""
        self._draining = True
        self._set(_NOT_SERVING)

    def _set(self, status: int) -> None:
        self._status = status
        with self._lock:
            watchers = list(self._watchers)
        for changed in watchers:
            changed.set()

    def _status_of(self, service: str) -> int:
        return self._status if service in self._services else _UNKNOWN

    def _check(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        status = self._status_of(self._read_service(requests, context))
        if status == _UNKNOWN:
            context.abort(grpc.StatusCode.NOT_FOUND, "Unknown service.")
        return _answer(status)

    def _watch(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        service, told = self._read_service(requests, context), None
        changed = threading.Event()
        with self._lock:
            is_full = len(self._watchers) >= MAX_WATCHERS
            if not is_full:
                self._watchers.add(changed)
        if is_full:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many watch already.")
        try:
            context.add_callback(changed.set)  # When the client leaves.
            while True:
                changed.clear()
                if not context.is_active():
                    return
                if (status := self._status_of(service)) != told:
                    yield _answer(status)
                    told = status
                changed.wait()
        finally:
            with self._lock:
                self._watchers.discard(changed)

    def _read_service(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> str:
        """The service that is asked about."""
        message = self._server.read(requests, context)
        try:
            return health_pb2.HealthCheckRequest.FromString(message).service
        except DecodeError:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "No HealthCheckRequest.")


def _answer(status: int) -> bytes:
    return health_pb2.HealthCheckResponse(status=status).SerializeToString()
