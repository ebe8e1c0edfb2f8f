"""What the server counts, for Prometheus: TF Serving's names, and our own.

Imports no TensorFlow. TF Serving's metrics keep its names, labels and unit
(microseconds), so that dashboards made for it show this server too.
"""

from collections.abc import Callable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
)
from prometheus_client.registry import Collector

from serving.batching.batch_queue import BatchReport
from serving.monitoring import exposition
from serving.monitoring.feature_metrics import FeatureMetrics
from serving.protocol.status import Code

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_TF_SERVING = ":tensorflow:serving:"
_LATENCY_BUCKETS_US = tuple(10 * 1.8**power for power in range(32))
"""TF Serving's: 10 us times powers of 1.8, up to about 20 minutes."""

_BATCH_BUCKETS = tuple(2**power for power in range(10))

_OUTCOMES = ("loaded", "failed", "unloaded")
"""Of looking at a version."""

GRPC_ENTRYPOINT, REST_ENTRYPOINT = "GRPC", "REST"
"""TF Serving's labels of requests at either door."""

UNKNOWN_MODEL = "unknown"
"""Label of requests for models that are not served: clients must not invent labels."""


class _ModelMetrics:
    """What is counted of every model; requests by TensorFlow Serving's names."""

    def __init__(self, registry: CollectorRegistry, tf_serving_counters: CollectorRegistry):
        self.requests = Counter(
            f"{_TF_SERVING}request_count",
            "The total number of requests.",
            ("model_name", "status"),
            registry=tf_serving_counters,
        )
        self.latency = _histogram(
            registry,
            f"{_TF_SERVING}request_latency",
            "Distribution of wall time (in microseconds) for Tensorflow Serving request.",
            _LATENCY_BUCKETS_US,
            *("model_name", "API", "entrypoint"),
        )
        self.runtime = _histogram(
            registry,
            f"{_TF_SERVING}runtime_latency",
            "Distribution of wall time (in microseconds) for Tensorflow runtime.",
            _LATENCY_BUCKETS_US,
            *("model_name", "API", "runtime"),
        )
        self.batch_rows = _histogram(
            registry,
            "recall_batch_rows",
            "Rows of a batch of the user tower.",
            _BATCH_BUCKETS,
            "model_name",
        )
        self.queue_us = _histogram(
            registry,
            "recall_batch_queue_microseconds",
            "Time a request waited for its batch.",
            _LATENCY_BUCKETS_US,
            "model_name",
        )


class _AnswerMetrics:
    """What is counted of the answers of the model recall."""

    def __init__(self, registry: CollectorRegistry):
        self.answers = _counter(
            registry,
            "recall_answers",
            "Users answered by the model recall, by kind of answer.",
            kind=("personal", "fallback"),
        )
        self.degraded = _counter(
            registry,
            "recall_degraded_answers",
            "Users whose answer the deadline or a lost shard cut short.",
        )
        self.coverage = _counter(
            registry,
            "recall_coverage_sum",
            "Sum of `coverage` over the users answered; divided by recall_answers_total, the mean.",
        )


class _HttpMetrics:
    """What is counted of the HTTP door below its requests."""

    def __init__(self, registry: CollectorRegistry):
        self.refused_connections = _counter(
            registry,
            "recall_http_refused_connections",
            "HTTP connections refused: too many in all, or of one peer.",
            reason=("all", "peer"),
        )
        self.dropped_connections = _counter(
            registry,
            "recall_http_dropped_connections",
            "HTTP connections closed: what they should send or read took too long.",
            waited_for=("header", "body", "write", "idle"),
        )
        self.refused_requests = _counter(
            registry,
            "recall_http_refused_requests",
            "HTTP requests refused before a model saw them, by reason.",
            reason=(),
        )
        self.loop_errors = _counter(
            registry,
            "recall_http_loop_errors",
            "Errors of the HTTP door's event loop, as of accepting.",
        )


