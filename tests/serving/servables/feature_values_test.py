"""Values of features that callers give: counted by feature, and said when many are unknown."""

import numpy as np
import pytest

from serving.monitoring.metrics import Metrics
from serving.servables.feature_values import FeatureValues

MANIFEST = {
    "user_features": [{"name": "country"}, {"name": "age"}],
    "max_unknown_share": 0.25,
}


def outputs(*rows):
    """Rows of (known, unknown) for each feature."""
    return {"value_counts": np.array(rows, np.int32)}


def said(caplog):
    return [record.getMessage() for record in caplog.records]


def test_a_share_above_the_limit_is_said_at_every_change_and_once(caplog):
    metrics = Metrics()
    values = FeatureValues("user", MANIFEST, 3, metrics)
    with caplog.at_level("INFO"):
        values.count(outputs([[0, 60], [60, 0]]))
        assert said(caplog) == []  # Of 60 values nothing can be said.
        values.count(outputs([[0, 30], [0, 0]], [[0, 30], [9, 0]]))
        values.count(outputs([[0, 30], [0, 0]]))
        (warning,) = said(caplog)
        assert warning.startswith(
            "Version 3: 100.0% of the latest values of the user feature 'country' are outside of "
            "the model's vocabulary (limit features.max_unknown_share = 0.25)"
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
    for state, number in (("known", 1000), ("unknown", 1050)):
        line = f'recall_feature_values_total{{feature="country",owner="user",state="{state}"}}'
        assert f"{line} {number}.0" in page


def test_values_that_were_counted_before_count_for_the_share_alone(caplog):
    metrics = Metrics()
    values = FeatureValues("user", MANIFEST, 3, metrics)
    with caplog.at_level("WARNING"):
        values.count(outputs([[0, 120], [60, 0]]), are_new=False)
    assert "100.0% of the latest values of the user feature 'country'" in said(caplog)[0]
    page = metrics.page().decode()
    assert 'recall_unknown_feature_share{feature="country",owner="user"} 1.0' in page
    assert "recall_feature_values_total{" not in page


def test_old_values_are_forgotten(caplog):
    values = FeatureValues("user", MANIFEST, 1)
    for _ in range(50):
        values.count(outputs([[1000, 0], [0, 0]]))
    with caplog.at_level("WARNING"):
        values.count(outputs([[0, 900], [0, 0]]))
    assert len(said(caplog)) == 1


@pytest.mark.parametrize("manifest", [{}, MANIFEST | {"max_unknown_share": 0.05}])
def test_towers_that_tell_no_features_apart(manifest, caplog):
    values = FeatureValues("user", manifest, 1)
    totals = {"num_known_values": np.array([90]), "num_unknown_values": np.array([10])}
    with caplog.at_level("WARNING"):
        values.count(totals, "_values")
        values.count({"user_vectors": np.zeros(3)})
    (warning,) = said(caplog)
    assert "10.0% of the latest values of the user feature 'all'" in warning


@pytest.mark.parametrize("owner", ["item", "user"])
def test_a_release_without_features_counts_nothing(owner):
    metrics = Metrics()
    FeatureValues(owner, {}, 1, metrics).count({"num_known": np.array([1])})
    assert "recall_feature_values_total{" not in metrics.page().decode()
