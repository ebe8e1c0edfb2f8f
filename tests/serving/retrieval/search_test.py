"""What a search makes of lists that end too early."""

import types

import numpy as np
import pytest

from serving.api.recall_request import RecallRequest
from serving.retrieval.filters import FilterBuilder
from serving.retrieval.interests import UserInterests
from serving.retrieval.search import UserSearch
from tests.serving.recall_reference import ALWAYS, Shop

VIEW = Shop(600).catalogue()


def _search(**fields):
    request = RecallRequest(**fields)
    interests = UserInterests(
        np.ones((2, 4), np.float32), np.arange(2, dtype=np.int32), np.ones(2), 1, 0, 1
    )
    return UserSearch(VIEW, request, interests, FilterBuilder(VIEW, ALWAYS).build(request))


@pytest.mark.parametrize("fields", [{}, {"max_per_category": 100}])
def test_full_but_not_certain(fields):
    """Three items are there, but one of list 0 could come before row 8."""
    search = _search(k=3, deny=("n2",), **fields)
    rows = [np.array([1, 2]), np.array([7, 8, 9])]
    scores = [np.array([0.9, 0.6], np.float32), np.array([0.8, 0.5, 0.4], np.float32)]
    search.take(rows, scores, 2)
    assert (search.items.rows.tolist(), search.is_complete) == ([1, 7, 8], False)
    search.take(rows, scores, 5)
    assert (search.items.rows.tolist(), search.is_complete) == ([1, 7, 8], True)


@pytest.mark.parametrize(
    ("fields", "fetched"),
    [
        ({"k": 20}, 20),
        ({"k": 20, "deny": tuple(f"n{i}" for i in range(30))}, 50),
        ({"k": 20, "max_per_category": 5}, 40),
        ({"k": 20, "merge": "diversity"}, 80),
        ({"k": 1000}, 600),
    ],
)
def test_items_to_fetch(fields, fetched):
    assert _search(**fields).num_to_fetch == fetched


def test_items_to_fetch_for_a_share_of_the_catalogue():
    half = _search(k=20, categories=("half",))
    assert half.num_allowed == len(VIEW.rows_in(VIEW.category_codes(["half"])))
    assert half.num_to_fetch == int(20 * 1.5 * 600 / half.num_allowed)
    rest = _search(k=20, exclude_categories=("half",))
    assert rest.num_allowed == 600 - half.num_allowed
    assert rest.num_to_fetch == int(20 * 1.5 * 600 / rest.num_allowed)


@pytest.mark.parametrize(
    ("fields", "effort"),
    [
        ({}, 1),
        ({"deny": tuple(f"n{i}" for i in range(500))}, 1),  # Named ones may be the best ones.
        ({"allow": tuple(f"n{i}" for i in range(240))}, 1),  # 2 / .4 - 4 = 1.
        ({"allow": tuple(f"n{i}" for i in range(150))}, 4),
        ({"allow": tuple(f"n{i}" for i in range(120))}, 6),
        ({"allow": tuple(f"n{i}" for i in range(120)), "leaves_to_search": 9}, 1),
        ({"allow": tuple(f"n{i}" for i in range(120)), "reorder": 9}, 1),
    ],
)
def test_the_index_looks_further_for_fewer_items(fields, effort):
    assert _search(k=20, **fields).effort == effort


def test_tight_filters_are_searched_exactly():
    assert _search(k=20, allow=("n1", "n2")).is_tight
    assert not _search(k=20, categories=("half",)).is_tight
    assert not _search(k=20).is_tight


def test_few_rows_are_a_multiple_of_the_square_root_of_all():
    search = _search(k=20)
    search._view = types.SimpleNamespace(num_items=10**6)
    assert search._is_few(100_000)
    assert not search._is_few(100_001)
    search._view = types.SimpleNamespace(num_items=10**4)  # 100 * 100 are all: less than a quarter.
    assert search._is_few(2499)
    assert not search._is_few(2500)


def test_nothing_allowed_is_complete_at_once():
    search = _search(k=20, categories=("unheard",))
    assert (search.is_complete, search.num_wanted) == (True, 0)
