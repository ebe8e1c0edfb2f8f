"""What both doors do beside answering: locks, health, metrics, refusals, draining."""

import contextlib
import http.client
import json
import logging
import ssl
import threading
import time
import urllib.error
import urllib.request
from concurrent import futures

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from recall.errors import InputError
from serving.grpc_door.reflection import MAX_STREAMS
from serving.http_door import endpoints
from serving.monitoring.options import MonitoringOptions
from serving.network.tls import TlsFiles
from serving.protocol.tensors import pad_strings
from serving.server import RecallServer
from tests.serving.grpc_requests import build_request
from tests.waiting import wait_for

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def _server(release_dir, **options):
    return RecallServer(release_dir, grpc_port=0, http_port=0, poll_s=0, **options)


def _request(name="user_tower", history=("i3",)):
    return build_request(name, {"history_item_ids": pad_strings([history])})


def _predict(channel, request, **arguments):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(
        request, timeout=30, **arguments
    )


def _get(server, path):
    with urllib.request.urlopen(f"http://{server.http_address}{path}", timeout=10) as answer:
        return answer.read().decode()


def _http_error(server, path, body=None, content_type="application/json"):
    """Status and error text of a request that is refused."""
    status, document = _ask(server, path, body, content_type)
    return status, document["error"]


def _ask(server, path, body=None, content_type="application/json"):
    """Status and JSON of an answer."""
    connection = http.client.HTTPConnection(server.http_address, timeout=10)
    with contextlib.closing(connection):
        headers = {"Content-Type": content_type}
        connection.request("GET" if body is None else "POST", path, body, headers)
        with connection.getresponse() as response:
            return response.status, json.loads(response.read())


class Held:
    """A server whose user tower waits until it is told to go on."""

    def __init__(self, release_dir, **options):
        self.server = _server(release_dir, **options)
        self.server.start()
        self.entered, self.gate = threading.Semaphore(0), threading.Event()
        tower = self.server.model_server.find("user_tower")
        run = tower.batcher._function

        def slow(inputs):
            self.entered.release()
            assert self.gate.wait(20)
            return run(inputs)

        tower.batcher._function = slow
        self.pool = futures.ThreadPoolExecutor(20)
        self.channel = grpc.insecure_channel(self.server.grpc_address)

    def send(self):
        return self.pool.submit(_predict, self.channel, _request())

    def in_flight(self):
        return self.server._backend.admission.in_flight


@pytest.fixture
def held(release_dir):
    made = []

    def make(**options):
        made.append(Held(release_dir, **options))
        return made[-1]

    yield make
    for one in made:
        one.gate.set()
        one.pool.shutdown()
        one.channel.close()
        one.server.stop()


# Refusals


def test_a_full_server_refuses_at_once_and_goes_on(held):
    one = held(max_in_flight=3)
    admitted = [one.send() for _ in range(3)]
    wait_for(lambda: one.in_flight() == 3)
    elapsed = []
    for _ in range(20):
        start = time.perf_counter()
        with pytest.raises(grpc.RpcError) as error:
            _predict(one.channel, _request())
        elapsed.append(time.perf_counter() - start)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "already works on 3 requests" in error.value.details()
    assert min(elapsed) < 0.01
    status, text = _http_error(one.server, "/recall", b"{}")
    assert status == 429
    assert "already works on" in text
    # Health, status and metrics are answered all the same.
    health = health_pb2_grpc.HealthStub(one.channel)
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == SERVING
    assert json.loads(_get(one.server, "/readyz"))["ready"]
    page = _get(one.server, "/monitoring/prometheus/metrics")
    assert 'recall_shed_requests_total{entrypoint="GRPC"} 20.0' in page
    assert 'recall_shed_requests_total{entrypoint="REST"} 1.0' in page
    assert "recall_requests_in_flight 3.0" in page
    one.gate.set()
    for future in admitted:
        assert future.result(10).outputs["num_known"].int_val == [1]
    _predict(one.channel, _request())


