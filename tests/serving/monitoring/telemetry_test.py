"""Spans of requests, received by a collector that decodes OTLP."""

import sys
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from recall.errors import InputError
from serving.monitoring.access_log import OFF, RequestLog, RequestRecord
from serving.monitoring.telemetry import SpanSender
from tests.serving.http_peer import Door

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it receives."""

    def __init__(self):
        self.received = []

    def Export(self, request, context):
        self.received.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def spans(self):
        return [
            span
            for request in self.received
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@pytest.fixture
def collector():
    server = grpc.server(futures.ThreadPoolExecutor(2))
    made = Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(made, server)
    made.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield made
    server.stop(None).wait()


def _attributes(span):
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def test_spans_of_http_requests(collector):
    sender = SpanSender(collector.endpoint)
    door = Door(requests=RequestLog(OFF, (sender,)))
    parent = f"00-{TRACE_ID}-{PARENT_ID}-01"
    door.ask("POST", "/recall", b'{"history": ["secret"]}', X_Request_Id="r1", traceparent=parent)
    door.ask("GET", "/healthz")
    door.stop()
    sender.close()
    recall, health = sorted(collector.spans, key=lambda span: span.start_time_unix_nano)
    (resource,) = {
        request.resource_spans[0].resource.SerializeToString() for request in collector.received
    }
    assert b"service.name" in resource
    assert recall.name == "POST recall"
    assert recall.kind == trace_pb2.Span.SPAN_KIND_SERVER
    assert (recall.trace_id.hex(), recall.parent_span_id.hex()) == (TRACE_ID, PARENT_ID)
    assert 0 < recall.end_time_unix_nano - recall.start_time_unix_nano < 60e9
    attributes = _attributes(recall)
    assert attributes["recall.response_bytes"] > 0
    del attributes["recall.response_bytes"]
    assert attributes == {
        "http.request.method": "POST",
        "url.path": "/recall",
        "http.response.status_code": 404,
        "client.address": "127.0.0.1",
        "recall.model": "recall",
        "recall.request_id": "r1",
        "recall.request_bytes": 23,
    }
    assert health.name == "GET"
    assert health.parent_span_id == b""
    assert health.trace_id != recall.trace_id
    assert b"secret" not in b"".join(r.SerializeToString() for r in collector.received)


def test_spans_of_calls(collector):
    sender = SpanSender(collector.endpoint)
    record = RequestRecord(
        door="GRPC",
        method="Predict",
        path="/tensorflow.serving.PredictionService/Predict",
        model="user_tower",
        status="INTERNAL",
        is_error=True,
        bytes_in=10,
        bytes_out=0,
        start_s=1_700_000_000.5,
        seconds=0.25,
        peer="10.0.0.1",
        request_id="r2",
    )
    sender(record)
    sender.close()
    (span,) = collector.spans
    assert span.name == "tensorflow.serving.PredictionService/Predict"
    assert span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    assert span.start_time_unix_nano == 1_700_000_000_500_000_000
    assert span.end_time_unix_nano == 1_700_000_000_750_000_000
    attributes = _attributes(span)
    assert attributes["rpc.service"] == "tensorflow.serving.PredictionService"
    assert (attributes["rpc.method"], attributes["rpc.grpc.status_code"]) == ("Predict", 13)


@pytest.mark.parametrize("endpoint", ["127.0.0.1:4317", "ftp://a", "http://", "http://a/v1/traces"])
def test_what_is_no_endpoint(endpoint):
    with pytest.raises(InputError, match="is no address of a collector"):
        SpanSender(endpoint)


def test_without_the_packages(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(InputError, match=r"which is not installed.*recall\[serve,otel\]"):
        SpanSender("http://127.0.0.1:4317")
