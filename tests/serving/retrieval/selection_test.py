"""Answers under limits, on lists small enough to be followed by hand."""

import numpy as np
import pytest

from serving.retrieval.merge import found_lists, rank_lists
from serving.retrieval.selection import CappedSelection
from tests.serving.recall_reference import Shop

VIEW = Shop(600).catalogue()
HALF = VIEW.rows_in(VIEW.category_codes(["half"]))
PLAIN = np.setdiff1d(VIEW.rows(), VIEW.rows_in(np.arange(6)))


def _lists(*lists, num_asked=None):
    """Lists of rows with scores 1, 1/2, 1/3 ... shifted a little by interest."""
    scores = [1 / np.arange(1, len(rows) + 1) - i / 100 for i, rows in enumerate(lists)]
    rows = [np.array(rows, np.int64) for rows in lists]
    return rank_lists(
        found_lists(rows, [column.astype(np.float32) for column in scores], num_asked)
    )


def _take(selection, ranked, kept=None, **arguments):
    mask = np.ones(len(ranked.entries.rows), np.bool_) if kept is None else kept
    selection.take_from(ranked, mask, **arguments)
    return selection.items.rows.tolist(), selection.items.interests.tolist()


def test_places_of_interests():
    selection = CappedSelection(VIEW, 4, places=np.array([1, 3]))
    # Interest 0 takes row 10; 11 is left to interest 1, which comes to it after 20.
    taken = _take(selection, _lists([10, 11, 12], [20, 11, 21, 22]))
    assert taken == ([10, 20, 11, 21], [0, 1, 1, 1])
    assert selection.is_full
    assert selection.has_places(2).tolist() == [False, False]


def test_limit_of_a_category():
    a, b, c = HALF[:3].tolist()
    plain = PLAIN[:2].tolist()
    selection = CappedSelection(VIEW, 9, max_per_category=2)
    taken, _ = _take(selection, _lists([a, plain[0], b, c, plain[1]]))
    # At most the first two of `half`; an item of two categories may be stopped by the other.
    assert [row for row in taken if row in HALF][:1] == [a]
    assert sum(row in HALF for row in taken) <= 2
    assert c not in taken
    assert set(plain) <= set(taken)


def test_blocked_rows_are_the_taken_and_those_of_full_categories():
    lone = int(PLAIN[0])
    selection = CappedSelection(VIEW, 5, max_per_category=1)
    taken, _ = _take(selection, _lists([int(HALF[0]), lone]))
    blocked = selection.blocked_rows()
    assert set(taken) <= set(blocked.tolist())
    assert set(HALF.tolist()) <= set(blocked.tolist())
    assert blocked.tolist() == sorted(set(blocked.tolist()))
    assert PLAIN[1] not in blocked


@pytest.mark.parametrize(
    ("places", "taken"),
    [
        (None, [10, 20, 11]),  # stops at the end of the first list, which goes on
        ([1, 5], [10, 20, 21, 22]),  # interest 0 is full: its end does not matter
        ([2, 5], [10, 20, 11, 21, 22]),  # full exactly at its end
    ],
)
def test_stops_where_a_list_ends_that_goes_on(places, taken):
    ranked = _lists([10, 11], [20, 21, 22], num_asked=2)
    selection = CappedSelection(VIEW, 6, places=None if places is None else np.array(places))
    assert _take(selection, ranked)[0] == taken
    other = CappedSelection(VIEW, 6)
    assert _take(other, ranked, certain=False)[0] == [10, 20, 11, 21, 22]


def test_the_end_of_a_list_counts_though_its_item_is_not_kept():
    ranked = _lists([10, 11], [20, 21, 22], num_asked=2)
    kept = ranked.entries.rows != 11
    assert _take(CappedSelection(VIEW, 6), ranked, kept)[0] == [10, 20]
