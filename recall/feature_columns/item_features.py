"""The declared features of the items of a vocabulary: raw values, row by row.

Imports no TensorFlow, reads and writes no files.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from recall.errors import InputError
from recall.feature_columns import fitting
from recall.feature_columns.declaration import FeatureColumn
from recall.feature_columns.fitting import FittedColumn

if TYPE_CHECKING:
    import pyarrow as pa

_METADATA = b"recall.feature_columns"

LARGEST_NUMBER = float(np.finfo(np.float32).max)
"""Of a numeric feature: a larger one would be none in the tensors of towers."""


class ValueCounts(NamedTuple):
    """Values of one feature, over all items.

    Attributes:
        num_missing: Items without a value.
        num_values: Values of the others.
        num_unknown: Of these the ones outside of the vocabulary.
    """

    num_missing: int
    num_values: int
    num_unknown: int


class ItemFeatures:
    """Features of items, immutable.

    Attributes:
        columns: As they were fitted.
        table: One column of `fitting.raw_type` per feature, one row per item; null or an
            empty list where a value is missing.
    """

    def __init__(self, columns: Sequence[FittedColumn], table: "pa.Table"):
        """Takes values and what was learnt of them; see `fit`."""
        self.columns = tuple(columns)
        self.table = table.combine_chunks()

    @classmethod
    def fit(
        cls, declared: Sequence[FeatureColumn], table: "pa.Table", counts: np.ndarray
    ) -> "ItemFeatures":
        """Learns vocabularies and scales from the items that have training clicks.

        Args:
            declared: The features.
            table: As the attribute.
            counts: `[num_items]` training clicks.
        """
        import pyarrow as pa

        is_trained = pa.array(np.asarray(counts) > 0)
        table = table.combine_chunks()
        trained = table.filter(is_trained)
        columns = [fitting.fit(c, trained[c.name].combine_chunks()) for c in declared]
        return cls(columns, table.select([c.name for c in declared]))

    def __len__(self) -> int:
        return self.table.num_rows

    def take(self, rows: Sequence[int]) -> "ItemFeatures":
        """Those of some items, in their order; what was learnt stays."""
        return ItemFeatures(self.columns, self.table.take(list(rows)))

    def slice(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Raw values of some rows as tensors of a tower hold them (`encoder.input_specs`)."""
        part = self.table.slice(start, stop - start)
        return {c.name: to_tensor(c, part[c.name].to_pylist()) for c in self.columns}

    def has_values(self) -> np.ndarray:
        """`[num_items]` bool, items with a value of any feature."""
        import pyarrow.compute as pc

        found = np.zeros(len(self), np.bool_)
        for column in self.columns:
            values = self.table[column.name].combine_chunks()
            sizes = {"categorical": pc.list_value_length, "text": pc.utf8_length}.get(column.kind)
            is_there = values.is_valid() if sizes is None else pc.greater(sizes(values), 0)
            found |= pc.fill_null(is_there, False).to_numpy(zero_copy_only=False)
        return found

    def count_values(self) -> dict[str, ValueCounts]:
        """Feature -> how many values it has, and how many of them tell nothing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        counted = {}
        for column in self.columns:
            values = self.table[column.name].combine_chunks()
            if column.kind == "categorical":
                lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
                known = pc.is_in(values.flatten(), value_set=pa.array(column.values, pa.string()))
                num_known = pc.sum(known).as_py() or 0
                total = int(lengths.sum())
                counted[column.name] = ValueCounts(
                    int((lengths == 0).sum()), total, total - num_known
                )
            else:
                empty = values.null_count
                if column.kind == "text":
                    empty += pc.sum(pc.equal(values, "")).as_py() or 0
                counted[column.name] = ValueCounts(empty, len(values) - empty, 0)
        return counted

    def to_table(self) -> "pa.Table":
        """The values, with what was learnt of them as metadata of the schema."""
        text = json.dumps([column.to_dict() for column in self.columns])
        return self.table.replace_schema_metadata({_METADATA: text.encode()})

    @classmethod
    def from_table(cls, table: "pa.Table") -> "ItemFeatures":
        """Inverse of `to_table`.

        Raises:
            InputError: It is no such table.
        """
        text = (table.schema.metadata or {}).get(_METADATA)
        if text is None:
            raise InputError("The table of item features does not say what they are.")
        columns = [FittedColumn.from_dict(values) for values in json.loads(text)]
        return cls(columns, table.replace_schema_metadata(None))


def to_tensor(column: FittedColumn, values: Sequence[Any]) -> np.ndarray:
    """Values of one feature as its tensor: "" and NaN where one is missing.

    Args:
        column: The feature.
        values: Of each row: names, a number, numbers or a text; None where missing.

    Returns:
        `[n]` or, of several values, `[n, any]` bytes; `[n]` float32; `[n, dim]` float32;
        `[n, 2]` int64, times of which those of the event before are not known.
    """
    if column.kind == "numeric":
        return np.array([np.nan if v is None else v for v in values], np.float32)
    if column.kind == "timestamp":
        return np.array([(v, 0) if v else (0, 0) for v in values], np.int64).reshape(-1, 2)
    if column.kind == "vector":
        nothing = [np.nan] * column.column.dim
        rows = [v if v is not None and len(v) else nothing for v in values]
        return np.asarray(rows, np.float32).reshape(len(rows), column.column.dim)
    if column.kind == "text":
        return np.array([(v or "").encode() for v in values], object)
    names = [[name.encode() for name in v or ()] for v in values]
    if not column.column.has_several_values:
        return np.array([row[0] if row else b"" for row in names], object)
    padded = np.full([len(names), max(map(len, names), default=0)], b"", object)
    for row, own in enumerate(names):
        padded[row, : len(own)] = own
    return padded


def find_missing(declared: Sequence[FeatureColumn], known: Mapping[str, Any]) -> list[str]:
    """Names of features that are declared and not there."""
    return [column.name for column in declared if column.name not in known]