def test_a_cancelled_call_leaves_the_queue(held):
    one = held()
    first = one.send()
    assert one.entered.acquire(timeout=10)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(one.channel)
    second = stub.Predict.future(_request(), timeout=30)
    batcher = one.server.model_server.find("user_tower").batcher
    wait_for(lambda: batcher.queued_rows == 1)
    second.cancel()
    wait_for(lambda: batcher.queued_rows == 0 and one.in_flight() == 1)
    one.gate.set()
    first.result(10)


def test_a_deadline_ends_the_wait_for_a_batch(held):
    one = held()
    first = one.send()
    assert one.entered.acquire(timeout=10)
    with pytest.raises(grpc.RpcError) as error:
        prediction_service_pb2_grpc.PredictionServiceStub(one.channel).Predict(
            _request(), timeout=0.1
        )
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    wait_for(lambda: one.in_flight() == 1)
    one.gate.set()
    first.result(10)


def test_a_client_that_hangs_up_over_http_leaves_the_queue(held):
    one = held()
    first = one.send()
    assert one.entered.acquire(timeout=10)
    host, port = one.server.http_address.split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    connection.request("POST", "/recall", b'{"history": ["i3"]}')
    batcher = one.server.model_server.find("user_tower").batcher
    wait_for(lambda: batcher.queued_rows == 1)
    connection.close()
    wait_for(lambda: batcher.queued_rows == 0 and one.in_flight() == 1)
    one.gate.set()
    first.result(10)


def test_a_call_over_its_deadline_is_not_answered(recall_server, monkeypatch):
    monkeypatch.setattr(endpoints, "_TIMEOUT_S", 0.0)
    assert _http_error(recall_server, "/recall", b'{"history": []}')[0] == 504


# Draining


def test_draining_says_not_serving_before_it_refuses(held):
    one = held(drain_s=0.5)
    running = one.send()
    assert one.entered.acquire(timeout=10)
    health = health_pb2_grpc.HealthStub(one.channel)
    check = health_pb2.HealthCheckRequest(service="tensorflow.serving.PredictionService")
    assert health.Check(check, timeout=10).status == SERVING
    stopper = threading.Thread(target=one.server.stop)
    stopper.start()
    wait_for(lambda: health.Check(check, timeout=10).status == NOT_SERVING)
    late = one.send()  # Still taken, for load balancers take notice with delay.
    wait_for(lambda: one.in_flight() == 2)
    time.sleep(0.6)
    one.gate.set()
    assert running.result(10).outputs["num_known"].int_val == [1]
    assert late.result(10).outputs["num_known"].int_val == [1]
    stopper.join()
    with pytest.raises(grpc.RpcError) as error:
        prediction_service_pb2_grpc.PredictionServiceStub(one.channel).Predict(
            _request(), timeout=2
        )
    assert error.value.code() in (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    )


# Health and reflection


def test_health_of_unknown_services(recall_server):
    with grpc.insecure_channel(recall_server.grpc_address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "tensorflow.serving.ModelService"):
            request = health_pb2.HealthCheckRequest(service=service)
            assert health.Check(request, timeout=10).status == SERVING
        with pytest.raises(grpc.RpcError) as error:
            health.Check(health_pb2.HealthCheckRequest(service="nope"), timeout=10)
        assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services(recall_server):
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    with grpc.insecure_channel(recall_server.grpc_address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        (answer,) = stub.ServerReflectionInfo(iter([question]), timeout=10)
    assert {service.name for service in answer.list_services_response.service} == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    }


