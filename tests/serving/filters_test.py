import numpy as np
import pytest

from recall.vocabulary import ItemVocabulary
from serving import filters


def test_rows_of_known_ids_sorted_and_distinct():
    items = ItemVocabulary(["c", "a", "b"])
    assert filters.rows_of(items, ["b", "c", "b", "zebra", ""]).tolist() == [0, 2]
    assert filters.rows_of(items, []).tolist() == []


@pytest.mark.parametrize(
    ("k", "num_removed", "num_items", "fetched", "available"),
    [
        (10, 0, 100, 10, 10),
        (10, 5, 100, 15, 10),
        (10, 95, 100, 100, 5),
        (200, 0, 100, 100, 100),
        (10, 100, 100, 100, 0),
    ],
)
def test_sizes(k, num_removed, num_items, fetched, available):
    assert filters.num_to_fetch(k, num_removed, num_items) == fetched
    assert filters.num_available(k, num_removed, num_items) == available


def test_keep_mask():
    mask = filters.keep_mask(np.array([4, 1, 7]), np.array([1, 2]))
    assert mask.tolist() == [True, False, True]
    assert filters.keep_mask(np.array([4]), np.array([], dtype=np.int64)).tolist() == [True]
