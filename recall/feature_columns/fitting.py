"""What training learns of the values of a feature before it begins: vocabularies and scales.

Imports no TensorFlow.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from recall.feature_columns.attributes import ItemAttribute
from recall.feature_columns.declaration import GAP, HOUR, WEEKDAY, FeatureColumn

if TYPE_CHECKING:
    import pyarrow as pa

MOST_GAP_BITS = 31
NUM_GAPS = MOST_GAP_BITS + 2
"""Ranges of gaps: unknown, 0 s, 1 s, 2 to 3 s, 4 to 7 s, and so on; the last begins at 34 years."""

ROWS_OF_PARTS = {GAP: NUM_GAPS, HOUR: 24, WEEKDAY: 7}
"""Values of each part of a time."""


@dataclasses.dataclass(frozen=True)
class FittedColumn:
    """A declared feature with what was learnt of its values.

    Its values become slots, which hold rows of a table of embeddings, or numbers.

    Attributes:
        column: As it is declared.
        values: categorical: the vocabulary, most frequent first.
        width: categorical: values of one row that have a slot.
        mean: numeric without buckets: of the scaled values.
        stddev: numeric without buckets, vector: of the (scaled) values, never 0.
        edges: numeric with buckets: where the next one begins, ascending.
        numbers: categorical, of examples that take in days: number of a name there -> 0 for
            none, 1 for one outside of the vocabulary, from 2 the places in it. () where
            examples have these themselves.
    """

    column: FeatureColumn
    values: tuple[str, ...] = ()
    width: int = 1
    mean: float = 0.0
    stddev: float = 1.0
    edges: tuple[float, ...] = ()
    numbers: tuple[int, ...] = dataclasses.field(default=(), compare=False)

    @property
    def name(self) -> str:
        """Of the feature."""
        return self.column.name

    @property
    def kind(self) -> str:
        """Of the feature."""
        return self.column.kind

    @property
    def num_rows(self) -> int:
        """Rows of the table of embeddings that are its own; of categories the first is that of
        values outside of the vocabulary."""
        if self.kind == "categorical":
            return len(self.values) + 1
        if self.kind == "text":
            return self.column.hash_buckets
        if self.kind == "timestamp":
            return sum(ROWS_OF_PARTS[part] for part in self.column.parts)
        return len(self.edges) + 1 if self.column.buckets else 0

    @property
    def num_slots(self) -> int:
        """Values of an item that are looked up."""
        return sum(self.slot_groups)

    @property
    def slot_groups(self) -> tuple[int, ...]:
        """The same, those apart that say different things: the mean is taken over a group."""
        if self.kind == "timestamp":
            return (1,) * len(self.column.parts)
        slots = self._num_values
        return (slots,) if slots else ()

    @property
    def _num_values(self) -> int:
        if self.kind == "categorical":
            return self.width
        return self.column.max_values if self.kind == "text" else int(bool(self.num_rows))

    @property
    def num_numbers(self) -> int:
        """Numbers of an item, the last one 1 where the value is missing."""
        if self.kind == "vector":
            return self.column.dim + 1
        return 2 if self.kind == "numeric" and not self.column.buckets else 0

    def with_numbers(self, numbers: Sequence[int]) -> "FittedColumn":
        """The same for examples that have other numbers; () for those of the vocabulary."""
        return dataclasses.replace(self, numbers=tuple(numbers))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        if not self.numbers:
            del values["numbers"]
        return {**values, "column": self.column.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FittedColumn":
        """Inverse of `to_dict`."""
        column = dict(values["column"])
        if column.get("parts"):
            column["parts"] = tuple(column["parts"])
        tuples = {name: tuple(values.get(name, ())) for name in ("values", "edges", "numbers")}
        return cls(**{**values, **tuples, "column": FeatureColumn(**column)})


def raw_type(column: FeatureColumn | ItemAttribute) -> "pa.DataType":
    """The Arrow type that the values of a feature, or of an attribute, are kept in."""
    import pyarrow as pa  # Clients, which import the settings, need none.

    return {
        "categorical": pa.list_(pa.string()),
        "numeric": pa.float64(),
        "vector": pa.list_(pa.float32()),
        "text": pa.string(),
        "time": pa.float64(),
        "timestamp": pa.int64(),
    }[column.kind]


def fit(column: FeatureColumn, values: "pa.Array") -> FittedColumn:
    """Learns what a feature needs from some of its values.

    Args:
        column: Declared.
        values: Of `raw_type`, of the items that training sees: what others have alone
            nothing can be learnt of.
    """
    if column.kind == "categorical":
        return _fit_categories(column, values)
    if column.kind == "numeric":
        numbers = values.drop_null().to_numpy().astype(np.float64)
        return fit_numbers(column, *np.unique(numbers, return_counts=True))
    if column.kind == "vector":
        numbers = values.flatten().to_numpy(zero_copy_only=False)
        return FittedColumn(column, stddev=float(numbers.std()) if len(numbers) else 1.0)
    return FittedColumn(column)


def scale(column: FeatureColumn, numbers: np.ndarray) -> np.ndarray:
    """Numbers before they are normalised; below 0 there is no logarithm.

    >>> scale(FeatureColumn("price", "item", "numeric", scale="log"), np.array([-1.0, 0.0]))
    array([0., 0.])
    """
    return np.log1p(np.maximum(numbers, 0)) if column.scale == "log" else numbers


def _fit_categories(column: FeatureColumn, values: "pa.Array") -> FittedColumn:
    import pyarrow.compute as pc

    counted = pc.value_counts(values.flatten())
    names, counts = counted.field("values").to_pylist(), counted.field("counts").to_pylist()
    longest = pc.max(pc.list_value_length(values)).as_py() or 1
    width = max(1, min(longest, column.max_values))
    return dataclasses.replace(fit_names(column, names, counts), width=width)


def fit_names(column: FeatureColumn, names: Sequence[str], counts: Sequence[int]) -> FittedColumn:
    """The vocabulary of a categorical feature.

    Args:
        column: Declared.
        names: Different ones.
        counts: How often each occurs.

    >>> column = FeatureColumn("device", "event", "categorical")
    >>> fit_names(column, ["a", "b", "c"], [2, 1, 9]).values
    ('c', 'a')
    """
    frequent = [(-n, name) for name, n in zip(names, counts, strict=True) if n >= column.min_count]
    kept = tuple(name for _, name in sorted(frequent)[: column.max_vocabulary])
    return FittedColumn(column, values=kept)


def fit_numbers(column: FeatureColumn, numbers: np.ndarray, counts: np.ndarray) -> FittedColumn:
    """The scale or the buckets of a numeric feature.

    Args:
        column: Declared.
        numbers: Different ones, ascending; what is no number is left out.
        counts: How often each occurs.

    >>> column = FeatureColumn("price", "event", "numeric", buckets=2)
    >>> fit_numbers(column, np.array([1.0, 4.0]), np.array([3, 1])).edges
    (1.0,)
    """
    is_number = np.isfinite(numbers)
    numbers, counts = numbers[is_number], counts[is_number]
    if column.buckets:
        shares = np.arange(1, column.buckets) / column.buckets
        edges = np.unique(_quantiles(numbers, counts, shares)) if len(numbers) else np.zeros(0)
        return FittedColumn(column, edges=tuple(edges.tolist()))
    if not len(numbers):
        return FittedColumn(column)
    scaled = scale(column, numbers)
    mean, stddev = float(np.average(scaled, weights=counts)), 1.0
    if scaled[0] != scaled[-1]:
        stddev = float(np.sqrt(np.average((scaled - mean) ** 2, weights=counts)))
    return FittedColumn(column, mean=mean, stddev=stddev)


def _quantiles(numbers: np.ndarray, counts: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """As `np.quantile` of each number as often as it occurs."""
    ends = np.cumsum(counts)
    at = shares * (ends[-1] - 1)
    low, high = (
        numbers[np.searchsorted(ends, place, side="right")] for place in (np.floor(at), np.ceil(at))
    )
    return low + (high - low) * (at - np.floor(at))
