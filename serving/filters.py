"""Which items may be in an answer.

Imports no TensorFlow. The index cannot filter, so the search over-fetches and
removes afterwards; sets of rows are ascending arrays, each row once.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from serving.catalogue import NO_ROW, CatalogueView
from serving.recall_types import RecallRequest


class ItemFilter(NamedTuple):
    """The rows one answer may hold.

    Attributes:
        allowed: The only rows that may be in it, None for all but `removed`.
        removed: Rows that must not; empty where `allowed` says all.
        num_listed: How many of the removed rows were named one by one. Such
            rows are often among the best: users have seen what they like.
    """

    allowed: np.ndarray | None
    removed: np.ndarray
    num_listed: int

    def keep(self, rows: np.ndarray) -> np.ndarray:
        """`[n]` bool, whether rows may be in the answer."""
        if self.allowed is not None:
            return contains(self.allowed, rows)
        return ~contains(self.removed, rows)

    def num_allowed(self, view: CatalogueView) -> int:
        """How many rows may be in the answer."""
        if self.allowed is not None:
            return len(self.allowed)
        return view.num_items - len(self.removed)

    def allowed_rows(self, view: CatalogueView) -> np.ndarray:
        """All rows that may be in the answer."""
        return without(view.rows(), self.removed) if self.allowed is None else self.allowed


def build_filter(view: CatalogueView, request: RecallRequest) -> ItemFilter:
    """The rows a request allows: the removed ones win over the allowed ones."""
    seen = () if request.include_seen else request.history
    listed = rows_of(view, (*request.exclude, *request.deny, *request.similar_to, *seen))
    removed, allowed = listed, None
    if request.exclude_categories:
        unwanted = view.rows_in(view.category_codes(request.exclude_categories))
        removed = np.union1d(listed, unwanted) if len(listed) else unwanted
    if request.categories:
        allowed = view.rows_in(view.category_codes(request.categories))
    if request.allow:
        named = rows_of(view, request.allow)
        allowed = named if allowed is None else named[contains(allowed, named)]
    if allowed is None:
        return ItemFilter(None, removed, len(listed))
    return ItemFilter(without(allowed, removed), removed[:0], len(listed))


def rows_of(view: CatalogueView, item_ids: Iterable[str]) -> np.ndarray:
    """Rows of those raw ids that are items, ascending, each once."""
    rows = np.unique(view.rows_of([item_id.encode() for item_id in item_ids]))
    return rows[np.searchsorted(rows, NO_ROW, side="right") :]


def contains(row_set: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`[n]` bool, whether rows are in a set; cheap also for large sets.

    >>> contains(np.array([2, 5]), np.array([5, 3, 9])).tolist()
    [True, False, False]
    """
    if not len(row_set):
        return np.zeros(len(rows), dtype=np.bool_)
    places = np.searchsorted(row_set, rows)
    places[places == len(row_set)] = 0
    return row_set[places] == rows


def without(row_set: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """The first set without the second; copies only where it must.

    >>> without(np.array([1, 2, 5]), np.array([2, 9])).tolist()
    [1, 5]
    """
    if not len(removed):
        return row_set
    if len(removed) > len(row_set):
        return row_set[~contains(removed, row_set)]
    return np.delete(row_set, np.searchsorted(row_set, removed[contains(row_set, removed)]))
