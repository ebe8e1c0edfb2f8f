import numpy as np
import pytest

from serving.index.catalogue import CategoryPairs
from serving.retrieval.merge import (
    MergedItems,
    best_items,
    diversify,
    found_lists,
    prefer_new_categories,
    quotas,
    rank_lists,
)


def _everything(rows):
    return np.ones(len(rows), dtype=np.bool_)


def _rank(*lists, num_asked=None):
    rows = [np.array([row for row, _ in pairs], dtype=np.int64) for pairs in lists]
    scores = [np.array([score for _, score in pairs], dtype=np.float32) for pairs in lists]
    return rank_lists(found_lists(rows, scores, num_asked))


def _triples(items):
    return list(zip(*(column.tolist() for column in items), strict=True))


def _best(*lists, k=10, keep=_everything):
    return _triples(best_items(_rank(*lists), k, keep))


def test_item_of_two_interests_keeps_its_best_score():
    assert _best([(5, 0.5), (2, 0.25)], [(2, 0.75), (5, 0.125)]) == [(2, 0.75, 1), (5, 0.5, 0)]


def test_ties_go_to_the_lower_row_and_the_lower_interest():
    merged = _best([(4, 0.5), (9, 0.5)], [(1, 0.5), (4, 0.5)])
    assert merged == [(1, 0.5, 1), (4, 0.5, 0), (9, 0.5, 0)]


def test_zero_and_minus_zero_are_a_tie():
    assert _best([(3, 0.0)], [(2, -0.0)]) == [(2, 0.0, 1), (3, 0.0, 0)]


def test_lists_of_different_lengths_and_empty_lists():
    assert _best([], [(3, -0.5)], []) == [(3, -0.5, 1)]
    assert _best([], []) == []


def test_only_k_and_only_what_is_kept():
    lists = [(1, 0.5), (2, 0.25), (3, 0.125), (4, 0.0)]
    assert _best(lists, k=2, keep=lambda rows: rows != 2) == [(1, 0.5, 0), (3, 0.125, 0)]


def test_equals_sorting_all_scores():
    random = np.random.default_rng(5)
    scores = random.normal(size=(3, 50)).astype(np.float32)
    lists = [np.argsort(-row, kind="stable")[:10] for row in scores]
    ranked = rank_lists(found_lists(lists, [scores[i][rows] for i, rows in enumerate(lists)], 10))
    merged = best_items(ranked, 10, _everything)
    best = scores.max(axis=0)
    assert merged.rows.tolist() == np.argsort(-best, kind="stable")[:10].tolist()
    np.testing.assert_array_equal(merged.scores, np.sort(best)[::-1][:10])
    assert merged.interests.tolist() == scores.argmax(axis=0)[merged.rows].tolist()


def test_nothing_is_certain_beyond_the_end_of_a_list_that_goes_on():
    # Interest 0 has more items below .6: one of them may be better than row 8 with .5.
    lists = [(1, 0.9), (2, 0.6)], [(7, 0.8), (8, 0.5)]
    ranked = _rank(*lists, num_asked=2)
    assert ranked.ends.tolist() == [2, 3]
    assert best_items(ranked, 9, _everything).rows.tolist() == [1, 7, 2]
    assert best_items(ranked, 9, _everything, certain=False).rows.tolist() == [1, 7, 2, 8]
    # Lists shorter than what was asked for do not go on.
    assert best_items(_rank(*lists, num_asked=3), 9, _everything).rows.tolist() == [1, 7, 2, 8]


def test_take_keeps_the_columns_together():
    items = MergedItems(np.array([1, 2, 3]), np.array([3.0, 2.0, 1.0]), np.array([0, 0, 1]))
    assert _triples(items.take(np.array([True, False, True]))) == [(1, 3.0, 0), (3, 1.0, 1)]


@pytest.mark.parametrize(
    ("k", "shares", "places"),
    [
        (10, [1, 1, 1], [4, 3, 3]),  # 3.33 each; the remaining place goes to the lowest
        (10, [0.5, 0.3, 0.2], [5, 3, 2]),
        (3, [0.6, 0.4], [2, 1]),  # 1.8 and 1.2: the larger remainder rounds up
        (1, [0.2, 0.5, 0.3], [0, 1, 0]),
        (7, [0, 1], [0, 7]),
        (5, [1e38, 1e38], [3, 2]),
    ],
)
def test_quotas_are_by_largest_remainder(k, shares, places):
    assert quotas(k, np.array(shares, np.float32)).tolist() == places


def test_new_categories_worked_out_by_hand():
    # Rows 0 and 1 share a category, row 2 has another, row 3 none.
    pool = MergedItems(
        np.arange(4), np.array([1.0, 0.75, 0.5, 0.25], np.float32), np.zeros(4, np.int32)
    )
    categories = CategoryPairs(np.array([0, 1, 2]), np.array([7, 7, 9]))
    # First row 0. Then .75, .5 + .3, .25 + .3: row 2. Then .75 against .25 + .3: row 1.
    assert prefer_new_categories(pool, categories, 4, 0.3).rows.tolist() == [0, 2, 1, 3]
    # Then .75 against .25 + .6: row 3, which shares a category with nothing.
    assert prefer_new_categories(pool, categories, 4, 0.6).rows.tolist() == [0, 2, 3, 1]
    assert prefer_new_categories(pool, categories, 2, 0.0).rows.tolist() == [0, 1]
    nothing = CategoryPairs(*(column[:0] for column in categories))
    assert prefer_new_categories(pool, nothing, 4, 0.6).rows.tolist() == [0, 1, 2, 3]
    assert prefer_new_categories(pool.take(slice(0)), nothing, 3, 1.0).rows.tolist() == []


def test_diversity_worked_out_by_hand():
    # Rows 0 and 1 share a category, row 2 has another, row 3 none.
    pool = MergedItems(
        np.arange(4), np.array([1.0, 0.75, 0.5, 0.25], np.float32), np.zeros(4, np.int32)
    )
    categories = CategoryPairs(np.array([0, 1, 2]), np.array([7, 7, 9]))
    # First row 0 with 1. Then .75 + 0, .5 + .3, .25 + .3: row 2.
    # Then .75 + .3 (differs from row 2), .25 + .6: row 1, and row 3 at the end.
    assert diversify(pool, categories, 4, 0.3).rows.tolist() == [0, 2, 1, 3]
    assert diversify(pool, categories, 4, 0.0).rows.tolist() == [0, 1, 2, 3]
    # With weight 1: row 0; row 2 (1.5); then .75 + 1 against .25 + 2: row 3.
    assert diversify(pool, categories, 3, 1.0).rows.tolist() == [0, 2, 3]
    nothing = CategoryPairs(*(column[:0] for column in categories))
    assert diversify(pool.take(slice(0)), nothing, 3, 1.0).rows.tolist() == []
