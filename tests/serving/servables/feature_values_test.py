"""Values of features that callers give: counted by feature, and said when many are unknown."""

import re

import numpy as np
import pytest

from serving.monitoring.metrics import Metrics
from serving.servables.feature_values import ITEM_OWNERS, USER_OWNERS, FeatureValues

MANIFEST = {
    "user_features": [{"name": "country"}, {"name": "age"}],
    "max_unknown_share": 0.25,
}


def outputs(*rows):
    """Rows of (known, unknown) for each feature."""
    return {"value_counts": np.array(rows, np.int32)}


def total_of(page, feature, state):
    series = f'recall_feature_values_total{{feature="{feature}",owner="user",state="{state}"}} '
    (line,) = [line for line in page.splitlines() if line.startswith(series)]
    return line.removeprefix(series)


def said(caplog):
    return [record.getMessage() for record in caplog.records]


def test_a_share_above_the_limit_is_said_at_every_change_and_once(caplog):
    metrics = Metrics()
    values = FeatureValues(USER_OWNERS, MANIFEST, 3, metrics)
    with caplog.at_level("INFO"):
        values.count(outputs([[0, 60], [60, 0]]))
        assert said(caplog) == []  # Of 60 values nothing can be said.
        values.count(outputs([[0, 30], [0, 0]], [[0, 30], [9, 0]]))
        values.count(outputs([[0, 30], [0, 0]]))
        (warning,) = said(caplog)
        assert warning.startswith(
            "Version 3: 100.0% of the latest values of the user feature 'country' are outside of "
            "the vocabulary (limit features.max_unknown_share = 0.25)"
        )
        assert caplog.records[0].levelname == "WARNING"
        page = metrics.page().decode()
        assert 'recall_unknown_feature_warning{feature="country",owner="user"} 1.0' in page
        assert 'recall_unknown_feature_share{feature="country",owner="user"} 1.0' in page
        assert 'recall_unknown_feature_warning{feature="age",owner="user"} 0.0' in page
        values.count(outputs([[1000, 0], [0, 0]]))
        assert "13.0% of the latest values" in said(caplog)[1]
        assert caplog.records[1].levelname == "INFO"
        values.count(outputs([[0, 900], [0, 0]]))
        assert len(said(caplog)) == 3
    page = metrics.page().decode()
    assert total_of(page, "country", "known") == "1000.0"
    assert total_of(page, "country", "unknown") == "1050.0"


def test_values_that_were_counted_before_count_for_the_share_alone(caplog):
    metrics = Metrics()
    values = FeatureValues(USER_OWNERS, MANIFEST, 3, metrics)
    with caplog.at_level("WARNING"):
        values.count(outputs([[0, 120], [60, 0]]), are_new=False)
    assert "100.0% of the latest values of the user feature 'country'" in said(caplog)[0]
    page = metrics.page().decode()
    assert 'recall_unknown_feature_share{feature="country",owner="user"} 1.0' in page
    assert total_of(page, "country", "unknown") == "0.0"


def test_old_values_are_forgotten(caplog):
    values = FeatureValues(USER_OWNERS, MANIFEST, 1)
    for _ in range(50):
        values.count(outputs([[1000, 0], [0, 0]]))
    with caplog.at_level("WARNING"):
        values.count(outputs([[0, 900], [0, 0]]))
    assert len(said(caplog)) == 1


@pytest.mark.parametrize("manifest", [{}, MANIFEST | {"max_unknown_share": 0.05}])
def test_towers_that_tell_no_features_apart(manifest, caplog):
    values = FeatureValues(USER_OWNERS, manifest, 1)
    totals = {"num_known_values": np.array([90]), "num_unknown_values": np.array([10])}
    with caplog.at_level("WARNING"):
        values.count(totals)
        values.count({"user_vectors": np.zeros(3)})
    (warning,) = said(caplog)
    assert "10.0% of the latest values of the user feature 'all'" in warning


@pytest.mark.parametrize("owners", [ITEM_OWNERS, USER_OWNERS])
def test_a_release_without_features_counts_nothing(owners):
    metrics = Metrics()
    FeatureValues(owners, {}, 1, metrics).count({"user_vectors": np.zeros(3)})
    assert "recall_feature_values_total{" not in metrics.page().decode()


OF_LOG = {
    "log_features": [
        {"name": "place", "owner": "request", "kind": "categorical"},
        {"name": "when", "owner": "event", "kind": "timestamp"},
        {"name": "device", "owner": "event", "kind": "categorical"},
    ]
}


def test_features_of_clicks_and_of_requests_are_told_apart_and_times_are_left_out():
    metrics = Metrics()
    values = FeatureValues(USER_OWNERS, MANIFEST | OF_LOG, 1, metrics)
    values.count(
        {
            "value_counts": np.array([[[1, 0], [0, 0]]]),
            "click_value_counts": np.array([[[9, 0], [2, 3]], [[9, 0], [0, 1]]]),
            "request_value_counts": np.array([[[0, 1]], [[0, 1]]]),
            # Of all together, for servers of earlier versions.
            "num_known_values": np.array([1, 0]),
            "num_unknown_values": np.array([4, 2]),
        }
    )
    found = re.findall(
        r'recall_feature_values_total{feature="(.*)",owner="(.*)",state="(.*)"} (.*)',
        metrics.page().decode(),
    )
    assert {(owner, feature, state): float(number) for feature, owner, state, number in found} == {
        ("user", "country", "known"): 1,
        ("user", "country", "unknown"): 0,
        ("user", "age", "known"): 0,
        ("user", "age", "unknown"): 0,
        ("event", "device", "known"): 2,
        ("event", "device", "unknown"): 4,
        ("request", "place", "known"): 0,
        ("request", "place", "unknown"): 2,
    }


def test_a_release_exported_before_clicks_were_counted_counts_the_others():
    metrics = Metrics()
    values = FeatureValues(USER_OWNERS, MANIFEST | OF_LOG, 1, metrics)
    values.count(outputs([[3, 1], [0, 0]]))
    assert total_of(metrics.page().decode(), "country", "unknown") == "1.0"


def test_a_warning_goes_with_its_version():
    metrics = Metrics()
    values = FeatureValues(USER_OWNERS, MANIFEST, 1, metrics)
    values.count(outputs([[0, 200], [0, 0]]))
    warning = 'recall_unknown_feature_warning{feature="country",owner="user"}'
    assert f"{warning} 1.0" in metrics.page().decode()
    values.close()
    assert f"{warning} 0.0" in metrics.page().decode()