class Metrics:
    """Counters of one server; safe to use from several threads.

    Attributes:
        features: Those of values of features.
    """

    def __init__(self):
        self._registry = CollectorRegistry()
        self._tf_serving_counters = CollectorRegistry()
        self._models = _ModelMetrics(self._registry, self._tf_serving_counters)
        self._answers = _AnswerMetrics(self._registry)
        self._shed = _counter(
            self._registry,
            "recall_shed_requests",
            "Requests refused because the server was full.",
            entrypoint=(GRPC_ENTRYPOINT, REST_ENTRYPOINT),
        )
        self._http = _HttpMetrics(self._registry)
        self.features = FeatureMetrics(self._registry)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._grpc_drops = _counter(
            self._registry,
            "recall_grpc_unread_calls",
            "gRPC calls ended before their message was there.",
            reason=("late", "slow", "full"),
        )
        self._swaps = Counter(
            "recall_version_loads",
            "Versions loaded or refused.",
            ("model_name", "outcome"),
            registry=self._registry,
        )

    def watch(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """Shows a number that is asked for when the metrics are."""
        Gauge(name, documentation, registry=self._registry).set_function(value)

    def register(self, collector: Collector) -> None:
        """Shows what a collector finds when the metrics are asked for."""
        self._registry.register(collector)

    def count_request(
        self, model_name: str, api: str, entrypoint: str, code: Code, seconds: float
    ) -> None:
        """Counts one request that was answered or refused."""
        self._models.requests.labels(model_name, code.name).inc()
        if code is Code.OK:
            self._models.latency.labels(model_name, api, entrypoint).observe(seconds * 1e6)

    def count_run(self, model_name: str, seconds: float) -> None:
        """Counts one run of a SavedModel."""
        self._models.runtime.labels(model_name, "Predict", "TF2").observe(seconds * 1e6)

    def count_batch(self, model_name: str, report: BatchReport) -> None:
        """Counts one batch, which may be of a single request."""
        self._models.batch_rows.labels(model_name).observe(report.num_rows)
        for waited_s in report.waited_s:
            self._models.queue_us.labels(model_name).observe(waited_s * 1e6)

    def count_recall_answers(
        self, *, num_personal: int, num_fallback: int, num_degraded: int, coverage: float
    ) -> None:
        """Counts the users that one call of the model recall answered.

        Args:
            num_personal: Users answered from what they looked at or asked for.
            num_fallback: Users answered with popular items.
            num_degraded: Those of both kinds whose answer was cut short.
            coverage: Sum over the users of both kinds.
        """
        self._answers.answers.labels("fallback").inc(num_fallback)
        self._answers.answers.labels("personal").inc(num_personal)
        self._answers.degraded.inc(num_degraded)
        self._answers.coverage.inc(coverage)

    def count_shed(self, entrypoint: str) -> None:
        """Counts a request that was refused because the server was full."""
        self._shed.labels(entrypoint).inc()

    def count_http_refused_connection(self, reason: str) -> None:
        """Counts a connection that was one too many, of `all` or of its `peer`."""
        self._http.refused_connections.labels(reason).inc()

    def count_http_drop(self, waited_for: str) -> None:
        """Counts a connection that took too long: `header`, `body`, `write` or `idle`."""
        self._http.dropped_connections.labels(waited_for).inc()

    def count_http_refusal(self, reason: str) -> None:
        """Counts a request that was refused for what it is, not for what it asks."""
        self._http.refused_requests.labels(reason).inc()

    def count_http_loop_error(self) -> None:
        """Counts an error that no request is to blame for."""
        self._http.loop_errors.inc()

    def count_grpc_drop(self, reason: str) -> None:
        """Counts a call without a message: `late`, `slow` (others took its place), `full`."""
        self._grpc_drops.labels(reason).inc()

    def count_load(self, model_name: str, outcome: str) -> None:
        """Counts a version that was `loaded`, `failed` or was `unloaded`."""
        for other in _OUTCOMES:  # They begin at 0; see `_counter`.
            self._swaps.labels(model_name, other)
        self._swaps.labels(model_name, outcome).inc()

    def page(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return exposition.render(self._tf_serving_counters, self._registry)


def _counter(
    registry: CollectorRegistry, name: str, documentation: str, **values: Sequence[str]
) -> Counter:
    """A counter with at most one label, whose known values are shown from the start.

    Prometheus' `increase` does not see the first event of a series that begins at 1.
    """
    counter = Counter(name, documentation, tuple(values), registry=registry)
    for known in values.values():
        for value in known:
            counter.labels(value)
    return counter


def _histogram(
    registry: CollectorRegistry,
    name: str,
    documentation: str,
    buckets: tuple[float, ...],
    *labels: str,
) -> Histogram:
    return Histogram(name, documentation, labels, registry=registry, buckets=buckets)
