"""The gRPC door against callers that send slowly, nothing, too much or nonsense."""

import threading
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.grpc_door import inbox as grpc_inbox
from serving.protocol.tensors import pad_strings
from serving.server import RecallServer
from tests.serving.grpc_requests import build_request, error_of
from tests.waiting import wait_for

PREDICT = "/tensorflow.serving.PredictionService/Predict"
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
INVALID = grpc.StatusCode.INVALID_ARGUMENT


class Silent:
    """Calls whose messages do not come before `end`."""

    def __init__(self, channel, count, method=PREDICT, metadata=()):
        self._ended = threading.Event()
        call = channel.stream_unary(method)
        self.calls = [
            call.future(self._never(), timeout=60, metadata=metadata) for _ in range(count)
        ]

    def _never(self):
        self._ended.wait(60)
        yield from ()

    def codes(self):
        return [call.code() for call in self.calls if call.done()]

    def end(self):
        for call in self.calls:
            call.cancel()
        self._ended.set()


@pytest.fixture(scope="module")
def server(release_dir):
    """One that takes four requests at a time; who changes it changes it back."""
    with RecallServer(
        release_dir, grpc_port=0, http_port=0, poll_s=0, max_in_flight=4, access_log="text"
    ) as server:
        yield server


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.grpc_address) as channel:
        yield channel


