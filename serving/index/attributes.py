"""What requests filter items on: attributes, each found by its values.

Imports no TensorFlow. Rows are those of one table of items; what a request says of
attributes is read elsewhere.
"""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from recall.errors import InputError
from recall.feature_columns.attributes import AVAILABLE_FROM, AVAILABLE_UNTIL, ItemAttribute
from recall.feature_columns.declaration import attributes_of
from recall.feature_columns.fitting import raw_type
from recall.feature_columns.item_features import ItemFeatures
from serving.index.category_index import CategoryIndex

_METADATA = b"recall.item_attributes"

_NO_ROWS = np.empty(0, np.int64)


class _Unavailable(NamedTuple):
    """Rows that may not be in an answer from one time on until another.

    Attributes:
        rows: `[n]` int64, ascending.
        start_s: Seconds since 1970.
        end_s: When the next item comes or goes.
    """

    rows: np.ndarray
    start_s: float
    end_s: float


class ItemAttributes:
    """Values of attributes, row by row; immutable, and safe to use from several threads.

    Attributes:
        declared: Attributes by name.
        table: One column of `raw_type` for each; null or an empty list where a value is missing.
    """

    def __init__(self, declared: Sequence[ItemAttribute], table: pa.Table):
        """Takes values; `table` has the columns in the order of `declared`."""
        self.declared = {attribute.name: attribute for attribute in declared}
        self.table = table.combine_chunks()
        self._unavailable: _Unavailable | None = None

    @classmethod
    def of_items(
        cls,
        features: ItemFeatures | None,
        declared: Sequence[ItemAttribute] = (),
        values: pa.Table | None = None,
    ) -> "ItemAttributes | None":
        """The attributes of a catalogue; None where it has none.

        Args:
            features: Declared features of its items.
            declared: Attributes beside them.
            values: A column for each of `declared`.
        """
        columns = [] if features is None else [c.column for c in features.columns]
        every = attributes_of(columns, declared)
        if not every:
            return None
        own = {attribute.name for attribute in declared}
        return cls(
            every,
            pa.table(
                {a.name: (values if a.name in own else features.table)[a.name] for a in every}
            ),
        )

    @classmethod
    def of_values(
        cls, declared: Sequence[ItemAttribute], items: Sequence[Mapping[str, Any]]
    ) -> "ItemAttributes":
        """Those of items that each give values by name, as `ItemAttribute.read_all` has them."""
        columns = {
            a.name: pa.array([item.get(a.name) for item in items], raw_type(a)) for a in declared
        }
        return cls(declared, pa.table(columns))

    @classmethod
    def none(cls) -> "ItemAttributes":
        """Of a catalogue without any."""
        return cls((), pa.table({}))

    @classmethod
    def from_table(cls, table: pa.Table) -> "ItemAttributes":
        """Inverse of `to_table`.

        Raises:
            InputError: It is no such table.
        """
        text = (table.schema.metadata or {}).get(_METADATA)
        if text is None:
            raise InputError("The table of attributes does not say what they are.")
        declared = [ItemAttribute(**values) for values in json.loads(text)]
        return cls(declared, table.replace_schema_metadata(None))

    def to_table(self) -> pa.Table:
        """The values, with what is declared of them as metadata of the schema."""
        text = json.dumps([attribute.to_dict() for attribute in self.declared.values()])
        return self.table.replace_schema_metadata({_METADATA: text.encode()})

    def __len__(self) -> int:
        return self.table.num_rows

    def take(self, rows: Sequence[int] | np.ndarray) -> "ItemAttributes":
        """Those of some rows, in their order."""
        return ItemAttributes(tuple(self.declared.values()), self.table.take(pa.array(rows)))

    def followed_by(self, others: "ItemAttributes") -> "ItemAttributes":
        """These rows, then those of others with the same attributes."""
        table = pa.concat_tables([self.table, others.table])
        return ItemAttributes(tuple(self.declared.values()), table)

    def values_of(self, row: int) -> dict[str, Any]:
        """What a row has, by name, without what it lacks."""
        values = {name: self.table[name][row].as_py() for name in self.declared}
        return {name: value for name, value in values.items() if value not in (None, [])}

    def rows_with(self, name: str, values: Sequence[str | float]) -> np.ndarray:
        """`[n]` int64, rows that have one of the values, ascending, each once.

        Args:
            name: Of an attribute.
            values: As `ItemAttribute.read` has them.
        """
        if not self.declared[name].is_ordered:
            index = self._categories[name]
            return index.rows_in(index.category_codes(values))
        numbers = self._numbers[name]
        if len(values) == 1:
            return np.flatnonzero(numbers == values[0])
        return np.flatnonzero(np.isin(numbers, np.array(values, np.float64)))

    def names_of_nothing(self, name: str, values: Sequence[str]) -> list[str]:
        """Those of some values that no row has; arguments are those of `rows_with`."""
        index = self._categories[name]
        return [value for value in values if not len(index.category_codes([value]))]

    def rows_between(self, name: str, least: float, most: float) -> np.ndarray:
        """`[n]` int64, rows with a value in [least, most], ascending.

        Args:
            name: Of an attribute of numbers.
            least: -inf for none.
            most: inf for none.
        """
        numbers = self._numbers[name]
        # A missing value is NaN, which is in no range.
        return np.flatnonzero((numbers >= least) & (numbers <= most))

    def unavailable_rows(self, now_s: float) -> np.ndarray:
        """`[n]` int64, rows that may be in no answer at a time, ascending.

        An item is available from `available_from` on and before `available_until`; one
        that lacks a time has no such end.

        Args:
            now_s: Seconds since 1970.
        """
        names = [name for name in (AVAILABLE_FROM, AVAILABLE_UNTIL) if name in self._numbers]
        if not names:
            return _NO_ROWS
        known = self._unavailable
        if known is None or not known.start_s <= now_s < known.end_s:
            # Two threads may both work it out, and come to the same.
            self._unavailable = known = self._find_unavailable(names, now_s)
        return known.rows

    def _find_unavailable(self, names: Sequence[str], now_s: float) -> _Unavailable:
        is_out = np.zeros(len(self), np.bool_)
        end_s = math.inf
        for name in names:
            times = self._numbers[name]
            is_later = times > now_s
            is_out |= is_later if name == AVAILABLE_FROM else times <= now_s
            end_s = min(end_s, times[is_later].min(initial=math.inf))
        return _Unavailable(np.flatnonzero(is_out), now_s, end_s)

    @functools.cached_property
    def _categories(self) -> dict[str, CategoryIndex]:
        """Of the attributes of names."""
        return {
            name: CategoryIndex.from_column(self.table[name])
            for name, attribute in self.declared.items()
            if not attribute.is_ordered
        }

    @functools.cached_property
    def _numbers(self) -> dict[str, np.ndarray]:
        """Of the others: `[num_rows]` float64, NaN where a value is missing."""
        return {
            name: self.table[name].combine_chunks().to_numpy(zero_copy_only=False)
            for name, attribute in self.declared.items()
            if attribute.is_ordered
        }

    def prepare(self) -> "ItemAttributes":
        """Makes what is looked up in, so that no request waits for it."""
        len(self._categories), len(self._numbers)
        return self
