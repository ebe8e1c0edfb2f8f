"""Which items may be in an answer.

Imports no TensorFlow. The index cannot filter, so the search over-fetches and
removes afterwards.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from serving.api.recall_request import RecallRequest
from serving.index.catalogue import NO_ROW, CatalogueView
from serving.index.row_sets import as_set, contains, union, without

_NO_ROWS = np.empty(0, dtype=np.int64)


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


class FilterBuilder:
    """Builds the filters of one batch; looks up lists that requests share once."""

    def __init__(self, view: CatalogueView):
        """`view` says which items there are and which categories they have."""
        self._view = view
        # By identity: to compare lists of 10,000 ids costs as much as to look them up.
        self._sets: dict[tuple[str, int], tuple[tuple[str, ...], np.ndarray]] = {}

    def build(self, request: RecallRequest) -> ItemFilter:
        """The rows a request allows: the removed ones win over the allowed ones."""
        seen = () if request.include_seen else request.history
        listed = _NO_ROWS
        for names in (request.exclude, request.deny, request.similar_to, seen):
            listed = union(self._look_up(self._named, names), listed)
        removed = union(self._look_up(self._in_categories, request.exclude_categories), listed)
        allowed = None
        if request.categories:
            allowed = self._look_up(self._in_categories, request.categories)
        if request.allow:
            named = self._look_up(self._named, request.allow)
            allowed = named if allowed is None else named[contains(allowed, named)]
        if allowed is None:
            return ItemFilter(None, removed, len(listed))
        return ItemFilter(without(allowed, removed), _NO_ROWS, len(listed))

    def _look_up(
        self, find: Callable[[tuple[str, ...]], np.ndarray], names: tuple[str, ...]
    ) -> np.ndarray:
        if not names:
            return _NO_ROWS
        key = (find.__name__, id(names))
        if key not in self._sets:
            self._sets[key] = (names, find(names))  # Kept alive: identities are reused.
        return self._sets[key][1]

    def _named(self, item_ids: tuple[str, ...]) -> np.ndarray:
        """Rows of those raw ids that are items."""
        rows = as_set(self._view.rows_of([item_id.encode() for item_id in item_ids]))
        return rows[1:] if len(rows) and rows[0] == NO_ROW else rows

    def _in_categories(self, names: tuple[str, ...]) -> np.ndarray:
        """Rows that have at least one of the categories."""
        return self._view.rows_in(self._view.category_codes(names))


def unknown_categories(view: CatalogueView, names: Sequence[str]) -> tuple[str, ...]:
    """Those of some names that are no category of a view, in their order, each once."""
    if not names:
        return ()
    distinct = tuple(dict.fromkeys(names))
    if len(view.category_codes(distinct)) == len(distinct):
        return ()
    return tuple(name for name in distinct if not len(view.category_codes((name,))))
