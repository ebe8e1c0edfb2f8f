"""The metrics page: Prometheus' text format with TensorFlow Serving's names.

Imports no TensorFlow. prometheus-client ends the name of every counter in `_total` and
adds the time it was made; TensorFlow Serving does neither.
"""

from collections.abc import Iterator

from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

_TOTAL, _CREATED = "_total", "_created"
_END = b"# EOF\n"


def render(tf_serving_counters: Collector, others: Collector) -> bytes:
    """The page.

    Args:
        tf_serving_counters: Counters that are shown without `_total`. The format of
            OpenMetrics leaves names as they are, and is else the same for counters.
        others: All other metrics.
    """
    counters = openmetrics.generate_latest(
        _TfServingNames(tf_serving_counters), openmetrics.ALLOWUTF8
    )
    return counters.removesuffix(_END) + generate_latest(_NoTimes(others))


class _TfServingNames:
    """Counters without the `_total` at the end of their samples' names."""

    def __init__(self, source: Collector):
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        for family in _NoTimes(self._source).collect():
            family.samples = [
                sample._replace(name=sample.name.removesuffix(_TOTAL)) for sample in family.samples
            ]
            yield family


class _NoTimes:
    """Metrics without the times at which they were made."""

    def __init__(self, source: Collector):
        self._source = source

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        for family in self._source.collect():
            family.samples = [s for s in family.samples if not s.name.endswith(_CREATED)]
            yield family
