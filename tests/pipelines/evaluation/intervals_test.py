"""Bootstrap intervals, compared with those of the normal distribution and of scipy."""

import numpy as np
import pytest
from scipy import stats

from pipelines.evaluation.intervals import bootstrap
from recall.metrics.ranking import UserMetric

RNG = np.random.default_rng(5)


def mean_of(values):
    return UserMetric(np.asarray(values, float), np.ones(len(values)))


def test_the_interval_is_that_of_the_normal_distribution():
    """1.96 standard errors to each side, within a tenth: 1,000 resamples are noisy."""
    values = RNG.normal(0.3, 0.2, 2000)
    found = bootstrap({"m": mean_of(values)}).metrics["m"]
    width = 1.96 * values.std() / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - width, abs=0.1 * width)
    assert found.high == pytest.approx(values.mean() + width, abs=0.1 * width)


def test_the_interval_of_skewed_values_is_that_of_scipy():
    values = (RNG.random(200) < 0.05).astype(float)
    found = bootstrap({"m": mean_of(values)}).metrics["m"]
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=5000, rng=np.random.default_rng(0)
    ).confidence_interval
    assert found.low == pytest.approx(expected.low, abs=0.006)
    assert found.high == pytest.approx(expected.high, abs=0.006)


def test_a_ratio_is_one_of_sums():
    """Two users: one of 1 click found, 0 of 9 found: 1 of 10, not the mean .5."""
    metric = UserMetric(np.array([1.0, 0.0]), np.array([1.0, 9.0]))
    found = bootstrap({"m": metric}).metrics["m"]
    assert found.value == pytest.approx(0.1)
    assert (found.low, found.high) == (0.0, 1.0)  # Resamples of one of them alone.


def test_a_difference_knows_that_the_users_are_the_same():
    """The second is the first minus .01 everywhere: no doubt, however wide both intervals are."""
    values = RNG.normal(0.3, 0.2, 100)
    found = bootstrap({"a": mean_of(values), "b": mean_of(values - 0.01)})
    assert found.metrics["a"].high - found.metrics["a"].low > 0.05
    difference = found.differences["b"]
    assert difference == pytest.approx((0.01, 0.01, 0.01))
    assert difference.excludes_zero


def test_a_difference_of_nothing_may_be_chance():
    found = bootstrap({"a": mean_of(RNG.random(50)), "b": mean_of(RNG.random(50))})
    assert not found.differences["b"].excludes_zero


def test_the_same_users_have_the_same_interval():
    values = {"a": mean_of(RNG.random(50))}
    assert bootstrap(values) == bootstrap(values)


def test_many_users_are_drawn_in_parts():
    """120,000 users: fewer resamples, several at once, the same width as by the formula."""
    values = (np.arange(120_000) % 10 == 0).astype(float)
    found = bootstrap({"m": mean_of(values)}).metrics["m"]
    width = 2 * 1.96 * 0.3 / np.sqrt(120_000)
    assert found.high - found.low == pytest.approx(width, rel=0.2)
