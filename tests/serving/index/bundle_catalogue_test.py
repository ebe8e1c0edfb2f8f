"""The contract of a view, on a bundle, and its category index against plain Python."""

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
from hypothesis import given, settings

from recall.vocabulary import schema
from serving.index.category_index import CategoryIndex
from serving.index.exact_index import ExactIndex
from serving.index.item_index import DEFAULT_PARAMETERS
from tests.serving.recall_reference import Shop

SHOP = Shop(600)
VIEW = SHOP.catalogue(num_popular=3).view()


def test_ids_and_rows():
    assert VIEW.rows().tolist() == list(range(600))
    assert VIEW.rows_of([b"n7", b"unheard", b"n0", b""]).tolist() == [7, -1, 0, -1]
    assert VIEW.rows_of([]).dtype == np.int64
    assert VIEW.item_ids(np.array([7, 0])).tolist() == [b"n7", b"n0"]
    assert VIEW.item_ids(np.array([7, 0])).dtype.kind == "S"
    assert VIEW.fallback_rows.tolist() == [2, 1, 0]
    np.testing.assert_array_equal(VIEW.vectors(np.array([5, 1])), SHOP.vectors[[5, 1]])


def test_searches_equal_sorting():
    queries = SHOP.vectors[:3] + 1
    order = np.argsort(-(queries @ SHOP.vectors.T), axis=1, kind="stable")
    for result in (VIEW.search(queries, 9, DEFAULT_PARAMETERS), VIEW.exact_search(queries, 9)):
        assert [rows.tolist() for rows in result.rows] == order[:, :9].tolist()
    assert [len(rows) for rows in VIEW.search(queries, 10_000, DEFAULT_PARAMETERS).rows] == [
        600
    ] * 3


def test_exact_search_of_some_rows():
    queries = SHOP.vectors[:3] + 1
    scores = queries @ SHOP.vectors.T
    for rows in (np.arange(0, 600, 7), np.arange(1, 600), np.array([4]), np.empty(0, np.int64)):
        result = VIEW.exact_search(queries, 5, rows)
        for i in range(3):
            expected = rows[np.argsort(-scores[i, rows], kind="stable")][:5]
            assert result.rows[i].tolist() == expected.tolist()
            assert result.scores[i].tolist() == scores[i, expected].tolist()


def test_search_without_queries():
    nothing = np.empty((0, 4), np.float32)
    assert VIEW.search(nothing, 5, DEFAULT_PARAMETERS) == ([], [])
    assert VIEW.exact_search(nothing, 5) == VIEW.exact_search(nothing, 5, np.array([1])) == ([], [])


def test_search_in_several_blocks_of_queries(monkeypatch):
    """The rows found belong to their query also beyond the first block."""
    monkeypatch.setattr("serving.index.exact_index._BLOCK_SCORES", 1200)
    queries = SHOP.vectors[:5]
    result = ExactIndex(SHOP.vectors).search(queries, 3)
    for query, rows, scores in zip(queries, result.rows, result.scores, strict=True):
        np.testing.assert_array_equal(SHOP.vectors[rows] @ query, scores)


NAMES = ("a", "b", "c", "d")
COLUMNS = st.lists(
    st.none() | st.lists(st.sampled_from(NAMES), max_size=4), min_size=1, max_size=300
)


@settings(deadline=None)
@given(COLUMNS, st.lists(st.sampled_from([*NAMES, "unheard"]), max_size=4), st.integers(1, 3))
def test_category_index_is_the_column_turned_round(column, names, num_chunks):
    size = -(-len(column) // num_chunks)
    pieces = [column[start : start + size] for start in range(0, len(column), size)]
    kind = schema().field("categories").type
    index = CategoryIndex.from_column(pa.chunked_array([pa.array(p, kind) for p in pieces], kind))
    sets = [set(names or ()) for names in column]
    codes = index.category_codes(names)
    assert index.rows_in(codes).tolist() == [r for r, has in enumerate(sets) if has & set(names)]
    rows = np.arange(len(column))[::-2]
    positions, found = index.categories_of(rows)
    assert [
        {index.names[code] for code in found[positions == place]} for place in range(len(rows))
    ] == [sets[row] for row in rows]
    assert len(found) == sum(len(sets[row]) for row in rows)


def test_catalogue_without_categories():
    kind = schema().field("categories").type
    index = CategoryIndex.from_column(pa.chunked_array([pa.array([[], []], kind)]))
    assert index.category_codes(["a"]).tolist() == []
    assert index.rows_in(np.empty(0, np.int64)).tolist() == []
    assert [c.tolist() for c in index.categories_of(np.array([1]))] == [[], []]
