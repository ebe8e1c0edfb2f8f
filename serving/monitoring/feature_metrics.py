"""What is counted of values of features, for Prometheus. Imports no TensorFlow.

Labels are the names and owners that releases declare, never a value.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge

_LABELS = ("owner", "feature")


class FeatureMetrics:
    """The families of series of all features."""

    def __init__(self, registry: CollectorRegistry):
        self._values = Counter(
            "recall_feature_values",
            "Values of features that requests and upserts of items gave, by owner of the feature.",
            (*_LABELS, "state"),
            registry=registry,
        )
        self._share = Gauge(
            "recall_unknown_feature_share",
            "Share of the latest values of a feature that are outside of the vocabulary.",
            _LABELS,
            registry=registry,
        )
        self._is_high = Gauge(
            "recall_unknown_feature_warning",
            "Whether that share is above features.max_unknown_share: 1, or 0.",
            _LABELS,
            registry=registry,
        )

    def series(self, owner: str, feature: str) -> "FeatureSeries":
        """Those of one feature, shown from now on."""
        return FeatureSeries(
            self._values.labels(owner, feature, "known"),
            self._values.labels(owner, feature, "unknown"),
            self._share.labels(owner, feature),
            self._is_high.labels(owner, feature),
        )


class FeatureSeries:
    """The series of one feature: their labels are looked up once, not at every request."""

    def __init__(self, known: Counter, unknown: Counter, share: Gauge, is_high: Gauge):
        self._known, self._unknown = known, unknown
        self._share, self._is_high = share, is_high

    def count(self, known: int, unknown: int) -> None:
        """Counts values that the model knows, and those outside of its vocabulary."""
        self._known.inc(known)
        self._unknown.inc(unknown)

    def show(self, share: float, is_high: bool) -> None:
        """Shows the share of the latest values that are unknown, and whether that is too high."""
        self._share.set(share)
        self._is_high.set(is_high)
