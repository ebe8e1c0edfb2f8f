"""Raw values of features -> slots and numbers: one graph for training and for serving."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import ItemFeatures, to_tensor
from recall.feature_columns.times import rows_of_times

NO_VALUE = 0
"""Row of the table of embeddings for an empty slot."""

_ROWS_AT_ONCE = 16_384
"""Items encoded at once; bounds the memory of padded texts."""


class Encoded(NamedTuple):
    """Values of rows as the network reads them.

    Attributes:
        slots: `[n, num_slots]` int32, rows of the table of embeddings, `NO_VALUE` if empty.
        numbers: `[n, num_numbers]` float32, normalised.
    """

    slots: tf.Tensor
    numbers: tf.Tensor


class EncodedInputs(NamedTuple):
    """`Encoded`, and how much of the values is known.

    Attributes:
        encoded: The values.
        num_known: `[n]` int32, values that the model knows.
        num_unknown: `[n]` int32, values outside of the vocabularies.
        value_counts: `[n, num_features, 2]` int32, both, feature by feature.
    """

    encoded: Encoded
    num_known: tf.Tensor
    num_unknown: tf.Tensor
    value_counts: tf.Tensor


class FeatureEncoder(tf.Module):
    """Looks up, hashes, buckets and normalises the values of some features.

    Attributes:
        columns: The features.
        num_rows: Rows of the table of embeddings of all of them, with `NO_VALUE`.
        first_rows: The first row of each feature.
    """

    def __init__(self, columns: Sequence[FittedColumn], *, reads_names: bool = True):
        """Makes the lookup tables.

        Args:
            columns: The features.
            reads_names: Whether categories are names. Else they are numbers, as in examples:
                0 for none, 1 for one outside of the vocabulary, then those of the vocabulary;
                or what `FittedColumn.numbers` leads from.
        """
        super().__init__()
        self._reads_names = reads_names
        self.columns = tuple(columns)
        sizes = [column.num_rows for column in columns]
        self.first_rows = [1 + sum(sizes[:place]) for place in range(len(sizes))]
        self.num_rows = 1 + sum(sizes)
        self.tables = {
            column.name: _lookup_table(column.values)
            for column in columns
            if column.kind == "categorical" and reads_names
        }

    @property
    def slot_and_number_widths(self) -> tuple[int, int]:
        """Columns of `Encoded.slots` and of `Encoded.numbers`."""
        sizes = ((column.num_slots, column.num_numbers) for column in self.columns)
        return tuple(map(sum, zip(*sizes, strict=True)))

    def input_specs(self) -> dict[str, tf.TensorSpec]:
        """Name of a feature -> its tensor, `[n, ...]`; without those that are made of times."""
        return {c.name: _spec(c) for c in self.columns if c.kind != "timestamp"}

    def missing_inputs(self) -> dict[str, np.ndarray]:
        """Inputs of no rows, which say nothing of any item."""
        return {
            name: np.zeros([size or 0 for size in spec.shape], spec.dtype.as_numpy_dtype)
            for name, spec in self.input_specs().items()
        }

    def __call__(self, inputs: Mapping[str, tf.Tensor]) -> EncodedInputs:
        """Encodes rows.

        Args:
            inputs: Of `input_specs`, all of them with the same number of rows; of a feature
                that is made of times, those of `rows_of_times`.
        """
        slots, numbers, known, unknown = [], [], [], []
        for column, first_row in zip(self.columns, self.first_rows, strict=True):
            value = tf.convert_to_tensor(inputs[column.name])
            if column.num_numbers:
                of_column = _normalize(column, value)
                numbers.append(of_column)
                known.append(tf.cast(1 - of_column[:, -1], tf.int32))
                unknown.append(tf.zeros_like(known[-1]))
                continue
            rows, is_unknown = self._rows(column, value)
            slots.append(tf.where(rows < 0, NO_VALUE, rows + first_row))
            unknown.append(tf.math.count_nonzero(is_unknown, axis=1, dtype=tf.int32))
            known.append(tf.math.count_nonzero((rows >= 0) & ~is_unknown, axis=1, dtype=tf.int32))
        num_rows = tf.shape(known[0])[0]
        encoded = Encoded(
            tf.concat(slots, axis=1) if slots else tf.zeros([num_rows, 0], tf.int32),
            tf.concat(numbers, axis=1) if numbers else tf.zeros([num_rows, 0]),
        )
        counts = tf.stack([tf.stack(known, axis=1), tf.stack(unknown, axis=1)], axis=2)
        return EncodedInputs(encoded, tf.add_n(known), tf.add_n(unknown), counts)

    def _rows(self, column: FittedColumn, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """`[n, num_slots]` rows of a feature from 0, -1 where empty, and which are unknown."""
        if column.kind == "timestamp":
            rows = rows_of_times(column.column.parts, value)
            return rows, tf.zeros_like(rows, tf.bool)
        if column.kind == "categorical" and not self._reads_names:
            numbers = tf.cast(value, tf.int32)
            if column.numbers:
                numbers = tf.gather(tf.constant(column.numbers, tf.int32), numbers)
            rows = numbers[:, tf.newaxis] - 1
            return rows, rows == 0
        if column.kind == "numeric":
            edges = tf.constant(column.edges, tf.float32)
            rows = tf.searchsorted(edges, value, side="right", out_type=tf.int32)
            rows = tf.where(tf.math.is_finite(value), rows, -1)[:, tf.newaxis]
            return rows, tf.zeros_like(rows, tf.bool)
        if column.kind == "text":
            rows = _fixed_width(_hash_words(column, value), column.num_slots, -1)
            return rows, tf.zeros_like(rows, tf.bool)
        texts = value if column.column.has_several_values else value[:, tf.newaxis]
        texts = _fixed_width(texts, column.num_slots, "")
        rows = self.tables[column.name].lookup(texts)
        is_real = texts != ""
        return tf.where(is_real, rows, -1), is_real & (rows == 0)

    def encode_nothing(self, num_rows: int) -> Encoded:
        """Rows of which no value is known, as arrays of numpy; with names."""
        raw = {column.name: to_tensor(column, [None] * num_rows) for column in self.columns}
        return Encoded(*(t.numpy() for t in self(_as_tensors(raw, self.columns)).encoded))

    def encode_items(self, features: ItemFeatures) -> Encoded:
        """All items of a vocabulary, as arrays of numpy."""
        encode = tf.function(lambda inputs: self(inputs).encoded, autograph=False)
        parts = []
        for start in range(0, len(features), _ROWS_AT_ONCE):
            raw = features.slice(start, min(start + _ROWS_AT_ONCE, len(features)))
            parts.append(Encoded(*(t.numpy() for t in encode(_as_tensors(raw, self.columns)))))
        return Encoded(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _as_tensors(
    raw: Mapping[str, np.ndarray], columns: Sequence[FittedColumn]
) -> dict[str, tf.Tensor]:
    return {c.name: tf.constant(raw[c.name], _spec(c).dtype) for c in columns}


def _spec(column: FittedColumn) -> tf.TensorSpec:
    if column.kind == "timestamp":
        return tf.TensorSpec([None, 2], tf.int64, name=column.name)
    if column.kind == "numeric":
        return tf.TensorSpec([None], tf.float32, name=column.name)
    if column.kind == "vector":
        return tf.TensorSpec([None, column.column.dim], tf.float32, name=column.name)
    rank = 2 if column.column.has_several_values else 1
    return tf.TensorSpec([None] * rank, tf.string, name=column.name)


def _lookup_table(values: Sequence[str]) -> tf.lookup.StaticHashTable:
    """Name -> its number from 1, 0 for others; constants, as a name may hold a line break."""
    # No name is two NULs, and a table of no rows is refused.
    names = tf.constant([*values] or ["\0\0"])
    numbers = tf.range(1, tf.size(names) + 1) if values else tf.constant([0])
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(names, numbers), default_value=0
    )


def _fixed_width(values: tf.Tensor, width: int, filler: str | int) -> tf.Tensor:
    """`[n, any]` -> `[n, width]`, cut or filled up."""
    values = values[:, :width]
    missing = width - tf.shape(values)[1]
    padded = tf.pad(values, [[0, 0], [0, missing]], constant_values=filler)
    return tf.ensure_shape(padded, [None, width])


def _normalize(column: FittedColumn, value: tf.Tensor) -> tf.Tensor:
    """`[n, num_numbers]` float: 0 and a final 1 where the value is missing."""
    rows = value if column.kind == "vector" else value[:, tf.newaxis]
    is_there = tf.reduce_all(tf.math.is_finite(rows), axis=1, keepdims=True)
    rows = tf.where(is_there, rows, 0)
    if column.column.scale == "log":
        rows = tf.math.log1p(tf.maximum(rows, 0))
    rows = tf.where(is_there, (rows - column.mean) / column.stddev, 0)
    return tf.concat([rows, tf.cast(~is_there, rows.dtype)], axis=1)


def _hash_words(column: FittedColumn, texts: tf.Tensor) -> tf.Tensor:
    """`[n, any]` int32 hashes of the words and n-grams of each text, -1 behind the last."""
    lower = tf.strings.lower(texts, encoding="utf-8")
    words = tf.strings.split(tf.strings.regex_replace(lower, r"[^\pL\pN]+", " "))
    widths = tuple(range(1, column.column.max_ngram + 1))
    ngrams = tf.strings.ngrams(words, widths, separator=" ")
    hashed = tf.ragged.map_flat_values(
        lambda flat: tf.cast(
            tf.strings.to_hash_bucket_fast(flat, column.column.hash_buckets), tf.int32
        ),
        ngrams,
    )
    return hashed.to_tensor(-1)
