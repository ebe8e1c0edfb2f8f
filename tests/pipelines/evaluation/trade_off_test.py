"""Recall against diversity, on lists that can be worked out by hand."""

import numpy as np
import pytest

from pipelines.evaluation.trade_off import measure_trade_off
from recall.ragged import Ragged

CATEGORIES = [("red",), ("red",), ("red",), ("blue",), ("green",), ()]
ROWS = np.array([[0, 1, 2, 3], [0, 1, 2, 4]])
SCORES = np.array([[1.0, 0.9, 0.8, 0.7]] * 2)


@pytest.mark.parametrize("merge", ["diversity", "new_categories"])
def test_weight_moves_lists_from_score_to_difference(merge):
    """Of two items the second is a red one at first, and what the pool has last at the end.

    The first user wanted the second red one, the other the green one.
    """
    points = measure_trade_off(ROWS, SCORES, Ragged.from_rows([[1], [4]]), CATEGORIES, k=2)
    points = [point for point in points if point["merge"] == merge]
    first, last = points[0], points[-1]
    facts = {"diversity_weight": 0.0, "recall": 0.5, "category_diversity": 0.0}
    assert first == {"merge": merge, **facts}
    assert last["category_diversity"] == 1.0
    assert last["recall"] == 0.5
    assert last["diversity_weight"] == pytest.approx(0.3)  # The width of the pools.
    weights = [point["diversity_weight"] for point in points]
    assert weights == sorted(set(weights))


def test_empty_slots_are_no_items():
    rows = np.array([[0, 3, -1, -1]])
    scores = np.array([[1.0, 0.5, -np.inf, -np.inf]])
    points = measure_trade_off(rows, scores, Ragged.from_rows([[3]]), CATEGORIES, k=2)
    assert all(point["recall"] == 1.0 for point in points)


@pytest.mark.parametrize("categories", [[()] * 6, [("same",)] * 6])
def test_nothing_to_trade_without_categories_that_differ(categories):
    assert measure_trade_off(ROWS, SCORES, Ragged.from_rows([[1], [4]]), categories, k=2) == []


def test_nothing_to_trade_where_the_pool_is_the_list():
    assert measure_trade_off(ROWS, SCORES, Ragged.from_rows([[1], [4]]), CATEGORIES, k=4) == []
