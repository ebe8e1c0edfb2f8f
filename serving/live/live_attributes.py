"""What requests filter on: the attributes of an index's items and of those that changed since.

Imports no TensorFlow.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from serving.index.attributes import ItemAttributes
from serving.index.catalogue import CatalogueView
from serving.live.delta import Delta


class LiveAttributes:
    """Rows of a live view by their attributes; see `RowAttributes`."""

    def __init__(self, base: CatalogueView, hidden: np.ndarray, delta: Delta):
        """Takes the parts of a `LiveView`."""
        self._base, self._hidden, self._delta = base.attributes, hidden, delta
        self._has_hidden, self._first_slot_row = bool(hidden.any()), base.num_items
        self.declared = self._base.declared

    def rows_with(self, name: str, values: Sequence[str | float]) -> np.ndarray:
        """Rows with one of the values of an attribute."""
        rows = self._base.rows_with(name, values)
        return self._together(rows, lambda: self._of_slots.rows_with(name, values))

    def names_of_nothing(self, name: str, values: Sequence[str]) -> list[str]:
        """Those of some values that no row has; deleted ones may still have them."""
        left = self._base.names_of_nothing(name, values)
        if not left or not self._delta.num_live:
            return left
        return self._of_slots.names_of_nothing(name, left)

    def rows_between(self, name: str, least: float, most: float) -> np.ndarray:
        """Rows with a number of an attribute in a range."""
        rows = self._base.rows_between(name, least, most)
        return self._together(rows, lambda: self._of_slots.rows_between(name, least, most))

    def unavailable_rows(self, now_s: float) -> np.ndarray:
        """Rows that may be in no answer at a time."""
        rows = self._base.unavailable_rows(now_s)
        return self._together(rows, lambda: self._of_slots.unavailable_rows(now_s))

    @functools.cached_property
    def _of_slots(self) -> ItemAttributes:
        """Those of the delta, put together again after every change."""
        values = self._delta.attributes(range(self._delta.num_slots))
        return ItemAttributes.of_values(tuple(self.declared.values()), values)

    def _together(self, rows: np.ndarray, find_slots: Callable[[], np.ndarray]) -> np.ndarray:
        """Rows of the base that are not hidden, then slots that are live, as rows."""
        if self._has_hidden:
            rows = rows[~self._hidden[rows]]
        if not self._delta.num_live or not self.declared:
            return rows
        slots = find_slots()
        return np.concatenate([rows, slots[self._delta.is_live[slots]] + self._first_slot_row])
