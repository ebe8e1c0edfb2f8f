"""Filters on a small catalogue, and lists that a batch shares."""

import numpy as np

from serving.api.recall_request import RecallRequest
from serving.retrieval.filters import FilterBuilder
from tests.serving.recall_reference import ALWAYS, Shop

SHOP = Shop(60)
VIEW = SHOP.catalogue()


def _build(**fields):
    return FilterBuilder(VIEW, ALWAYS).build(RecallRequest(**fields))


def _rows(*names):
    return [row for row in range(60) if set(names) & set(SHOP.categories[row])]


def test_ids_that_are_removed():
    built = _build(
        history=("n5", "unheard", "n5"), exclude=("n9", ""), deny=("n1", "n9"), similar_to=("n30",)
    )
    assert built.allowed is None
    assert built.removed.tolist() == [1, 5, 9, 30]
    assert (built.num_listed, built.num_allowed(VIEW)) == (4, 56)
    assert built.keep(np.array([30, 2, 1])).tolist() == [False, True, False]
    assert built.allowed_rows(VIEW).tolist() == sorted(set(range(60)) - {1, 5, 9, 30})


def test_seen_items_may_come_back():
    assert _build(history=("n5",), include_seen=True).removed.tolist() == []


def test_allowed_ids_without_the_removed_ones():
    built = _build(allow=("n7", "n3", "unheard", "n9"), deny=("n3",))
    assert built.allowed.tolist() == [7, 9]
    assert (built.num_allowed(VIEW), built.allowed_rows(VIEW).tolist()) == (2, [7, 9])
    assert built.keep(np.array([3, 9])).tolist() == [False, True]


def test_only_unknown_ids_allow_nothing():
    assert _build(allow=("unheard",)).num_allowed(VIEW) == 0
    assert _build(categories=("unheard",)).num_allowed(VIEW) == 0


def test_categories():
    assert _build(categories=("half", "twin")).allowed.tolist() == _rows("half", "twin")
    assert _build(exclude_categories=("half",)).removed.tolist() == _rows("half")
    both = _build(categories=("most",), exclude_categories=("half",), history=("n0",))
    expected = [row for row in _rows("most") if row not in _rows("half") and row != 0]
    assert both.allowed.tolist() == expected
    one = _build(categories=("half",), allow=("n0", "n1", "n2", "n3", "n4", "n5"))
    assert one.allowed.tolist() == [row for row in _rows("half") if row < 6]


def test_a_list_that_requests_share_is_looked_up_once():
    asked = []

    class Counting:
        num_items, attributes = 60, VIEW.attributes

        def rows_of(self, item_ids):
            asked.append(item_ids)
            return VIEW.rows_of(item_ids)

    builder = FilterBuilder(Counting(), ALWAYS)
    shared = ("n1", "n2")
    built = [builder.build(RecallRequest(deny=shared, exclude=(f"n{i}",))) for i in range(5)]
    assert [b.removed.tolist() for b in built] == [[0, 1, 2], [1, 2], [1, 2], [1, 2, 3], [1, 2, 4]]
    assert asked.count([b"n1", b"n2"]) == 1
