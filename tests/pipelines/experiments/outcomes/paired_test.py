"""The paired bootstrap, against distributions that can be counted by hand."""

import numpy as np
import pytest

from pipelines.experiments.outcomes import paired
from recall.metrics.ranking import UserMetric


def users(gains, weights=None):
    """One run with the metric `m`."""
    gains = np.asarray(gains, float)
    return {"m": UserMetric(gains, np.ones(len(gains)) if weights is None else np.array(weights))}


def test_what_makes_a_user_hard_cancels():
    """Every user gains 1, however different they are: nothing is left to chance."""
    first, second = users([0, 10, 200]), users([1, 11, 201])
    assert paired.compare([first], [second], ["m"])["m"] == pytest.approx((1, 1, 1))


def test_users_are_drawn():
    """Two users of 0 and 1: means of two drawn are 0, 1/2, 1 with 1/4, 1/2, 1/4."""
    found = paired.compare([users([0, 0])], [users([0, 1])], ["m"])["m"]
    assert found == pytest.approx((0.5, 0, 1))


def test_seeds_are_drawn_and_their_spread_is_that_of_new_seeds():
    """Seeds that differ by .1 and .3: means of two drawn are .1, .2, .3, stretched by root 2."""
    first = [users([1, 1, 1]), users([5, 5, 5])]
    second = [users([1.1, 1.1, 1.1]), users([5.3, 5.3, 5.3])]
    found = paired.compare(first, second, ["m"])["m"]
    stretched = 0.1 * np.sqrt(2)
    assert found == pytest.approx((0.2, 0.2 - stretched, 0.2 + stretched))


def test_a_ratio_of_sums_is_not_a_mean_of_ratios():
    """1 of 5 and 1 of 1 held-out clicks are 2 of 6."""
    found = paired.describe([users([1, 1], [5, 1])], ["m"])["m"]
    assert found.value == pytest.approx(2 / 6)


def test_metrics_keep_their_names():
    run = {"a": UserMetric(np.ones(3), np.ones(3)), "b": UserMetric(np.zeros(3), np.ones(3))}
    other = {"a": UserMetric(np.zeros(3), np.ones(3)), "b": UserMetric(np.ones(3), np.ones(3))}
    found = paired.compare([run], [other], ["a", "b"])
    assert {name: interval.value for name, interval in found.items()} == {"a": -1, "b": 1}
    assert paired.describe([run, other], ["b", "a"])["b"].value == pytest.approx(0.5)


def test_many_users_have_the_interval_of_the_normal_law():
    rng = np.random.default_rng(3)
    gains = rng.normal(0.3, 1, 5000)
    found = paired.compare([users(np.zeros(5000))], [users(gains)], ["m"])["m"]
    half = 1.96 * gains.std() / np.sqrt(5000)
    assert found.value == pytest.approx(gains.mean())
    assert found.low == pytest.approx(gains.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(gains.mean() + half, abs=0.1 * half)


def test_ratios_are_taken_of_each_recipe():
    """One recipe keeps half, the other three quarters."""
    first = [(users([2, 4]), users([1, 2]))]
    second = [(users([4, 8]), users([3, 6]))]
    assert paired.compare_ratios(first, second, "m") == pytest.approx((0.25, 0.25, 0.25))


def test_other_seeds_cannot_be_paired():
    with pytest.raises(ValueError, match=r"shorter|longer"):
        paired.compare([users([1])], [users([1]), users([1])], ["m"])
