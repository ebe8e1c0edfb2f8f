"""gRPC's health service, in the door's event loop.

Its checks wait for no thread. (The service of grpcio-health-checking 1.85 forgets the
other watchers of a service when one of them leaves.)
"""

import asyncio

import grpc
from google.protobuf.message import DecodeError
from grpc import aio
from grpc_health.v1 import health, health_pb2

from serving.grpc_door.server import GrpcServer

MAX_WATCHERS = 128
"""Streams last as long as their clients like; load balancers keep one each."""

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
        self._watchers: set[asyncio.Event] = set()
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
        self._server.call_soon(self._wake)

    def _wake(self) -> None:
        for watcher in self._watchers:
            watcher.set()

    def _status_of(self, service: str) -> int:
        return self._status if service in self._services else _UNKNOWN

    async def _check(self, _: object, context: aio.ServicerContext) -> bytes:
        status = self._status_of(await self._read_service(context))
        if status == _UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "Unknown service.")
        return _answer(status)

    async def _watch(self, _: object, context: aio.ServicerContext) -> None:
        service, told = await self._read_service(context), None
        if len(self._watchers) >= MAX_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many watch already.")
        changed = asyncio.Event()
        self._watchers.add(changed)
        try:
            while True:
                changed.clear()
                if (status := self._status_of(service)) != told:
                    await context.write(_answer(status))
                    told = status
                await changed.wait()
        finally:
            self._watchers.discard(changed)

    async def _read_service(self, context: aio.ServicerContext) -> str:
        """The service that is asked about."""
        try:
            return health_pb2.HealthCheckRequest.FromString(
                await self._server.read(context)
            ).service
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "No HealthCheckRequest.")


def _answer(status: int) -> bytes:
    return health_pb2.HealthCheckResponse(status=status).SerializeToString()
