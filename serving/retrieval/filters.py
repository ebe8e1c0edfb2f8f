"""Which items may be in an answer.

Imports no TensorFlow. The index cannot filter, so the search over-fetches and
removes afterwards.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from serving.api.conditions import ItemCondition, boosts_of, conditions_of
from serving.api.recall_request import RecallRequest
from serving.index.catalogue import NO_ROW, CatalogueView
from serving.index.row_sets import as_set, contains, intersection, union, without
from serving.retrieval.boosts import BoostedRows, BoostGroups
from serving.retrieval.conditions import rows_of_condition

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
    """Builds the filters of one batch; looks up what requests share once."""

    def __init__(self, view: CatalogueView, now_s: float):
        """Begins a batch.

        Args:
            view: Says which items there are, and which categories and attributes they have.
            now_s: The time, in seconds since 1970: some items are not available at all times.
        """
        self._view = view
        self._unavailable = view.attributes.unavailable_rows(now_s)
        self._fulfilling: dict[str, np.ndarray] = {}
        # By identity: to compare lists of 10,000 ids costs as much as to look them up.
        self._sets: dict[tuple[str, int], tuple[tuple[str, ...], np.ndarray]] = {}

    def build(self, request: RecallRequest) -> ItemFilter:
        """The rows a request allows: the removed ones win over the allowed ones.

        Raises:
            InputError: A condition does not fit the release.
        """
        seen = () if request.include_seen else request.history
        listed = _NO_ROWS
        for names in (request.exclude, request.deny, request.similar_to, seen):
            listed = union(self._look_up(self._named, names), listed)
        removed = union(self._look_up(self._in_categories, request.exclude_categories), listed)
        removed = union(self._unavailable, removed)
        restrictions = self._restrictions(request)
        allowed = intersection(restrictions) if restrictions else None
        if allowed is None:
            return ItemFilter(None, removed, len(listed))
        return ItemFilter(without(allowed, removed), _NO_ROWS, len(listed))

    def boosts(self, request: RecallRequest, item_filter: ItemFilter) -> BoostGroups | None:
        """The groups of rows whose scores a request changes; None where it changes none.

        Args:
            request: Of this batch.
            item_filter: Its filter.

        Raises:
            InputError: A condition does not fit the release.
        """
        if not request.boosts:
            return None
        found = [
            BoostedRows(self._rows_where(boost.where, f"boosts[{place}].where"), *boost[1:])
            for place, boost in enumerate(boosts_of(request.boosts))
        ]
        return BoostGroups.build(found, item_filter.keep, item_filter.num_allowed(self._view))

    def _restrictions(self, request: RecallRequest) -> list[np.ndarray]:
        """Sets of rows; the answer holds only what is in each of them."""
        found = []
        if request.categories:
            found.append(self._look_up(self._in_categories, request.categories))
        if request.allow:
            found.append(self._look_up(self._named, request.allow))
        if request.where:
            found.append(self._rows_where(conditions_of(request.where), "where"))
        return found

    def _rows_where(self, conditions: Sequence[ItemCondition], field: str) -> np.ndarray:
        """Rows that fulfil every condition; all rows where there is none."""
        if not conditions:
            return self._view.rows()
        found = []
        for condition in conditions:
            key = repr(condition)  # True is equal to 1.
            if key not in self._fulfilling:
                self._fulfilling[key] = rows_of_condition(self._view, condition, field)
            found.append(self._fulfilling[key])
        every = repr(conditions)
        if every not in self._fulfilling:
            self._fulfilling[every] = intersection(found)
        return self._fulfilling[every]

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
