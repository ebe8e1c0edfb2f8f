"""Items taken one by one under limits per interest and per category.

Imports no TensorFlow. Limits make the place of an item depend on all items
before it, so this is a loop; answers without limits do not come here.
"""

import itertools
from collections import Counter

import numpy as np

from serving.index.catalogue import CatalogueView, distinctive_categories
from serving.index.row_sets import as_set, union
from serving.retrieval.merge import MergedItems, RankedLists


class CappedSelection:
    """A growing answer: `take_from` adds the best items that its limits allow.

    An entry of the lists is passed over when its item is in the answer, when
    its interest has its places filled, or when one of its categories has.
    """

    def __init__(
        self,
        view: CatalogueView,
        k: int,
        places: np.ndarray | None = None,
        max_per_category: int | None = None,
    ):
        """Starts an empty answer.

        Args:
            view: Says which categories an item has.
            k: Items wanted.
            places: `[num_interests]` int, most items of each interest; None
                means no limit.
            max_per_category: Most items of a category, but for one that nearly
                all items have; None means no limit.
        """
        self._view = view
        self._k = k
        self._places = None if places is None else places.tolist()
        self._max_per_category = max_per_category
        self._category_counts: Counter[int] = Counter()
        self._rows: dict[int, tuple[float, int]] = {}

    @property
    def is_full(self) -> bool:
        """Whether the answer has `k` items."""
        return len(self._rows) >= self._k

    @property
    def items(self) -> MergedItems:
        """The answer so far, in the order in which items were taken."""
        taken = list(self._rows.values())
        return MergedItems(
            np.array(list(self._rows), dtype=np.int64),
            np.array([score for score, _ in taken], dtype=np.float32),
            np.array([interest for _, interest in taken], dtype=np.int32),
        )

    def has_places(self, num_interests: int) -> np.ndarray:
        """`[num_interests]` bool, which interests may still add an item."""
        if self._places is None:
            return np.ones(num_interests, dtype=np.bool_)
        return np.array(self._places) > 0

    def blocked_rows(self) -> np.ndarray:
        """Rows that can no longer be taken, ascending: taken ones, and full categories."""
        limit = self._max_per_category
        full = [c for c, n in self._category_counts.items() if limit is not None and n >= limit]
        taken = np.array(list(self._rows), dtype=np.int64)
        return union(self._view.rows_in(np.array(full, dtype=np.int64)), np.sort(taken))

    def take_from(self, ranked: RankedLists, kept: np.ndarray, *, certain: bool = True) -> None:
        """Takes items until the answer is full or the lists are used up.

        Args:
            ranked: Lists of all interests that have places.
            kept: `[num_entries]` bool, which entries may be taken.
            certain: Whether to stop where a list ends that goes on, if its
                interest still has places: the next item could be in it.
        """
        last = len(kept)
        ends: dict[int, int] = {}
        for end, interest in zip(ranked.ends.tolist(), ranked.owners.tolist(), strict=True):
            if certain and end < 0 and self._may_add(interest):
                return
            if certain and 0 <= end < last:
                ends[end] = interest
        stops = np.array(list(ends), dtype=np.int64)
        positions = as_set(np.concatenate([np.flatnonzero(kept), stops]))
        entries = ranked.entries.take(positions)
        categories = self._categories_of(entries.rows)
        columns = (positions, kept[positions], *entries)
        for place, (position, allowed, row, score, interest) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        ):
            if self.is_full:
                return
            if allowed:
                self._offer(row, score, interest, categories[place])
            if position in ends and self._may_add(ends[position]):
                return

    def _offer(self, row: int, score: float, interest: int, categories: list[int]) -> None:
        """Takes an item if no limit is against it."""
        counts, limit = self._category_counts, self._max_per_category
        if row in self._rows or not self._may_add(interest):
            return
        if limit is not None and any(counts[code] >= limit for code in categories):
            return
        self._rows[row] = (score, interest)
        counts.update(categories)
        if self._places is not None:
            self._places[interest] -= 1

    def _may_add(self, interest: int) -> bool:
        return self._places is None or self._places[interest] > 0

    def _categories_of(self, rows: np.ndarray) -> list[list[int]]:
        """Codes of every row; not looked up where there is no limit on them."""
        if self._max_per_category is None:
            return [[]] * len(rows)
        positions, codes = distinctive_categories(self._view, rows)
        bounds = np.searchsorted(positions, np.arange(len(rows) + 1)).tolist()
        values = codes.tolist()
        return [values[a:b] for a, b in itertools.pairwise(bounds)]
