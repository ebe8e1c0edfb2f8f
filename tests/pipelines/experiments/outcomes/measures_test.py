"""Measures of lists, worked out by hand."""

import numpy as np
import pytest

from pipelines.experiments.outcomes import measures
from recall.ragged import Ragged
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary


def dense(*rows):
    return Ragged.from_rows([np.asarray(row, np.int64) + FIRST_ITEM_ID for row in rows])


CATEGORIES = [["a"], ["a"], ["a", "b"], ["b"], ["c"], []]


def test_a_category_dominates_from_six_tenths_on():
    histories = dense([0, 1, 2, 3, 4], [0, 1, 3, 3, 4], [0, 1, 2], [0, 0, 1, 2, 5])
    # a: 3 of 5; b: 2 of 5; too short; the item without a category leaves 4.
    assert measures.find_dominating(histories, CATEGORIES) == ["a", None, None, None]


def test_categories_that_are_left_out_dominate_nothing():
    histories = dense([0, 1, 2, 2, 2, 3])
    # Without a, items 0 and 1 have none, and 4 clicks are too few.
    assert measures.find_dominating(histories, CATEGORIES, ["a"]) == [None]


def test_outside_counts_slots_and_clicks_without_the_category():
    top_rows = np.array([[0, 3, 4, -1], [0, 1, 2, 3]])
    positives = Ragged.from_rows([[3, 1, 5], [3]])
    ranks = np.array([1, 4, 60, 3])
    found = measures.measure_outside(top_rows, ranks, positives, CATEGORIES, ["a", None])
    # Of three slots two are outside a. Held out are 3 and 5 outside, and 3 is found.
    assert found["outside@10"].gains.tolist() == [2, 0]
    assert found["outside@10"].weights.tolist() == [3, 0]
    assert found["outside_hit_rate@50"].gains.tolist() == [1, 0]
    assert found["outside_hit_rate@50"].weights.tolist() == [2, 0]


def test_everything_of_two_lists():
    vocabulary = ItemVocabulary(
        [f"i{n}" for n in range(6)], categories=CATEGORIES, counts=np.array([9, 5, 5, 2, 1, 1])
    )
    top_rows = np.array([[0, 3], [0, 1]], np.int32)
    positives = Ragged.from_rows([[3, 4], [0]])
    found = measures.measure_lists(top_rows, positives, dense([1], [2]), vocabulary, ks=[1, 2])
    assert found.users["hit_rate@2"].total() == pytest.approx(2 / 3)
    assert found.users["recall@1"].gains.tolist() == [0, 1]
    # Percentiles: item 0 has 5.5 of 6 below or beside it, items 1 and 2 4 of 6, item 3 2.5.
    assert found.users["popularity@10"].gains == pytest.approx([8 / 6, 9.5 / 6])
    assert found.users["popularity@10"].weights.tolist() == [2, 2]
    # 0 and 3 have no category in common, 0 and 1 have.
    assert found.users["diversity@10"].gains.tolist() == [1, 0]
    assert found.values["coverage@10"] == pytest.approx(3 / 6)
    # Items 0, 1 and 3 are in the tenths 0, 1 and 5 by clicks; item 0 has two of four slots.
    deciles = [found.values[f"exposure_decile_{number}"] for number in range(10)]
    assert deciles == [0.5, 0.25, 0, 0, 0, 0.25, 0, 0, 0, 0]
