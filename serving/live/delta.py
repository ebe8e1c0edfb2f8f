"""Items added since the index was built: few enough to be scored one by one.

Imports no TensorFlow. A `Delta` never changes; adding to one gives the next,
which shares the memory of the items both have. One thread adds at a time.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from serving.index.catalogue import NO_ROW, CategoryPairs


class DeltaItem(NamedTuple):
    """One item to add.

    Attributes:
        item_id: Raw id, UTF-8.
        vector: `[dim]` float32.
        categories: Category names.
        title: "" where there is none.
        attributes: Values by name, as `ItemAttribute.read_all` has them.
    """

    item_id: bytes
    vector: np.ndarray
    categories: tuple[str, ...]
    title: str
    attributes: Mapping[str, Any] = MappingProxyType({})


class _Column:
    """An array that grows at its end; views of its beginning stay as they are."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype | type):
        self._values = np.empty((16, *shape), dtype)

    def append(self, size: int, values: np.ndarray) -> np.ndarray:
        """Puts `values` behind the first `size` rows; returns a view of all."""
        needed = size + len(values)
        dtype = np.promote_types(self._values.dtype, values.dtype)  # Longer item ids.
        if needed > len(self._values) or dtype != self._values.dtype:
            capacity = max(needed, 2 * size, len(self._values))
            grown = np.empty((capacity, *self._values.shape[1:]), dtype)
            grown[:size] = self._values[:size]
            self._values = grown
        self._values[size:needed] = values
        return self._values[:needed]


class _Columns(NamedTuple):
    """The growing memory behind all deltas of one line."""

    vectors: _Column
    item_ids: _Column
    pair_slots: _Column
    pair_codes: _Column
    titles: list[str]
    categories: list[tuple[str, ...]]
    attributes: list[Mapping[str, Any]]


class Delta(NamedTuple):
    """Items by slot, in the order they were added.

    An item that is added again takes a new slot, and the old one is dead.

    Attributes:
        vectors: `[num_slots, dim]` float32.
        item_ids: `[num_slots]` bytes.
        is_live: `[num_slots]` bool.
        sorted_ids: `[num_live]` bytes, ids of the live slots, ascending.
        sorted_slots: `[num_live]` int64, the slot of each of `sorted_ids`.
        pair_slots: `[num_pairs]` int64, ascending; slot of each category.
        pair_codes: `[num_pairs]` int64, the category codes.
        columns: Memory shared by the deltas that follow one another.
    """

    vectors: np.ndarray
    item_ids: np.ndarray
    is_live: np.ndarray
    sorted_ids: np.ndarray
    sorted_slots: np.ndarray
    pair_slots: np.ndarray
    pair_codes: np.ndarray
    columns: _Columns

    @classmethod
    def empty(cls, dim: int) -> "Delta":
        """No items yet, of vectors `[dim]`."""
        columns = _Columns(
            _Column((dim,), np.float32),
            _Column((), "S1"),
            _Column((), np.int64),
            _Column((), np.int64),
            [],
            [],
            [],
        )
        nothing = np.empty(0, np.int64)
        ids = np.empty(0, "S1")
        vectors = np.empty((0, dim), np.float32)
        return cls(vectors, ids, nothing.astype(bool), ids, nothing, nothing, nothing, columns)

    @property
    def num_slots(self) -> int:
        """Slots, dead ones too."""
        return len(self.is_live)

    @property
    def num_live(self) -> int:
        """Items."""
        return len(self.sorted_slots)

    def live_slots(self) -> np.ndarray:
        """`[num_live]` int64, ascending."""
        return np.flatnonzero(self.is_live)

    def title(self, slot: int) -> str:
        """Title of a slot, "" where there is none."""
        return self.columns.titles[slot]

    def categories(self, slot: int) -> tuple[str, ...]:
        """Category names of a slot."""
        return self.columns.categories[slot]

    def attributes(self, slots: Sequence[int]) -> list[Mapping[str, Any]]:
        """What slots have of attributes, by name."""
        return [self.columns.attributes[slot] for slot in slots]

    def slots_of(self, item_ids: Sequence[bytes]) -> np.ndarray:
        """`[n]` int64, the live slot of each id, `NO_ROW` where there is none."""
        if not self.num_live or not len(item_ids):
            return np.full(len(item_ids), NO_ROW, np.int64)
        wanted = np.asarray(item_ids, dtype=np.bytes_)
        places = np.minimum(np.searchsorted(self.sorted_ids, wanted), self.num_live - 1)
        return np.where(self.sorted_ids[places] == wanted, self.sorted_slots[places], NO_ROW)

    def slots_in(self, codes: np.ndarray) -> np.ndarray:
        """`[n]` int64, live slots with one of the categories, ascending, each once."""
        slots = np.unique(self.pair_slots[np.isin(self.pair_codes, codes)])
        return slots[self.is_live[slots]]

    def category_pairs(self, slots: np.ndarray) -> CategoryPairs:
        """The categories of slots; see `CategoryPairs`."""
        starts = np.searchsorted(self.pair_slots, slots)
        counts = np.searchsorted(self.pair_slots, slots, side="right") - starts
        positions = np.repeat(np.arange(len(slots)), counts)
        firsts = np.repeat(starts - (np.cumsum(counts) - counts), counts)
        return CategoryPairs(positions, self.pair_codes[firsts + np.arange(len(positions))])

    def without(self, item_ids: Sequence[bytes]) -> "Delta":
        """The delta without those of the ids that are in it."""
        slots = self.slots_of(item_ids)
        slots = slots[slots != NO_ROW]
        if not len(slots):
            return self
        is_live = self.is_live.copy()
        is_live[slots] = False
        kept = is_live[self.sorted_slots]
        return self._replace(
            is_live=is_live,
            sorted_ids=self.sorted_ids[kept],
            sorted_slots=self.sorted_slots[kept],
        )

    def with_items(self, items: Sequence[DeltaItem], code_of: Mapping[str, int]) -> "Delta":
        """The delta with items added, of which no id may repeat.

        Args:
            items: Items with distinct ids; they replace those of the same id.
            code_of: Code of every category name they have.
        """
        if not items:
            return self
        item_ids = np.array([item.item_id for item in items], dtype=np.bytes_)
        before = self.without(item_ids)
        size, num_pairs = self.num_slots, len(self.pair_slots)
        slots = np.arange(size, size + len(items))
        codes = [[code_of[name] for name in item.categories] for item in items]
        columns = self.columns
        del columns.titles[size:], columns.categories[size:], columns.attributes[size:]
        columns.titles.extend(item.title for item in items)
        columns.categories.extend(item.categories for item in items)
        columns.attributes.extend(item.attributes for item in items)
        order = np.argsort(item_ids, kind="stable")
        places = np.searchsorted(before.sorted_ids, item_ids[order])
        width = np.promote_types(before.sorted_ids.dtype, item_ids.dtype)
        lengths = [len(of_item) for of_item in codes]
        flat = np.array([code for of_item in codes for code in of_item], np.int64)
        return Delta(
            columns.vectors.append(size, np.stack([item.vector for item in items])),
            columns.item_ids.append(size, item_ids),
            np.concatenate([before.is_live, np.ones(len(items), bool)]),
            np.insert(before.sorted_ids.astype(width), places, item_ids[order]),
            np.insert(before.sorted_slots, places, slots[order]),
            columns.pair_slots.append(num_pairs, np.repeat(slots, lengths)),
            columns.pair_codes.append(num_pairs, flat),
            columns,
        )
