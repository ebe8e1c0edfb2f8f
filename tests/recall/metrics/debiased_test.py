"""The debiased hit rate: by hand, and that it takes exposure out."""

import numpy as np
import pytest

from recall.metrics.debiased import compute_user_debiased
from recall.ragged import Ragged


def ragged(rows):
    return Ragged(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))


def test_by_hand():
    counts = np.array([100, 20, 10, 1])
    # User 0 clicks items 0 and 2, user 1 item 3, which counts as one of 5 clicks, and an
    # unknown item, which does not count.
    positives = ragged([np.array([0, 2]), np.array([3, -1])])
    lists = np.array([[0, 1], [1, 3]])

    metrics = compute_user_debiased(lists, positives, counts, ks=(1, 2))

    total = 1 / 100 + 1 / 10 + 1 / 5
    assert metrics["debiased_hit_rate@1"].total() == pytest.approx(1 / 100 / total)
    assert metrics["debiased_hit_rate@2"].total() == pytest.approx((1 / 100 + 1 / 5) / total)


def test_skewed_clicks_give_the_hit_rate_of_even_ones():
    """Items are preferred alike and shown unequally: half of the items are half of the hits."""
    rng = np.random.default_rng(0)
    propensity = 1 / np.arange(1, 41)
    clicks = rng.choice(40, 40_000, p=propensity / propensity.sum())
    counts = np.bincount(clicks[:30_000], minlength=40)
    positives = ragged(np.split(clicks[30_000:], 10_000))
    lists = np.tile(np.arange(20), (10_000, 1))  # Everybody gets the twenty most shown.

    debiased = compute_user_debiased(lists, positives, counts, ks=(20,))["debiased_hit_rate@20"]

    assert (positives.values < 20).mean() > 0.8
    assert debiased.total() == pytest.approx(0.5, abs=4 * debiased.standard_error())
    assert debiased.standard_error() < 0.02
