"""An index plus what changed since: the catalogue one request sees.

Imports no TensorFlow. Rows below the base's number of items are the base's,
rows above are slots of the delta. A deleted item, or one that the delta
replaces, stays in the base's index and is taken out of every answer here.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from serving.index.catalogue import NO_ROW, CatalogueView, CategoryPairs, ItemTexts
from serving.index.exact_index import top_rows
from serving.index.item_index import DEFAULT_PARAMETERS, SearchParameters, SearchResult
from serving.index.text_search import TextIndex, TextMatches, TextQuery
from serving.live.delta import Delta, DeltaItem
from serving.live.live_attributes import LiveAttributes

_RETRY_FACTOR = 2
"""A search that came back short is done again for this many times more items."""


class LiveView:
    """See `catalogue.CatalogueView`; immutable, made anew by every change."""

    def __init__(
        self,
        base: CatalogueView,
        hidden: np.ndarray,
        delta: Delta,
        popular_ids: Sequence[bytes],
        num_base_codes: int,
        new_codes: Mapping[str, int],
        common_categories: Sequence[str],
    ):
        """Puts a base and its changes together; see `of` and `changed`.

        Args:
            base: Has the rows 0 to `num_items` - 1, without gaps.
            hidden: `[base.num_items]` bool, rows that are deleted or replaced.
            delta: Items beside the base.
            popular_ids: The fallback list, of which not every item need be there.
            num_base_codes: Codes of the base's categories are below it.
            new_codes: Codes of the categories that the base does not know.
            common_categories: Names of the categories that nearly all items of
                the release have, whatever items there are now.
        """
        self.version, self.fingerprint, self.dim = base.version, base.fingerprint, base.dim
        self.base = base
        self.hidden = hidden
        self.delta = delta
        self.num_hidden = int(np.count_nonzero(hidden))
        self.num_items = base.num_items - self.num_hidden + delta.num_live
        self._first_slot_row = base.num_items
        self.attributes = LiveAttributes(base, hidden, delta)
        self._popular_ids = popular_ids
        self._num_base_codes = num_base_codes
        self._new_codes = new_codes
        self._common_categories = common_categories

    @classmethod
    def of(
        cls,
        base: CatalogueView,
        popular_ids: Sequence[bytes],
        common_categories: Sequence[str] = (),
    ) -> "LiveView":
        """A base as it was built, with a fallback list and the release's common categories."""
        hidden = np.zeros(base.num_items, dtype=bool)
        codes = base.categories_of(base.rows()).codes
        num_codes = int(codes.max(initial=-1)) + 1
        delta = Delta.empty(base.dim)
        return cls(base, hidden, delta, popular_ids, num_codes, {}, common_categories)

    def changed(
        self, removed: Sequence[bytes], shown: Sequence[bytes], added: Sequence[DeltaItem]
    ) -> "LiveView":
        """The view after changes of distinct items.

        Args:
            removed: Ids to leave out; unknown ones are ignored.
            shown: Ids of items to have as the base has them.
            added: Items to have instead of those of the same id.
        """
        hidden = self.hidden.copy()
        for item_ids, value in (
            (removed, True),
            ([item.item_id for item in added], True),
            (shown, False),
        ):
            rows = self.base.rows_of(item_ids)
            hidden[rows[rows != NO_ROW]] = value
        delta = self.delta.without([*removed, *shown])
        code_of, new_codes = self._codes_of({name for i in added for name in i.categories})
        delta = delta.with_items(added, code_of)
        return LiveView(
            self.base,
            hidden,
            delta,
            self._popular_ids,
            self._num_base_codes,
            new_codes,
            self._common_categories,
        )

    def _codes_of(self, names: set[str]) -> tuple[dict[str, int], Mapping[str, int]]:
        """Codes of categories, and those that no base has, with new ones where needed."""
        code_of, new_codes = {}, self._new_codes
        for name in sorted(names):
            known = self.base.category_codes([name])
            if not len(known) and name not in new_codes:
                new_codes = {**new_codes, name: self._num_base_codes + len(new_codes)}
            code_of[name] = int(known[0]) if len(known) else new_codes[name]
        return code_of, new_codes

    @functools.cached_property
    def fallback_rows(self) -> np.ndarray:
        """See `CatalogueView`; a replaced item keeps its place."""
        rows = self.rows_of(self._popular_ids)
        return rows[rows != NO_ROW]

    @functools.cached_property
    def common_codes(self) -> np.ndarray:
        """See `CatalogueView`."""
        return self.category_codes(self._common_categories)

    def rows(self) -> np.ndarray:
        """See `CatalogueView`."""
        return np.concatenate(
            [np.flatnonzero(~self.hidden), self.delta.live_slots() + self._first_slot_row]
        )

    def rows_of(self, item_ids: Sequence[bytes]) -> np.ndarray:
        """See `CatalogueView`."""
        rows = self.base.rows_of(item_ids)
        if self.num_hidden:
            known = rows != NO_ROW
            rows[known] = np.where(self.hidden[rows[known]], NO_ROW, rows[known])
        if self.delta.num_live:
            slots = self.delta.slots_of(item_ids)
            rows = np.where(slots != NO_ROW, slots + self._first_slot_row, rows)
        return rows

    def item_ids(self, rows: np.ndarray) -> np.ndarray:
        """See `CatalogueView`."""
        return self._take(rows, self.base.item_ids, lambda slots: self.delta.item_ids[slots])

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """See `CatalogueView`."""
        return self._take(rows, self.base.vectors, lambda slots: self.delta.vectors[slots])

    def category_codes(self, names: Sequence[str]) -> np.ndarray:
        """See `CatalogueView`."""
        known = self.base.category_codes(names)
        new = [self._new_codes[name] for name in names if name in self._new_codes]
        return np.concatenate([known, np.array(new, np.int64)]) if new else known

    def rows_in(self, codes: np.ndarray) -> np.ndarray:
        """See `CatalogueView`."""
        codes = np.asarray(codes, np.int64)
        rows = self.base.rows_in(codes[codes < self._num_base_codes])
        if self.num_hidden:
            rows = rows[~self.hidden[rows]]
        if not self.delta.num_live:
            return rows
        return np.concatenate([rows, self.delta.slots_in(codes) + self._first_slot_row])

    def categories_of(self, rows: np.ndarray) -> CategoryPairs:
        """See `CatalogueView`."""
        rows = np.asarray(rows, np.int64)
        of_delta = rows >= self._first_slot_row
        if not of_delta.any():
            return self.base.categories_of(rows)
        here, there = np.flatnonzero(~of_delta), np.flatnonzero(of_delta)
        base = self.base.categories_of(rows[here])
        delta = self.delta.category_pairs(rows[there] - self._first_slot_row)
        positions = np.concatenate([here[base.positions], there[delta.positions]])
        order = np.argsort(positions, kind="stable")
        return CategoryPairs(positions[order], np.concatenate([base.codes, delta.codes])[order])

    def texts(self, rows: np.ndarray) -> ItemTexts:
        """See `CatalogueView`."""
        rows = np.asarray(rows, np.int64)
        in_delta = rows >= self._first_slot_row
        if not in_delta.any():
            return self.base.texts(rows)
        of_base = zip(*self.base.texts(rows[~in_delta]), strict=True)
        slots = (rows - self._first_slot_row).tolist()
        texts = [
            (self.delta.title(slot), self.delta.categories(slot)) if is_slot else next(of_base)
            for slot, is_slot in zip(slots, in_delta.tolist(), strict=True)
        ]
        return ItemTexts(*zip(*texts, strict=True))

    def click_counts(self, rows: np.ndarray) -> np.ndarray:
        """See `CatalogueView`; an item that the delta replaces keeps those of the base."""
        in_base = self.base.rows_of(self.item_ids(rows).tolist())
        counts = np.zeros(len(in_base), np.int64)
        counts[in_base != NO_ROW] = self.base.click_counts(in_base[in_base != NO_ROW])
        return counts

    def find_texts(
        self, query: TextQuery, k: int, deadline_s: float, left_out: np.ndarray | None = None
    ) -> TextMatches:
        """See `CatalogueView`; `left_out` is of the base's rows."""
        hidden = self.hidden if left_out is None else self.hidden | left_out
        base = self.base.find_texts(query, k, deadline_s, hidden)
        dead = ~self.delta.is_live
        slots = self._slot_texts.find(query, k, deadline_s=deadline_s, left_out=dead)
        rows = np.concatenate([base.rows, slots.rows + self._first_slot_row])
        ranks = np.concatenate([base.ranks, slots.ranks])
        best = np.argsort(ranks, kind="stable")[:k]
        return TextMatches(rows[best], ranks[best], base.is_complete and slots.is_complete)

    @functools.cached_property
    def _slot_texts(self) -> TextIndex:
        """The texts of the delta, folded again after every change."""

        def read(start: int, end: int) -> tuple[list[str], list[str]]:
            titles = [self.delta.title(slot) for slot in range(start, end)]
            return titles, [i.decode() for i in self.delta.item_ids[start:end].tolist()]

        return TextIndex(read, self.delta.num_slots)

    def search(
        self, queries: np.ndarray, k: int, parameters: SearchParameters = DEFAULT_PARAMETERS
    ) -> SearchResult:
        """See `CatalogueView`."""
        if not self.num_hidden:
            return self._merge(self.base.search(queries, k, parameters), queries, k)
        wanted = min(k, self.base.num_items - self.num_hidden)
        if not wanted:
            return self._merge(SearchResult.nothing(len(queries)), queries, k)
        # As many more as are hidden among k items on average, and a few.
        share = self.num_hidden / self.base.num_items
        fetched = wanted + min(self.num_hidden, 16 + int(2 * share * wanted))
        while True:
            found = self.base.search(queries, fetched, parameters)
            kept = self._visible(found, k)
            # A row that came back short of `fetched` has nothing left to give.
            may_have_more = any(
                len(visible) < wanted and len(rows) >= min(fetched, self.base.num_items)
                for visible, rows in zip(kept.rows, found.rows, strict=True)
            )
            if not may_have_more or fetched >= self.base.num_items:
                return self._merge(kept, queries, k)
            fetched = min(_RETRY_FACTOR * fetched, self.base.num_items)

    def exact_search(
        self, queries: np.ndarray, k: int, rows: np.ndarray | None = None
    ) -> SearchResult:
        """See `CatalogueView`."""
        if rows is None:
            # All that is hidden may be among the best.
            found = self.base.exact_search(queries, k + self.num_hidden)
            return self._merge(self._visible(found, k), queries, k)
        split = np.searchsorted(rows, self._first_slot_row)
        found = self.base.exact_search(queries, k, rows[:split])
        return self._merge(found, queries, k, rows[split:] - self._first_slot_row)

    def _take(
        self,
        rows: Sequence[int] | np.ndarray,
        of_base: Callable[[np.ndarray], np.ndarray],
        of_delta: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """Values of rows from the base and from the delta, in their order."""
        rows = np.asarray(rows, np.int64)
        in_delta = rows >= self._first_slot_row
        if not in_delta.any():
            return of_base(rows)
        left, right = of_base(rows[~in_delta]), of_delta(rows[in_delta] - self._first_slot_row)
        dtype = np.promote_types(left.dtype, right.dtype)
        values = np.empty((len(rows), *left.shape[1:]), dtype)
        values[~in_delta], values[in_delta] = left, right
        return values

    def _visible(self, result: SearchResult, k: int) -> SearchResult:
        """The first `k` of each row that are not hidden."""
        if not self.num_hidden:
            return result
        masks = [~self.hidden[rows] for rows in result.rows]
        return SearchResult(
            [rows[mask][:k] for rows, mask in zip(result.rows, masks, strict=True)],
            [scores[mask][:k] for scores, mask in zip(result.scores, masks, strict=True)],
        )

    def _merge(
        self, found: SearchResult, queries: np.ndarray, k: int, slots: np.ndarray | None = None
    ) -> SearchResult:
        """Adds the best of the delta, or of some of its live slots."""
        slots = self.delta.live_slots() if slots is None else slots
        if not len(slots):
            return found
        scores = np.asarray(queries, np.float32) @ self.delta.vectors.T
        if len(slots) < self.delta.num_slots:
            scores = scores[:, slots]
        best = top_rows(scores, min(k, len(slots)))
        merged = SearchResult([], [])
        for position, columns in enumerate(best):
            rows = np.concatenate([found.rows[position], slots[columns] + self._first_slot_row])
            values = np.concatenate([found.scores[position], scores[position][columns]])
            # Stable: of equal scores the base's come first, as their rows are lower.
            order = np.argsort(-values, kind="stable")[:k]
            merged.rows.append(rows[order])
            merged.scores.append(values[order])
        return merged
