import hypothesis.strategies as st
import numpy as np
import pytest
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


@pytest.mark.parametrize("size", [10, 1000, 9000])
@pytest.mark.parametrize("last", [10_000, 10_000_000])
def test_many_rows_are_looked_up_as_few_are(size, last):
    """In order or not, beyond the last one of the set, and none (-1)."""
    rng = np.random.default_rng(size)
    row_set = np.sort(rng.choice(10_000, size, replace=False))
    row_set[-1] = last
    rows = np.concatenate([rng.integers(-1, 12_000, 3000), row_set[::2], [last, last + 1, -1]])
    expected = np.isin(rows, row_set)
    np.testing.assert_array_equal(row_sets.contains(row_set, rows), expected)
    ordered = np.sort(rows)
    np.testing.assert_array_equal(row_sets.contains(row_set, ordered), np.isin(ordered, row_set))


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
