"""Expected values by hand, or from loops."""

import math

import numpy as np
import pytest

from pipelines.validation import measures
from pipelines.validation.measures import Counts

BEFORE = Counts(("a", "b", "c", "d"), np.array([5, 3, 2, 0]))
NOW = Counts(("b", "e", "a"), np.array([6, 3, 1]))


def divergence_by_loop(p, q):
    """Jensen-Shannon divergence as it is defined, term by term."""
    total = 0.0
    for one, other in ((p, q), (q, p)):
        for x, y in zip(one, other, strict=True):
            if x:
                total += 0.5 * x * math.log2(x / ((x + y) / 2))
    return total


def test_what_changed_in_the_catalogue():
    found = measures.compare_items(NOW, BEFORE)
    # Now b .6, e .3, a .1; before a .5, b .3, c .2, d 0.
    assert found["new_items"] == pytest.approx(1 / 3)
    assert found["gone_items"] == pytest.approx(2 / 4)
    assert found["unknown_clicks"] == pytest.approx(0.3)
    assert found["popularity_l_infinity"] == pytest.approx(0.4)
    expected = divergence_by_loop([0.1, 0.6, 0, 0, 0.3], [0.5, 0.3, 0.2, 0, 0])
    assert found["popularity_jensen_shannon"] == pytest.approx(expected)


def test_the_same_log_has_not_changed():
    found = measures.compare_items(BEFORE, Counts(BEFORE.item_ids[::-1], BEFORE.clicks[::-1]))
    assert found == {
        "new_items": 0,
        "gone_items": 0,
        "unknown_clicks": 0,
        "popularity_jensen_shannon": 0,
        "popularity_l_infinity": 0,
    }


def test_another_log_has_changed_wholly():
    other = Counts(("x", "y"), np.array([1, 1]))
    found = measures.compare_items(other, BEFORE)
    assert found["popularity_jensen_shannon"] == pytest.approx(1)
    assert (found["new_items"], found["gone_items"], found["unknown_clicks"]) == (1, 1, 1)
    assert found["popularity_l_infinity"] == pytest.approx(0.5)


def test_items_that_changed_most():
    changes = measures.largest_changes(NOW, BEFORE, 3)
    assert [(one["item_id"], one["before"], one["now"]) for one in changes] == [
        ("a", 0.5, 0.1),
        ("b", 0.3, 0.6),
        ("e", 0.0, 0.3),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_divergence_of_random_distributions(seed):
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(6), size=2)
    p[2] = 0
    p /= p.sum()
    assert measures.jensen_shannon(p, q) == pytest.approx(divergence_by_loop(p, q))
    assert measures.jensen_shannon(q, p) == pytest.approx(divergence_by_loop(p, q))


def test_lengths_in_classes_that_double():
    # 1; 2 and 3; 4 to 7; 8 to 15: of 4 users each .25 .5 .25 0, and .25 0 .25 .5.
    now = [[1, 1], [2, 1], [3, 1], [7, 1]]
    before = [[1, 1], [4, 1], [8, 1], [15, 1]]
    expected = divergence_by_loop([0.25, 0.5, 0.25, 0], [0.25, 0, 0.25, 0.5])
    assert measures.compare_lengths(now, before) == pytest.approx(expected)
    assert measures.compare_lengths(now, now) == 0


def test_days():
    assert measures.count_missing_days([]) == 0
    assert measures.count_missing_days([[5, 9]]) == 0
    assert measures.count_missing_days([[5, 9], [9, 1]]) == 3
    assert measures.find_gaps([]) == measures.find_gaps([[5, 9]]) == []
    days = [[5, 9], [7, 1], [8, 1], [11, 1], [13, 2]]  # Without 6, 9, 10 and 12.
    assert measures.find_gaps(days) == [[9, 10], [6, 6], [12, 12]]
    assert measures.count_missing_days(days) == 4
    assert measures.count_new_days([[5, 9], [9, 1], [10, 1]], [[1, 1], [5, 2]]) == 2
    assert measures.count_new_days([[5, 9]], [[5, 9]]) == 0


def test_judgement():
    limits = {"max_a": 0.5, "max_b": 0.5, "min_c": 1, "max_d": None, "max_e": 0.1}
    found = measures.judge({"a": 0.5, "b": 0.51, "c": 0, "d": 0.9}, limits)
    assert [(one["name"], one["limit"], one["holds"]) for one in found] == [
        ("a", ["max", 0.5], True),
        ("b", ["max", 0.5], False),
        ("c", ["min", 1], False),
        ("d", None, True),
    ]
