"""The fallback honours every filter, also when the list does not suffice."""

import numpy as np
import pytest

from serving.retrieval import popular_items
from serving.retrieval.filters import ItemFilter
from tests.serving.recall_reference import CATEGORIES, Shop

SHOP = Shop(600)
VIEW = SHOP.catalogue(num_popular=3)  # The list is n2, n1, n0.
NOTHING = np.empty(0, np.int64)


def _rows(k, item_filter=None, max_per_category=None):
    item_filter = item_filter or ItemFilter(None, NOTHING, 0)
    items = popular_items.popular_items(VIEW, k, item_filter, max_per_category)
    assert items.scores.tolist() == [0.0] * len(items.rows)
    assert items.interests.tolist() == [-1] * len(items.rows)
    return items.rows.tolist()


def test_the_list_then_the_others_by_row():
    assert _rows(2) == [2, 1]
    assert _rows(5) == [2, 1, 0, 3, 4]
    assert len(_rows(1000)) == 600


def test_filters():
    assert _rows(4, ItemFilter(None, np.array([1, 3]), 2)) == [2, 0, 4, 5]
    assert _rows(4, ItemFilter(np.array([1, 7]), NOTHING, 0)) == [1, 7]
    assert _rows(4, ItemFilter(NOTHING, NOTHING, 0)) == []


@pytest.mark.parametrize("block", [1, 50, 4096])
def test_limit_of_a_category_over_blocks_of_any_size(monkeypatch, block):
    monkeypatch.setattr(popular_items, "_BLOCK", block)
    counts, expected = dict.fromkeys(CATEGORIES, 0), []
    for row in (2, 1, 0, *range(3, 600)):
        if all(counts[name] < 3 for name in SHOP.categories[row]):
            expected.append(row)
            for name in SHOP.categories[row]:
                counts[name] += 1
    assert 30 < len(expected) < 100
    assert _rows(600, max_per_category=3) == expected
