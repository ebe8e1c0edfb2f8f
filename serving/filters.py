"""Which items may be in an answer.

Imports no TensorFlow. The index cannot filter, so the search over-fetches and
removes afterwards.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from serving.catalogue import NO_ROW, CatalogueView
from serving.recall_types import RecallRequest
from serving.row_sets import as_set, contains, union, without


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
        removed = union(unwanted, listed)
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
    rows = as_set(view.rows_of([item_id.encode() for item_id in item_ids]))
    return rows[1:] if len(rows) and rows[0] == NO_ROW else rows