def test_reflection_streams_have_a_bound(recall_server):
    done = threading.Event()

    def questions():
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        done.wait(20)

    with grpc.insecure_channel(recall_server.grpc_address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        streams = [stub.ServerReflectionInfo(questions(), timeout=30) for _ in range(MAX_STREAMS)]
        for stream in streams:
            next(stream)
        with pytest.raises(grpc.RpcError) as error:
            next(stub.ServerReflectionInfo(questions(), timeout=30))
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        done.set()
        for stream in streams:
            assert list(stream) == []


# Metrics


def test_metrics_have_tf_servings_names_and_count_what_clients_count(release_dir):
    with _server(release_dir) as server, grpc.insecure_channel(server.grpc_address) as channel:
        for _ in range(3):
            _predict(channel, _request())
        for history in (("i3",), ()):
            _predict(channel, _request("recall", history))
        for name in ("nobody", "somebody"):
            with pytest.raises(grpc.RpcError):
                _predict(channel, _request(name))
        body = json.dumps({"instances": [["i3"]]}).encode()
        url = f"http://{server.http_address}/v1/models/user_tower:predict"
        with urllib.request.urlopen(url, body, timeout=10) as answer:
            assert answer.status == 200
        page = _get(server, "/monitoring/prometheus/metrics")
    lines = page.splitlines()
    for line in (
        "# TYPE :tensorflow:serving:request_count counter",
        ':tensorflow:serving:request_count{model_name="user_tower",status="OK"} 4.0',
        ':tensorflow:serving:request_count{model_name="recall",status="OK"} 2.0',
        ':tensorflow:serving:request_count{model_name="unknown",status="NOT_FOUND"} 2.0',
        "# TYPE :tensorflow:serving:request_latency histogram",
        ':tensorflow:serving:request_latency_count{API="Predict",entrypoint="GRPC",'
        'model_name="user_tower"} 3.0',
        ':tensorflow:serving:request_latency_count{API="predict",entrypoint="REST",'
        'model_name="user_tower"} 1.0',
        'recall_answers_total{kind="personal"} 1.0',
        'recall_answers_total{kind="fallback"} 1.0',
        'recall_version_loads_total{model_name="recall",outcome="loaded"} 1.0',
    ):
        assert line in lines
    assert ':tensorflow:serving:runtime_latency_count{API="Predict",' in page
    assert "_created" not in page


def test_metrics_elsewhere_or_nowhere(release_dir):
    with _server(release_dir, monitoring=MonitoringOptions("/metrics")) as server:
        assert "recall_requests_in_flight" in _get(server, "/metrics")
        assert _http_error(server, "/monitoring/prometheus/metrics")[0] == 404
    with _server(release_dir, monitoring=MonitoringOptions(None)) as server:
        assert _http_error(server, "/monitoring/prometheus/metrics")[0] == 404


# TLS


def _grpc_credentials(folder, client=None):
    pair = (None, None)
    if client is not None:
        pair = ((folder / f"{client}.key").read_bytes(), (folder / f"{client}.pem").read_bytes())
    return grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes(), *pair)


def _https_status(server, folder, client=None):
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    if client is not None:
        context.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    url = f"https://{server.http_address}/readyz"
    with urllib.request.urlopen(url, timeout=10, context=context) as answer:
        return answer.status


def test_tls_on_both_doors(release_dir, certificates):
    tls = TlsFiles(certificates / "server.pem", certificates / "server.key")
    with _server(release_dir, tls=tls) as server:
        with grpc.secure_channel(server.grpc_address, _grpc_credentials(certificates)) as channel:
            assert _predict(channel, _request()).model_spec.version.value == 3
        with (
            grpc.insecure_channel(server.grpc_address) as channel,
            pytest.raises(grpc.RpcError, match="UNAVAILABLE"),
        ):
            _predict(channel, _request())
        assert _https_status(server, certificates) == 200


def test_mutual_tls_on_both_doors(release_dir, certificates):
    files = ("server.pem", "server.key", "ca.pem")
    tls = TlsFiles(*(certificates / name for name in files))
    with _server(release_dir, tls=tls) as server:
        known = _grpc_credentials(certificates, "client")
        with grpc.secure_channel(server.grpc_address, known) as channel:
            assert _predict(channel, _request()).model_spec.version.value == 3
        unknown = _grpc_credentials(certificates)
        with (
            grpc.secure_channel(server.grpc_address, unknown) as channel,
            pytest.raises(grpc.RpcError, match="UNAVAILABLE"),
        ):
            _predict(channel, _request())
        assert _https_status(server, certificates, "client") == 200
        with pytest.raises((urllib.error.URLError, ssl.SSLError, ConnectionError)):
            _https_status(server, certificates)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (("server.pem", "client.key"), "KEY_VALUES_MISMATCH"),
        (("server.pem", "none.key"), "No such file"),
        (("server.pem", "server.pem"), "--tls_key="),
        (("server.pem", "server.key", "server.key"), "--tls_client_ca="),
    ],
)
def test_certificates_that_do_not_work(release_dir, certificates, files, reason):
    tls = TlsFiles(*(certificates / name for name in files))
    with pytest.raises(InputError, match=reason):
        _server(release_dir, tls=tls)