@pytest.fixture
def predict(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict


def _metric(server, name: str) -> float:
    page = server._backend.metrics.page().decode()
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


@pytest.mark.parametrize("method", [PREDICT, "/grpc.health.v1.Health/Check", "/x.Y/Z"])
def test_calls_without_a_message_stop_nobody(server, channel, predict, method):
    """Ten times as many as requests may be in work; health answers within 100 ms."""
    health = health_pb2_grpc.HealthStub(channel)
    silent = Silent(channel, 40, method)
    try:
        wait_for(lambda: server._doors.grpc._inbox.num_reading == 8 or method == "/x.Y/Z")
        time.sleep(2 * grpc_inbox.PATIENCE_S)  # Then they give way to others.
        elapsed_s = []
        for _ in range(10):
            start_s = time.perf_counter()
            health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            elapsed_s.append(time.perf_counter() - start_s)
        assert sorted(elapsed_s)[5] < 0.1
        for _ in range(3):
            assert predict(build_request(), timeout=30).model_spec.version.value == 3
        refused = {EXHAUSTED} if method != "/x.Y/Z" else {grpc.StatusCode.UNIMPLEMENTED}
        wait_for(lambda: len(silent.codes()) >= 32)
        assert set(silent.codes()) == refused
        if method != "/x.Y/Z":
            assert _metric(server, 'recall_grpc_unread_calls_total{reason="full"}') >= 32
            assert _metric(server, 'recall_grpc_unread_calls_total{reason="slow"}') >= 1
    finally:
        silent.end()


def test_a_message_that_does_not_come_ends_its_call(server, channel, predict, monkeypatch):
    monkeypatch.setattr(server._doors.grpc._inbox, "_timeout_s", 0.2)
    before = _metric(server, 'recall_grpc_unread_calls_total{reason="late"}')
    silent = Silent(channel, 1)
    wait_for(silent.codes)
    assert silent.codes() == [grpc.StatusCode.DEADLINE_EXCEEDED]
    assert "did not arrive within 0.2 s" in silent.calls[0].details()
    assert _metric(server, 'recall_grpc_unread_calls_total{reason="late"}') == before + 1
    silent.end()
    predict(build_request(), timeout=30)


def test_a_client_that_leaves_before_its_message(server, channel, predict):
    inbox, before = server._doors.grpc._inbox, _metric(server, "recall_grpc_unread_calls_total")
    wait_for(lambda: inbox.num_reading == 0)
    silent = Silent(channel, 3)
    wait_for(lambda: inbox.num_reading == 3)
    silent.end()
    wait_for(lambda: inbox.num_reading == 0)
    predict(build_request(), timeout=30)
    assert _metric(server, "recall_grpc_unread_calls_total") == before


@pytest.mark.parametrize("content", [b"\xff", b"\x12\x05\x0a", b""])
def test_bytes_that_are_no_request(channel, content):
    code, _ = error_of(channel.unary_unary(PREDICT), content)
    assert code is INVALID


def test_a_call_that_ends_without_a_message(channel):
    call = channel.stream_unary(PREDICT)
    with pytest.raises(grpc.RpcError) as error:
        call(iter(()), timeout=10)
    assert error.value.code() is INVALID


def _large_shape(name: str, dtype=types_pb2.DT_FLOAT, size=1 << 20) -> predict_pb2.PredictRequest:
    request = build_request(name, inputs={})
    for number in range(22):
        request.inputs[f"x{number}"].dtype = dtype
        request.inputs[f"x{number}"].tensor_shape.dim.add(size=size)
    return request


def test_unknown_inputs_are_refused_before_they_are_looked_at(server, predict):
    """Of 200 of these the server took 1.6 GB and 28 s."""
    request = _large_shape("recall")
    elapsed_s = []
    for _ in range(5):
        start_s = time.perf_counter()
        code, details = error_of(predict, request)
        elapsed_s.append(time.perf_counter() - start_s)
        assert code is INVALID
        assert details.startswith("input size does not match signature: 22!=20")
    assert min(elapsed_s) < 0.005
    assert server._backend.budget.used == 0


STRINGS = 1 << 21
LARGE = [
    ("recall", "", "history_item_ids", (1, STRINGS)),
    ("recall", "user_vectors", "fingerprint", (STRINGS,)),
    ("recall", "item_vectors", "item_ids", (STRINGS,)),
    ("items", "upsert", "item_ids", (STRINGS,)),
    ("items", "delete", "item_ids", (STRINGS,)),
    ("user_tower", "", "history_item_ids", (1, STRINGS)),
    ("user_tower", "serving_tf_example", "examples", (STRINGS,)),
    ("item_tower", "", "item_ids", (STRINGS,)),
]


@pytest.mark.parametrize(("name", "signature", "key", "shape"), LARGE)
def test_strings_are_counted_before_they_are_decoded(
    server, predict, monkeypatch, name, signature, key, shape
):
    """2 MiB of zeros are 2^21 empty strings, which would take 270 MB."""
    monkeypatch.setattr(predict_pb2.PredictRequest, "FromString", None)
    request = build_request(name, inputs={}, signature=signature)
    proto = request.inputs[key]
    proto.dtype, proto.tensor_content = types_pb2.DT_STRING, bytes(STRINGS)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    if signature == "user_vectors":
        vectors = request.inputs["user_vectors"]
        vectors.dtype = types_pb2.DT_FLOAT
        for size in (1, 1, 4):
            vectors.tensor_shape.dim.add(size=size)
    code, details = error_of(predict, request)
    assert (code, "at most" in details or "takes 268" in details) == (INVALID, True), details
    assert server._backend.budget.used == 0


@pytest.mark.parametrize(
    ("name", "signature", "inputs", "text"),
    [
        ("recall", "", {"history_item_ids": np.full((513, 1), b"x", object)}, "at most 512"),
        ("recall", "item_vectors", {"item_ids": np.full(65, b"x", object)}, "at most 64"),
        ("items", "delete", {"item_ids": np.full(1001, b"x", object)}, "takes 1 to 1000 items"),
    ],
)
def test_rows_are_counted_before_they_are_decoded(
    predict, monkeypatch, name, signature, inputs, text
):
    request = build_request(name, inputs, signature=signature)
    monkeypatch.setattr(predict_pb2.PredictRequest, "FromString", None)
    code, details = error_of(predict, request)
    assert (code, text in details) == (INVALID, True), details


def test_requests_share_the_bytes_of_the_server(server, predict):
    budget = server._backend.budget
    with budget.held(budget.max_request_bytes):
        budget.note(budget.max_total_bytes - budget.max_request_bytes)
        code, details = error_of(predict, build_request())
        budget.note(budget.max_request_bytes - budget.max_total_bytes)
    assert (code, "hold all the memory" in details) == (EXHAUSTED, True)
    assert server._backend.admission.in_flight == 0
    predict(build_request(), timeout=30)
    wait_for(lambda: budget.used == 0)


def test_a_message_beyond_the_bound_of_a_request(release_dir):
    with (
        RecallServer(
            release_dir, grpc_port=0, http_port=0, poll_s=0, max_request_bytes=1 << 20
        ) as server,
        grpc.insecure_channel(server.grpc_address) as channel,
    ):
        predict = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict
        large = build_request(inputs={"history_item_ids": np.array([[b"x" * (1 << 20)]], object)})
        assert error_of(predict, large)[0] is EXHAUSTED
        predict(build_request(), timeout=30)


def test_what_an_expired_call_held_is_let_go(server, predict, monkeypatch):
    """Its place and its bytes stay taken while its thread works, and no longer."""
    gate, entered = threading.Event(), threading.Event()
    tower = server.model_server.find("item_tower")
    run = tower._run

    def slow(*arguments):
        entered.set()
        assert gate.wait(20)
        return run(*arguments)

    monkeypatch.setattr(tower, "_run", slow)
    request = build_request("item_tower", {"item_ids": np.array(["i3"])})
    with pytest.raises(grpc.RpcError) as error:
        predict(request, timeout=0.3)
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert entered.is_set()
    assert server._backend.admission.in_flight == 1
    assert server._backend.budget.used > 0
    gate.set()
    wait_for(lambda: server._backend.admission.in_flight == 0)
    assert server._backend.budget.used == 0


def test_an_error_of_any_kind_is_an_answer(server, predict):
    tower = server.model_server.find("item_tower")

    def stops(*_):
        raise SystemExit(3)

    run, tower._run = tower._run, stops
    request = build_request("item_tower", {"item_ids": np.array(["i3"])})
    assert error_of(predict, request) == (
        grpc.StatusCode.INTERNAL,
        "Internal error; the server's log has the details.",
    )
    tower._run = run
    predict(request, timeout=30)


def test_long_error_texts_are_cut(predict):
    request = build_request(inputs={f"{'x' * 90}{n}": np.array([1]) for n in range(100)})
    code, details = error_of(predict, request)
    assert (code, len(details), details[-3:]) == (INVALID, 2000, "...")


def test_request_ids_are_given_back_and_logged(predict, caplog):
    def id_of(call):
        return dict(call.trailing_metadata())["x-request-id"]

    _, call = predict.with_call(build_request(), timeout=30, metadata=[("x-request-id", "shop/7")])
    assert id_of(call) == "shop/7"
    with pytest.raises(grpc.RpcError) as error:
        predict(build_request("nobody"), timeout=30)
    made = id_of(error.value)
    assert len(made) == 32
    wait_for(lambda: made in caplog.text)
    line = next(r.message for r in caplog.records if "shop/7" in r.message)
    assert "path=/tensorflow.serving.PredictionService/Predict model=user_tower status=OK" in line
    line = next(r.message for r in caplog.records if made in r.message)
    assert "model=nobody status=NOT_FOUND" in line


def ids_of(calls):
    """The ids that calls which have ended were given back."""
    return [dict(call.trailing_metadata()).get("x-request-id") for call in calls]


def test_a_call_that_is_given_up_gets_its_request_id_back(server, channel, monkeypatch):
    """Whoever gives it up: too slow for another one, too late, or without a place."""
    inbox = server._doors.grpc._inbox
    wait_for(lambda: inbox.num_reading == 0)
    slow = Silent(channel, 8, metadata=[("x-request-id", "slow")])
    wait_for(lambda: inbox.num_reading == 8)
    full = Silent(channel, 2, metadata=[("x-request-id", "full")])
    wait_for(lambda: len(full.codes()) == 2)
    time.sleep(grpc_inbox.PATIENCE_S)
    late = Silent(channel, 3, metadata=[("x-request-id", "late")])
    wait_for(lambda: len(slow.codes()) == 3)
    assert slow.codes() == [EXHAUSTED] * 3
    monkeypatch.setattr(inbox, "_timeout_s", 0.2)
    wait_for(lambda: len(late.codes()) == 3 and len(slow.codes()) == 8)
    assert full.codes() == [EXHAUSTED] * 2
    assert late.codes() == [grpc.StatusCode.DEADLINE_EXCEEDED] * 3
    for calls, name in ((slow, "slow"), (full, "full"), (late, "late")):
        assert ids_of(calls.calls) == [name] * len(calls.calls)
        calls.end()
    wait_for(lambda: not inbox._given_up and inbox.num_reading == 0)


def test_a_request_beyond_those_in_work_gets_its_request_id_back(server, predict, monkeypatch):
    gate, tower = threading.Event(), server.model_server.find("item_tower")
    run = tower._run

    def slow(*arguments):
        assert gate.wait(20)
        return run(*arguments)

    monkeypatch.setattr(tower, "_run", slow)
    request = build_request("item_tower", {"item_ids": np.array(["i3"])})
    held = [predict.future(request, timeout=30) for _ in range(4)]
    wait_for(lambda: server._backend.admission.in_flight == 4)
    with pytest.raises(grpc.RpcError) as error:
        predict(request, timeout=30, metadata=[("x-request-id", "one-too-many")])
    assert (error.value.code(), *ids_of([error.value])) == (EXHAUSTED, "one-too-many")
    gate.set()
    for call in held:
        call.result()


def test_calls_are_answered_where_no_thread_can_be_started(server, predict, monkeypatch, caplog):
    """As in a container that has reached its limit of processes."""
    predict(build_request(), timeout=30)
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith("grpc_"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads = server._doors.grpc._threads
    monkeypatch.setattr(threads, "_max_workers", len(threads._threads) + 100)
    monkeypatch.setattr(threads._idle_semaphore, "acquire", lambda **_: False)
    for call in [predict.future(build_request()) for _ in range(4)]:
        assert call.result(timeout=30).model_spec.version.value == 3
    assert "can't start new thread" in caplog.text


def test_histories_without_a_deadline(predict):
    """gRPC then says that 9.2e18 s are left; two at a time share the queue."""
    request = build_request("recall", {"history_item_ids": pad_strings([["i3", "i7"]])})
    calls = [predict.future(request) for _ in range(4)]
    assert [call.result(timeout=30).model_spec.version.value for call in calls] == [3] * 4
