"""gRPC's own services beside TF Serving's: health checks and reflection.

Imports no TensorFlow. Probes ask the health service; tools like `grpcurl` find
out by reflection what a server offers.
"""

import threading
from collections.abc import Iterable, Iterator

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

MODEL_SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")

_MAX_REFLECTION_STREAMS = 2
"""Streams last as long as their clients like, and each holds a thread."""

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """What the health service says about the server and its services."""

    def __init__(self, server: grpc.Server):
        """Adds the service; nothing is serving yet."""
        self._servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        self.set_serving(False)

    def set_serving(self, serving: bool) -> None:
        """Tells those who ask, and those who watch."""
        for service in (health.OVERALL_HEALTH, *MODEL_SERVICES):
            self._servicer.set(service, _SERVING if serving else _NOT_SERVING)

    def drain(self) -> None:
        """Says NOT_SERVING from now on, whatever is set later."""
        self._servicer.enter_graceful_shutdown()


class _BoundedReflection(reflection.ReflectionServicer):
    """Reflection that cannot take all threads of the server."""

    def __init__(self, service_names: Iterable[str]):
        super().__init__(service_names)
        self._streams = threading.BoundedSemaphore(_MAX_REFLECTION_STREAMS)

    def ServerReflectionInfo(
        self,
        request_iterator: Iterable[reflection_pb2.ServerReflectionRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[reflection_pb2.ServerReflectionResponse]:
        """Answers a stream of questions, for few clients at a time."""
        if not self._streams.acquire(blocking=False):
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many reflection streams.")
        try:
            yield from super().ServerReflectionInfo(request_iterator, context)
        finally:
            self._streams.release()


def add_reflection(server: grpc.Server) -> None:
    """Adds the reflection service."""
    names = (*MODEL_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(_BoundedReflection(names), server)
