"""The search of one user, step by step until its answer is complete.

Imports no TensorFlow. `batch_search` decides which step is taken when.
"""

import math
import time
from collections.abc import Sequence

import numpy as np

from serving.api.recall_request import DIVERSITY_POOL, MERGE_QUOTA, POOLED_MERGES, RecallRequest
from serving.index.catalogue import CatalogueView
from serving.index.item_index import SearchParameters
from serving.index.row_sets import without
from serving.retrieval.boosts import BoostGroup, BoostGroups
from serving.retrieval.filters import ItemFilter
from serving.retrieval.interests import UserInterests
from serving.retrieval.merge import (
    NOTHING,
    FoundList,
    MergedItems,
    best_items,
    found_lists,
    quotas,
    rank_lists,
)
from serving.retrieval.selection import CappedSelection

_TIGHT_FACTOR = 100
"""All allowed rows are scored at once where they are at most so many times the square root of
all; measured with 4 interests and one thread, beside an index that finds more than .99: of
400,000 items 50,000 in 2.7 CPU-ms against 2.5 to 3, 80,000 in 4.3 against 2.1; of 10^6 items
100,000 in 5.8 against 8.0, 200,000 in 20 against 3.6."""

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

_FEW_REMOVED = 1024
"""Removed rows up to which an exact search asks for so many more, and looks at all rows; to
leave them out of the scores costs as much as they are."""

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
        boosts: BoostGroups | None = None,
    ):
        """Prepares a search; nothing is searched yet.

        Args:
            view: The items.
            request: Checked.
            interests: At least one vector.
            item_filter: What the answer may hold.
            deadline_s: When nobody waits any longer, on the monotonic clock.
            boosts: Rows whose scores change; None for none.
        """
        self._view = view
        self._boosts = boosts
        self._deadline_s = deadline_s
        self._filter = item_filter
        self.vectors = interests.vectors
        self.parameters = SearchParameters(request.leaves_to_search, request.reorder)
        self._k = request.k
        if request.merge in POOLED_MERGES:
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
        return self._is_few(self.num_allowed)

    def _is_few(self, num_rows: int) -> bool:
        num_items = self._view.num_items
        is_cheap = num_rows <= _TIGHT_FACTOR * math.sqrt(num_items)
        return is_cheap and num_rows * _TIGHT_SHARE < num_items

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
        if self._share < 1:
            wanted *= _FILTER_OVERFETCH / self._share
        return min(int(wanted) + self._num_listed, self._view.num_items)

    @property
    def _share(self) -> float:
        """Of the items, those that pass but for the ones that are named one by one."""
        return min(1.0, (self.num_allowed + self._filter.num_listed) / self._view.num_items)

    @property
    def effort(self) -> int:
        """Factor on how far the index looks; 1 where the request says how far.

        The best of those that pass are spread over more leaves, the fewer they are. Measured
        with 400,000 items in clusters: of one in 5 .944 is found with 1, .994 with 6; of one in 4
        .988 and .998 with 4; of one in 3 .994 with 1.
        """
        is_told = self.parameters.leaves_to_search or self.parameters.reorder
        return 1 if is_told else max(1, math.ceil(2 / self._share - 4))

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
        lists = found_lists(rows, scores, asked)
        if self._boosts is not None:
            lists = self._boost_lists(lists, asked)
        ranked = rank_lists(lists)
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

    def _boost_lists(self, lists: Sequence[FoundList], asked: int) -> list[FoundList]:
        """A list for each group of boosts and interest; small groups are searched here.

        What lies beyond the end of an index's list is not better than its last entry
        within a group, but may be in another one.
        """
        boosted = []
        for group in self._boosts.groups:
            if self._is_few(group.num_rows):
                boosted += self._search_group(group, self.vectors, asked) if group.num_rows else []
                continue
            for found in lists:
                kept = self._filter.keep(found.rows) & self._boosts.members(group, found.rows)
                scores = group.boost(found.scores[kept])
                boosted.append(found._replace(rows=found.rows[kept], scores=scores))
        return boosted

    def _search_group(
        self,
        group: BoostGroup,
        vectors: np.ndarray,
        asked: int,
        among: np.ndarray | None = None,
    ) -> list[FoundList]:
        """The best of one group by exact search, a list for each vector."""
        rows = group.rows
        if rows is None or among is not None:
            among = self._filter.allowed_rows(self._view) if among is None else among
            rows = self._boosts.rows_among(group, among)
        found = self._view.exact_search(vectors, asked, rows)
        scores = [group.boost(of_interest) for of_interest in found.scores]
        return found_lists(found.rows, scores, asked if asked < len(rows) else None)

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
        if self._boosts is not None:
            lists = self._search_all_groups(self.vectors, self._k)
        else:
            num_removed = len(self._filter.removed)
            few = num_removed <= max(self._filter.num_listed, _FEW_REMOVED)
            if self._filter.allowed is None and few:
                asked, rows = self._k + num_removed, None
            else:
                asked, rows = self._k, self._filter.allowed_rows(self._view)
            lists = found_lists(*self._view.exact_search(self.vectors, asked, rows))
        # The best of each list are among the best of all, whatever comes after them.
        ranked = rank_lists([found._replace(goes_on=False) for found in lists])
        self.items = best_items(ranked, self._k, self._filter.keep)
        self.is_complete = True

    def _search_all_groups(
        self, vectors: np.ndarray, asked: int, among: np.ndarray | None = None
    ) -> list[FoundList]:
        """The best of every group of boosts, by exact search."""
        lists = []
        for group in self._boosts.groups:
            if group.num_rows:
                lists += self._search_group(group, vectors, asked, among)
        return lists

    def _search_capped(self) -> None:
        """Searches again without what was taken or blocked until the answer is full.

        Every search but the last blocks at least one item, usually whole
        categories.
        """
        selection = self._new_selection()
        rows = self._filter.allowed_rows(self._view)
        asked = max(_CAPPED_OVERFETCH * self._k, _MIN_EXACT_FETCH)
        while True:
            used = selection.has_places(len(self.vectors))
            ranked = rank_lists(self._search_interests(used, asked, rows))
            selection.take_from(ranked, np.ones(len(ranked.entries.rows), dtype=np.bool_))
            self.items = selection.items
            if selection.is_full or asked >= len(rows):
                self.is_complete = True
                return
            if self.is_late:
                return
            rows = without(rows, selection.blocked_rows())

    def _search_interests(self, used: np.ndarray, asked: int, rows: np.ndarray) -> list[FoundList]:
        """Exact search of some interests among some rows."""
        vectors, numbers = self.vectors[used], np.flatnonzero(used).tolist()
        if self._boosts is not None:
            lists = self._search_all_groups(vectors, asked, rows)
        else:
            found = self._view.exact_search(vectors, asked, rows)
            lists = found_lists(*found, asked if asked < len(rows) else None)
        return [found._replace(interest=numbers[found.interest]) for found in lists]
