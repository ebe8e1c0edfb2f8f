"""Spans of requests, sent to an OpenTelemetry collector (OTLP over gRPC).

Imports no TensorFlow. The packages are an extra (`recall[serve,otel]`), imported only
where spans are asked for. Sending is a thread's work with a bounded queue: a
collector that is slow or gone costs spans, never requests.
"""

from typing import Any
from urllib.parse import urlsplit

from recall.errors import InputError
from serving.monitoring.access_log import TRACE_HEADER, RequestRecord, show_path
from serving.monitoring.metrics import GRPC_ENTRYPOINT
from serving.protocol.status import Code

_SERVICE = "recall"
_EXPORT_S = 5.0
"""Longest time of one call to the collector; a stop waits no longer."""

_NS = 1_000_000_000


class SpanSender:
    """Makes a span of every record; a listener of `RequestLog`."""

    def __init__(self, endpoint: str):
        """Starts the thread that sends.

        Args:
            endpoint: `http://host:port` or, with TLS, `https://host:port`.

        Raises:
            InputError: The packages are not installed, or the endpoint is none.
        """
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path not in ("", "/"):
            raise InputError(
                f"--otlp_endpoint={endpoint} is no address of a collector. Write for example "
                "http://127.0.0.1:4317."
            )
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation import tracecontext
        except ImportError as error:
            raise InputError(
                "--otlp_endpoint needs OpenTelemetry, which is not installed. "
                "Give `pip install 'recall[serve,otel]'`."
            ) from error
        exporter = OTLPSpanExporter(endpoint, insecure=parts.scheme == "http", timeout=_EXPORT_S)
        resource = Resource.create({"service.name": _SERVICE})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("serving")
        self._read_parent = tracecontext.TraceContextTextMapPropagator().extract
        self._kind = trace.SpanKind.SERVER
        self._error = trace.Status(trace.StatusCode.ERROR)

    def __call__(self, record: RequestRecord) -> None:
        """Makes the span of a request that is over."""
        parent = None
        if record.trace_parent is not None:
            parent = self._read_parent({TRACE_HEADER: record.trace_parent})
        start_ns = int(record.start_s * _NS)
        span = self._tracer.start_span(
            _name(record),
            parent,
            self._kind,
            _attributes(record),
            start_time=start_ns,
        )
        if record.is_error:
            span.set_status(self._error)
        span.end(start_ns + int(record.seconds * _NS))

    def close(self) -> None:
        """Sends what waits, and stops."""
        self._provider.shutdown()


def _name(record: RequestRecord) -> str:
    """A name of few values, as the conventions ask: no path that clients make up."""
    if record.door == GRPC_ENTRYPOINT:
        return record.path.lstrip("/")
    return f"{record.method} {show_path(record.model)}".strip() or "refused"


def _attributes(record: RequestRecord) -> dict[str, Any]:
    """What the semantic conventions call these things, and our own names for the rest."""
    common = {
        "client.address": record.peer,
        "recall.model": show_path(record.model),
        "recall.request_id": record.request_id,
        "recall.request_bytes": record.bytes_in,
        "recall.response_bytes": record.bytes_out,
    }
    if record.door == GRPC_ENTRYPOINT:
        service, _, method = record.path.lstrip("/").partition("/")
        return {
            **common,
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": method,
            "rpc.grpc.status_code": int(Code[str(record.status)]),
        }
    return {
        **common,
        "http.request.method": record.method,
        "url.path": show_path(record.path),
        "http.response.status_code": record.status,
    }
