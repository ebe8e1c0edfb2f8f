"""Versions, items and coverage on the page of metrics."""

import re

import numpy as np
import pytest

from serving.api.recall_limits import RecallLimits
from serving.api.recall_request import RecallRequest, RecallResponse
from serving.live.items import LiveItems
from serving.models.model_server import ModelServer
from serving.models.servable import State
from serving.models.state_metrics import ItemStates, ModelStates
from serving.monitoring.metrics import Metrics
from serving.servables.recall_servable import RecallServable


class Servable:
    def warm_up(self):
        pass


class Answers:
    """Answers without items, all with the same `is_fallback`, `degraded` and `coverage`."""

    def __init__(self, facts):
        self.facts = facts
        self.limits = RecallLimits()
        self.popular_item_ids = ("a",)

    def recall(self, requests, *, timeout_s=None):
        none = (np.empty(0, "S1"), np.empty(0, np.float32), np.empty(0, np.int32))
        return [
            RecallResponse(*none, is_fallback, 0, 0, 1, 1, degraded, coverage)
            for is_fallback, degraded, coverage in self.facts
        ]


def _values(metrics, name):
    """Values of a metric by its labels."""
    page = metrics.page().decode()
    found = re.findall(rf"^{name}(\{{.*\}})? (\S+)$", page, re.MULTILINE)
    return {labels.strip("{}"): float(value) for labels, value in found}


def test_versions_by_model_without_a_label_per_version():
    server, metrics = ModelServer(), Metrics()
    metrics.register(ModelStates(server))
    assert _values(metrics, "recall_served_version") == {}
    for version in (3, 4, 5):
        server.announce("m", version)
        server.load("m", version, Servable)
    server.unload(["m"], 3)
    server.unload(["m"], 5)
    server.report_missing("late", "There is none.")
    assert server.states()["m"][5] == State.END
    assert _values(metrics, "recall_served_version") == {'model_name="m"': 4.0}
    assert _values(metrics, "recall_model_available") == {
        'model_name="late"': 0.0,
        'model_name="m"': 1.0,
    }
    server.unload(["m"], 4)
    assert _values(metrics, "recall_served_version") == {}
    assert _values(metrics, "recall_model_available")['model_name="m"'] == 0.0
    server.forget("m")
    assert _values(metrics, "recall_model_available") == {'model_name="late"': 0.0}


def test_items_that_changed(tmp_path):
    metrics = Metrics()
    items = LiveItems(tmp_path)
    metrics.register(ItemStates(items.status))
    try:
        assert _values(metrics, "recall_live_items") == {
            'state="upserted"': 0.0,
            'state="deleted"': 0.0,
        }
    finally:
        items.close()
    metrics = Metrics()
    metrics.register(ItemStates(lambda: None))  # Shards tell their own.
    assert "recall_live_items" not in metrics.page().decode()
    status = {
        "num_upserted": 4,
        "num_deleted": 2,
        "versions": [
            {"version": 3, "num_items": 40, "num_waiting": 0},
            {"version": 5, "num_items": 41, "num_waiting": 1},
        ],
    }
    metrics.register(ItemStates(lambda: status))
    assert _values(metrics, "recall_items") == {"": 41.0}
    assert _values(metrics, "recall_live_items") == {
        'state="upserted"': 4.0,
        'state="deleted"': 2.0,
        'state="waiting"': 1.0,
    }


@pytest.mark.parametrize("door", ["gRPC", "HTTP"])
def test_degraded_answers_and_their_coverage(door):
    metrics = Metrics()
    facts = [(False, False, 1.0), (True, False, 1.0), (False, True, 0.25)]
    servable = RecallServable(Answers(facts), 8, metrics)
    servable.probe()  # Nobody's answer.
    if door == "gRPC":
        inputs = {"history_item_ids": np.array([[b"a"], [b""], [b"b"]], object)}
        outputs = servable.predict("serving_default", inputs)
        assert outputs["coverage"].tolist() == [1.0, 1.0, 0.25]
        servable.predict("serving_default", inputs, ["degraded"])  # Filtered: users are not known.
    else:
        servable.recall([RecallRequest()] * 3)
    assert _values(metrics, "recall_answers_total") == {
        'kind="fallback"': 1.0,
        'kind="personal"': 2.0,
    }
    assert _values(metrics, "recall_degraded_answers_total") == {"": 1.0}
    assert _values(metrics, "recall_coverage_sum_total") == {"": 2.25}