# Admin calls and logs


def test_signatures_that_need_the_admin_token(release_dir):
    token = "0123456789abcdef"
    bearer = (("authorization", f"Bearer {token}"),)
    with _server(release_dir, admin_token=token) as server:
        server.model_server.find("user_tower").admin_signatures = {"serving_default"}
        with grpc.insecure_channel(server.grpc_address) as channel:
            with pytest.raises(grpc.RpcError) as error:
                _predict(channel, _request())
            assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
            assert _predict(channel, _request(), metadata=bearer).model_spec.version.value == 3
            _predict(channel, _request("recall"))  # needs none
        path, body = "/v1/models/user_tower:predict", b'{"instances": [["i3"]]}'
        assert _http_error(server, path, body)[0] == 401
        status, text = _http_error(server, path, body, "text/plain")  # As a form sends it.
        assert (status, "Content-Type: application/json" in text) == (415, True)
        request = urllib.request.Request(
            f"http://{server.http_address}{path}",
            body,
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200


def test_histories_are_not_logged(recall_server, caplog):
    caplog.set_level(logging.INFO)
    with grpc.insecure_channel(recall_server.grpc_address) as channel:
        _predict(channel, _request("recall", ("i3", "a-secret-item")))
        with pytest.raises(grpc.RpcError):
            _predict(channel, _request("nobody", ("a-secret-item",)))
    _http_error(recall_server, "/recall", b'{"history": ["a-secret-item"], "k": -1}')
    assert "a-secret-item" not in caplog.text


# Hostile requests


@pytest.mark.parametrize("name", ["../../etc/passwd", "..%2f..%2fetc", "a/b", "user_tower/../x"])
def test_names_of_models_are_no_paths(recall_server, name):
    with grpc.insecure_channel(recall_server.grpc_address) as channel:
        with pytest.raises(grpc.RpcError) as error:
            _predict(channel, _request(name))
        assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert _http_error(recall_server, f"/v1/models/{name}")[0] in (400, 404)


_CLIENT_ERRORS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.UNIMPLEMENTED,
}

_SIZES = st.sampled_from([-1, 0, 1, 2, 3, 1 << 20, 1 << 24, 1 << 40, (1 << 63) - 1])
_TENSORS = st.builds(
    lambda dtype, sizes, content, strings, numbers: tensor_pb2.TensorProto(
        dtype=dtype,
        tensor_shape={"dim": [{"size": size} for size in sizes]},
        tensor_content=content,
        string_val=strings,
        int_val=numbers,
    ),
    st.integers(0, 30),
    st.lists(_SIZES, max_size=4),
    st.binary(max_size=12),
    st.lists(st.binary(max_size=3), max_size=3),
    st.lists(st.integers(-(1 << 31), (1 << 31) - 1), max_size=3),
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(["user_tower", "item_tower", "recall", ""]),
    st.dictionaries(
        st.sampled_from(["history_item_ids", "k", "exclude_item_ids", "item_ids", "x"]),
        _TENSORS,
        max_size=3,
    ),
    st.sampled_from(["", "serving_default", "serving_tf_example", "nope"]),
)
def test_tensors_that_lie_are_client_errors(recall_server, name, inputs, signature):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for key, tensor in inputs.items():
        request.inputs[key].CopyFrom(tensor)
    with grpc.insecure_channel(recall_server.grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        error = stub.Predict.future(request, timeout=30).exception()
    assert error is None or error.code() in _CLIENT_ERRORS, error.details()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from(
        ["/recall", "/v1/models/user_tower:predict", "/v1/models/recall:predict", "/v1/models/x:y"]
    ),
    st.binary(max_size=30)
    | st.dictionaries(
        st.sampled_from(
            ["instances", "inputs", "signature_name", "history", "k", "exclude", "b64"]
        ),
        _JSON,
        max_size=4,
    ).map(lambda document: json.dumps(document).encode()),
)
def test_bodies_of_any_kind_are_client_errors(recall_server, path, body):
    status, _ = _ask(recall_server, path, body)
    assert status < 500 or status == 501
