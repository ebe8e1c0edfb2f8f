"""Who watches the health of a server, and the threads that watching takes."""

import threading

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from serving.grpc_door import health, reflection
from serving.grpc_door import server as grpc_server
from tests.serving.grpc_requests import build_request
from tests.waiting import wait_for

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
ANYTHING = health_pb2.HealthCheckRequest()
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
def channel(recall_server):
    with grpc.insecure_channel(recall_server.grpc_address) as channel:
        yield channel


def test_who_watches_is_told_although_another_leaves(recall_server, channel):
    watch = health_pb2_grpc.HealthStub(channel).Watch
    first, second = (watch(ANYTHING, timeout=20) for _ in range(2))
    assert next(first).status == next(second).status == SERVING
    first.cancel()
    recall_server._doors.health.set_serving(False)
    assert next(second).status == NOT_SERVING
    recall_server._doors.health.set_serving(True)
    assert next(second).status == SERVING
    second.cancel()
    wait_for(lambda: not recall_server._doors.health._watchers)


def test_streams_have_threads_of_their_own(recall_server, channel):
    """As many as may watch health or ask for descriptions; the next are refused."""
    assert grpc_server.STREAM_THREADS == health.MAX_WATCHERS + reflection.MAX_STREAMS
    ended = threading.Event()
    watch, describe = health_pb2_grpc.HealthStub(channel).Watch, channel.stream_stream(REFLECTION)

    def ask():
        yield reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
        ended.wait(60)

    streams = []
    for open_stream, most in (
        (lambda: describe(ask(), timeout=60), reflection.MAX_STREAMS),
        (lambda: watch(ANYTHING, timeout=60), health.MAX_WATCHERS),
    ):
        for _ in range(most):
            streams.append(open_stream())
            next(streams[-1])
        with pytest.raises(grpc.RpcError) as error:
            next(open_stream())
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
    assert predict(build_request(), timeout=30).model_spec.version.value == 3
    for stream in streams:
        stream.cancel()
    ended.set()
    wait_for(lambda: not recall_server._doors.health._watchers)
    wait_for(lambda: _answers(describe(ask(), timeout=60)))


def _answers(stream) -> bool:
    try:
        return next(stream) is not None
    except grpc.RpcError:
        return False
    finally:
        stream.cancel()
