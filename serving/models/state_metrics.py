"""What the server holds now, for Prometheus: versions served, items changed.

Asked when the metrics are; labels are names of models alone, so that the page
does not grow with the versions.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from serving.models.model_server import ModelServer
from serving.models.servable import State


class ModelStates:
    """The newest version of every model that is served, and which models are not."""

    def __init__(self, model_server: ModelServer):
        self._model_server = model_server

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        version = GaugeMetricFamily(
            "recall_served_version", "Newest version that is served.", labels=["model_name"]
        )
        available = GaugeMetricFamily(
            "recall_model_available",
            "Whether a version of the model is served: 1, or 0.",
            labels=["model_name"],
        )
        for name, states in sorted(self._model_server.states().items()):
            served = [number for number, state in states.items() if state == State.AVAILABLE]
            available.add_metric([name], float(bool(served)))
            if served:
                version.add_metric([name], max(served))
        yield version
        yield available


class ItemStates:
    """The items of the newest version, and those that changed while serving."""

    def __init__(self, status: Callable[[], Mapping[str, Any] | None]):
        """Asks `LiveItems.status`.

        Args:
            status: None while there are no items, or where they are elsewhere.
        """
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """See `prometheus_client.registry.Collector`."""
        status = self._status()
        if status is None:
            return
        changed = GaugeMetricFamily(
            "recall_live_items",
            "Items whose newest change is of a kind, and upserted ones without a vector.",
            labels=["state"],
        )
        changed.add_metric(["upserted"], status["num_upserted"])
        changed.add_metric(["deleted"], status["num_deleted"])
        newest = max(status["versions"], key=lambda of: of["version"], default=None)
        if newest is not None:
            changed.add_metric(["waiting"], newest["num_waiting"])
            yield GaugeMetricFamily(
                "recall_items", "Items that requests can find.", value=newest["num_items"]
            )
            if "num_feature_values" in newest:
                yield _feature_values(newest)
        yield changed


def _feature_values(newest: Mapping[str, Any]) -> Metric:
    """Values of features of upserted items since the newest version was loaded."""
    unknown = newest["num_unknown_values"]
    values = GaugeMetricFamily(
        "recall_live_feature_values",
        "Feature values of upserted items since the newest version was loaded: known, or outside "
        "of its vocabulary.",
        labels=["state"],
    )
    values.add_metric(["known"], newest["num_feature_values"] - unknown)
    values.add_metric(["unknown"], unknown)
    return values
