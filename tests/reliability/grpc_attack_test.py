"""The gRPC door of a server process under calls that cost their sender nothing."""

import threading
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2

from serving.api import recall_tensors
from serving.api.recall_request import RecallRequest
from tests.reliability.tally import scaled
from tests.serving.server_process import ServerProcess, build_message

pytestmark = pytest.mark.reliability

REFUSED_MS = 5.0
MEMORY_MIB = 16.0
"""What counts as nothing: the noise of a process that allocates; 130 MB a message is not."""

HEALTH_MS = 100.0


def _good() -> predict_pb2.PredictRequest:
    return build_message("recall", *recall_tensors.build_recall_inputs(RecallRequest(("i3",), k=5)))


def _shapes_alone() -> predict_pb2.PredictRequest:
    """200 unknown inputs that ask for 4 MiB each and hold nothing."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "recall"
    for number in range(200):
        proto = request.inputs[f"x{number}"]
        proto.dtype = types_pb2.DT_FLOAT
        proto.tensor_shape.dim.add(size=1 << 20)
    return request


def _empty_strings() -> predict_pb2.PredictRequest:
    """A million of them: 130 MB when decoded."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "recall"
    proto = request.inputs["history_item_ids"]
    proto.dtype, proto.tensor_content = types_pb2.DT_STRING, bytes(1 << 20)
    for size in (1, 1 << 20):
        proto.tensor_shape.dim.add(size=size)
    return request


@pytest.mark.parametrize("build", [_shapes_alone, _empty_strings])
def test_messages_that_would_grow(release_folder, start_server, tally, build):
    count = scaled(50, at_least=10)
    server = start_server(release_folder.path, options={"poll_s": 0})
    tally.start(23, f"messages that would grow ({build.__name__[1:]}): refused, +0 MiB", count + 2)
    message, elapsed_ms = build(), []
    with server.open_client() as client:
        for _ in range(10):
            client.prediction.Predict(_good(), timeout=60)
        with pytest.raises(grpc.RpcError):
            client.prediction.Predict(message, timeout=60)
        before_mb = server.resident_mb()
        for _ in range(count):
            started_s = time.perf_counter()
            error = client.prediction.Predict.future(message, timeout=60).exception()
            elapsed_ms.append(1e3 * (time.perf_counter() - started_s))
            tally.count(error.code() is grpc.StatusCode.INVALID_ARGUMENT, error)
    grown_mb = server.resident_mb() - before_mb
    tally.count(min(elapsed_ms) < REFUSED_MS, f"{min(elapsed_ms):.1f} ms")
    tally.count(grown_mb < MEMORY_MIB, f"{grown_mb:.0f} MiB")
    tally.note(f"{len(message.SerializeToString()):,} bytes, median {np.median(elapsed_ms):.1f} ms")
    tally.note(f"{grown_mb:+.1f} MiB")


@pytest.mark.parametrize("silent", [72, 400])
def test_calls_without_a_message(release_folder, start_server, tally, silent):
    count = scaled(50, at_least=10)
    server = start_server(release_folder.path, options={"poll_s": 0})
    tally.start(24, f"{silent} silent calls: others answered, health in 100 ms", 2 * count)
    ended = threading.Event()
    health_ms = []
    with server.open_client() as holder, server.open_client() as client:
        calls = _silent_calls(holder, silent, ended)
        time.sleep(1.0)
        health = health_pb2_grpc.HealthStub(client._channel)
        for _ in range(count):
            started_s = time.perf_counter()
            health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            health_ms.append(1e3 * (time.perf_counter() - started_s))
            error = client.prediction.Predict.future(_good(), timeout=10).exception()
            tally.count(error is None, error)
        for elapsed_ms in health_ms:
            tally.count(elapsed_ms < HEALTH_MS, f"{elapsed_ms:.0f} ms")
        codes = {call.code().name for call in calls if call.done()}
        ended.set()
    tally.note(f"health at most {max(health_ms):.1f} ms; refused with {codes or 'nothing'}")
    assert codes <= {"RESOURCE_EXHAUSTED"}
    assert _still_answers(server)


def _silent_calls(client, count: int, ended: threading.Event) -> list[grpc.Future]:
    """Predict calls whose message does not come."""

    def never():
        ended.wait(60)
        yield from ()

    call = client._channel.stream_unary("/tensorflow.serving.PredictionService/Predict")
    return [call.future(never(), timeout=60) for _ in range(count)]


def _still_answers(server: ServerProcess) -> bool:
    with server.open_client() as client:
        return len(client.recall(RecallRequest(("i3",), k=5)).items) == 5


def test_calls_without_a_deadline(release_folder, start_server, tally):
    """32 at a time, many times: gRPC says that 9.2e18 s are left."""
    rounds = scaled(20, at_least=3)
    server = start_server(release_folder.path, options={"poll_s": 0})
    tally.start(25, "calls without a deadline, 32 at a time: answered", 32 * rounds + 1)
    with server.open_client() as client:
        for _ in range(rounds):
            calls = [client.prediction.Predict.future(_good()) for _ in range(32)]
            for call in calls:
                error = call.exception(timeout=60)
                tally.count(error is None, error)
    tally.count('"ready": true' in server.get("/readyz"), "not ready")
