"""Answers under limits, on lists small enough to be followed by hand."""

import numpy as np
import pytest

from serving.retrieval.merge import rank_lists
from serving.retrieval.selection import Draft
from tests.serving.recall_reference import Shop

VIEW = Shop(600).catalogue()
HALF = VIEW.rows_in(VIEW.category_codes(["half"]))
PLAIN = np.setdiff1d(VIEW.rows(), VIEW.rows_in(np.arange(6)))


def _lists(*lists, num_asked=None):
    """Lists of rows with scores 1, 1/2, 1/3 ... shifted a little by interest."""
    scores = [1 / np.arange(1, len(rows) + 1) - i / 100 for i, rows in enumerate(lists)]
    rows = [np.array(rows, np.int64) for rows in lists]
    return rank_lists(rows, [column.astype(np.float32) for column in scores], num_asked)


def _take(draft, ranked, kept=None, **arguments):
    mask = np.ones(len(ranked.entries.rows), np.bool_) if kept is None else kept
    draft.take_from(ranked, mask, **arguments)
    return draft.items.rows.tolist(), draft.items.interests.tolist()


def test_places_of_interests():
    draft = Draft(VIEW, 4, places=np.array([1, 3]))
    # Interest 0 takes row 10; 11 is left to interest 1, which comes to it after 20.
    assert _take(draft, _lists([10, 11, 12], [20, 11, 21, 22])) == ([10, 20, 11, 21], [0, 1, 1, 1])
    assert draft.is_full
    assert draft.has_places(2).tolist() == [False, False]


def test_limit_of_a_category():
    a, b, c = HALF[:3].tolist()
    plain = PLAIN[:2].tolist()
    draft = Draft(VIEW, 9, max_per_category=2)
    taken, _ = _take(draft, _lists([a, plain[0], b, c, plain[1]]))
    # At most the first two of `half`; an item of two categories may be stopped by the other.
    assert [row for row in taken if row in HALF][:1] == [a]
    assert sum(row in HALF for row in taken) <= 2
    assert c not in taken
    assert set(plain) <= set(taken)


def test_blocked_rows_are_the_taken_and_those_of_full_categories():
    lone = int(PLAIN[0])
    draft = Draft(VIEW, 5, max_per_category=1)
    taken, _ = _take(draft, _lists([int(HALF[0]), lone]))
    blocked = draft.blocked_rows()
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
    draft = Draft(VIEW, 6, places=None if places is None else np.array(places))
    assert _take(draft, ranked)[0] == taken
    other = Draft(VIEW, 6)
    assert _take(other, ranked, certain=False)[0] == [10, 20, 11, 21, 22]


def test_the_end_of_a_list_counts_though_its_item_is_not_kept():
    ranked = _lists([10, 11], [20, 21, 22], num_asked=2)
    kept = ranked.entries.rows != 11
    assert _take(Draft(VIEW, 6), ranked, kept)[0] == [10, 20]
