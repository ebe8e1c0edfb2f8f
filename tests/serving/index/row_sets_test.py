import hypothesis.strategies as st
import numpy as np
from hypothesis import given, settings

from serving.index import row_sets

ROWS = st.lists(st.integers(0, 50), max_size=40)


def _array(rows):
    return np.array(rows, dtype=np.int64)


@settings(deadline=None)
@given(ROWS)
def test_as_set(rows):
    assert row_sets.as_set(_array(rows)).tolist() == sorted(set(rows))


@settings(deadline=None)
@given(ROWS, ROWS)
def test_contains(row_set, rows):
    mask = row_sets.contains(_array(sorted(set(row_set))), _array(rows))
    assert mask.tolist() == [row in row_set for row in rows]


@settings(deadline=None)
@given(ROWS, ROWS)
def test_without(row_set, removed):
    left = row_sets.without(_array(sorted(set(row_set))), _array(sorted(set(removed))))
    assert left.tolist() == sorted(set(row_set) - set(removed))


@settings(deadline=None)
@given(ROWS, ROWS)
def test_union(row_set, more):
    both = row_sets.union(_array(sorted(set(row_set))), _array(sorted(set(more))))
    assert both.tolist() == sorted(set(row_set) | set(more))
