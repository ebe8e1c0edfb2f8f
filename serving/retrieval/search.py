"""The search of one user, step by step until its answer is complete.

Imports no TensorFlow. `batch_search` decides which step is taken when.
"""

import math
import time
from collections.abc import Sequence

import numpy as np

from serving.api.recall_request import DIVERSITY_POOL, MERGE_DIVERSITY, MERGE_QUOTA, RecallRequest
from serving.index.catalogue import CatalogueView
from serving.index.item_index import SearchParameters, SearchResult
from serving.index.row_sets import without
from serving.retrieval.filters import ItemFilter
from serving.retrieval.interests import UserInterests
from serving.retrieval.merge import NOTHING, MergedItems, best_items, quotas, rank_lists
from serving.retrieval.selection import CappedSelection

_TIGHT_ROWS = 50_000
"""Allowed rows up to which all are scored at once; measured: 6 CPU-ms for 4 interests,
where the index, asked for enough, took 15 and was not exact."""

_TIGHT_SHARE = 4
"""Only if a filter leaves less than one in this many; else the index finds enough."""

_FILTER_OVERFETCH = 1.5
"""Items fetched per item that a filter is expected to leave: a filter is
rarely spread evenly over the neighbourhood of an interest."""

_CAPPED_OVERFETCH = 2
"""Items fetched per item wanted where categories are limited; a guess, made
good by a second search."""

_MANY_LISTED = 256
"""Items named one by one beyond which not all are expected among the best."""

_MIN_EXACT_FETCH = 1024
"""Fewest items an exact search fetches where categories are limited: to sort
them costs little beside the scores of all."""


class UserSearch:
    """The state of one user's search.

    Attributes:
        items: The best answer so far.
        is_complete: Whether no further search can make it better, as far as
            the index tells.
    """

    def __init__(
        self,
        view: CatalogueView,
        request: RecallRequest,
        interests: UserInterests,
        item_filter: ItemFilter,
        deadline_s: float = math.inf,
    ):
        """Prepares a search; nothing is searched yet.

        Args:
            view: The items.
            request: Checked.
            interests: At least one vector.
            item_filter: What the answer may hold.
            deadline_s: When nobody waits any longer, on the monotonic clock.
        """
        self._view = view
        self._deadline_s = deadline_s
        self._filter = item_filter
        self.vectors = interests.vectors
        self.parameters = SearchParameters(request.leaves_to_search, request.reorder)
        self._k = request.k
        if request.merge == MERGE_DIVERSITY:
            self._k *= DIVERSITY_POOL
        self._max_per_category = request.max_per_category
        self._places = None
        if request.merge == MERGE_QUOTA:
            self._places = quotas(request.k, interests.shares)
        self.num_allowed = item_filter.num_allowed(view)
        self.items: MergedItems = NOTHING
        self.is_complete = self.num_allowed == 0

    @property
    def is_late(self) -> bool:
        """Whether there is no time for another step."""
        return time.monotonic() > self._deadline_s

    @property
    def is_tight(self) -> bool:
        """Whether the filter leaves so few rows that the index is not worth asking."""
        few = self.num_allowed <= _TIGHT_ROWS
        return few and self.num_allowed * _TIGHT_SHARE < self._view.num_items

    @property
    def num_wanted(self) -> int:
        """Items a complete answer has; limits per category may make it fewer."""
        return min(self._k, self.num_allowed)

    @property
    def num_to_fetch(self) -> int:
        """Items to ask every interest for, so that enough are left.

        Items named one by one are at worst all among the best of one
        interest, which is expected of short lists only; a category or an
        allow-list leaves its share of the items.
        """
        wanted = self._k * (1 if self._max_per_category is None else _CAPPED_OVERFETCH)
        share = min(1.0, (self.num_allowed + self._filter.num_listed) / self._view.num_items)
        if share < 1:
            wanted *= _FILTER_OVERFETCH / share
        return min(int(wanted) + self._num_listed, self._view.num_items)

    @property
    def _num_listed(self) -> int:
        if self._filter.allowed is not None:
            return 0
        return min(self._filter.num_listed, max(_MANY_LISTED, _CAPPED_OVERFETCH * self._k))

    def take(self, rows: Sequence[np.ndarray], scores: Sequence[np.ndarray], asked: int) -> None:
        """Makes the answer from what an index found.

        Args:
            rows: One array per interest.
            scores: One array per interest.
            asked: Items that were asked for.
        """
        ranked = rank_lists(rows, scores, asked)
        for certain in (True, False):
            if self._limits_nothing:
                self.items = best_items(ranked, self._k, self._filter.keep, certain=certain)
            else:
                selection = self._new_selection()
                selection.take_from(ranked, self._filter.keep(ranked.entries.rows), certain=certain)
                self.items = selection.items
            if certain and len(self.items.rows) >= self.num_wanted:
                self.is_complete = True
                return

    def search_exactly(self) -> None:
        """Makes the answer from the scores of all allowed rows."""
        if self._limits_nothing:
            self._search_best()
        else:
            self._search_capped()

    @property
    def _limits_nothing(self) -> bool:
        """Whether the answer is simply the items of largest score."""
        return self._places is None and self._max_per_category is None

    def _new_selection(self) -> CappedSelection:
        return CappedSelection(self._view, self._k, self._places, self._max_per_category)

    def _search_best(self) -> None:
        """One search: among all rows if that is cheaper, else among the allowed ones."""
        removed = self._filter.removed
        if self._filter.allowed is None and len(removed) == self._filter.num_listed:
            asked, rows = self._k + len(removed), None
        else:
            asked, rows = self._k, self._filter.allowed_rows(self._view)
        found = self._view.exact_search(self.vectors, asked, rows)
        self.items = best_items(rank_lists(*found), self._k, self._filter.keep)
        self.is_complete = True

    def _search_capped(self) -> None:
        """Searches again without what was taken or blocked until the answer is full.

        Every search but the last blocks at least one item, usually whole
        categories.
        """
        selection = self._new_selection()
        rows = self._filter.allowed_rows(self._view)
        asked = max(_CAPPED_OVERFETCH * self._k, _MIN_EXACT_FETCH)
        while True:
            found = self._search_interests(selection.has_places(len(self.vectors)), asked, rows)
            ranked = rank_lists(*found, asked if asked < len(rows) else None)
            selection.take_from(ranked, np.ones(len(ranked.entries.rows), dtype=np.bool_))
            self.items = selection.items
            if selection.is_full or asked >= len(rows):
                self.is_complete = True
                return
            if self.is_late:
                return
            rows = without(rows, selection.blocked_rows())

    def _search_interests(self, used: np.ndarray, asked: int, rows: np.ndarray) -> SearchResult:
        """Exact search of some interests; the others have found nothing."""
        result = self._view.exact_search(self.vectors[used], asked, rows)
        found = iter(zip(*result, strict=True))
        lists = [next(found) if use else (NOTHING.rows, NOTHING.scores) for use in used]
        return SearchResult(*(list(column) for column in zip(*lists, strict=True)))
