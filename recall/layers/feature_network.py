"""Values of features -> vectors: of items a sum, of whatever else a small network."""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from recall.feature_columns.declaration import FeaturesConfig
from recall.feature_columns.encoder import NO_VALUE, Encoded, FeatureEncoder
from recall.layers.normalization import normalize_length

_STDDEV = 0.02
"""Of fresh embeddings, as that of the items' own (`recall.towers`)."""


_DENSE_VALUES = 1 << 22
"""Numbers of a table whose gradient is taken as a whole: Adam needs 1 ms for so many."""


class FeatureNetwork(tf.keras.layers.Layer):
    """One table of embeddings for the values of all features, and two dense layers.

    An embedding per value and the mean over those of a feature (a set has no order); means
    and numbers side by side; then a hidden layer, which lets features act together.

    Attributes:
        table: `[num_rows, embedding_dim]`, row 0 for empty slots.
    """

    def __init__(self, config: FeaturesConfig, encoder: FeatureEncoder, dim: int, **kwargs):
        """Creates the layer for what `encoder` gives.

        Args:
            config: Widths.
            encoder: Of the features.
            dim: Of the vectors that are wanted.
            **kwargs: Of Keras' layer.
        """
        super().__init__(**kwargs)
        self._slots_of = [size for column in encoder.columns for size in column.slot_groups]
        self._embedding_dim = config.embedding_dim
        self._num_rows = encoder.num_rows
        is_small = encoder.num_rows * config.embedding_dim <= _DENSE_VALUES
        self._look_up = _look_up_densely if is_small else tf.nn.embedding_lookup
        width = len(self._slots_of) * config.embedding_dim
        width += sum(column.num_numbers for column in encoder.columns)
        self._inner = tf.keras.layers.Dense(config.hidden_dim, tf.nn.gelu, name="inner")
        self._outer = tf.keras.layers.Dense(dim, name="outer")
        normal = tf.keras.initializers.RandomNormal(stddev=_STDDEV)
        self.table = self.add_weight(
            "table", [self._num_rows, config.embedding_dim], initializer=normal
        )
        self._inner.build([None, width])
        self._outer.build([None, config.hidden_dim])

    def call(self, encoded: Encoded) -> tf.Tensor:
        """Vectors of items.

        Args:
            encoded: `[..., num_slots]` and `[..., num_numbers]`, of `FeatureEncoder`.

        Returns:
            `[..., dim]` float.
        """
        # Rows once for all operations: each of them would reshape there and back.
        parts = [_as_rows(encoded.numbers)] if encoded.numbers.shape[-1] else []
        if self._slots_of:
            parts = [*self._means(_as_rows(encoded.slots)), *parts]
        vectors = self._outer(self._inner(tf.concat(parts, axis=1)))
        if encoded.slots.shape.rank == 2:
            return vectors
        shape = tf.shape(encoded.slots)[:-1]
        return tf.reshape(vectors, tf.concat([shape, [self._outer.units]], axis=0))

    def _means(self, slots: tf.Tensor) -> list[tf.Tensor]:
        """`[n, embedding_dim]` mean embedding of each feature, 0 where it has no value."""
        # Slot by slot: values of a feature are added up as whole matrices, and the gradient of
        # the splits is one tensor joined, that of slices would be a padded one of each.
        slots = tf.transpose(slots)
        weights = tf.concat(list(map(_share_out, tf.split(slots, self._slots_of))), axis=0)
        vectors = self._look_up(self.table, slots) * weights[..., tf.newaxis]
        return [tf.reduce_sum(part, axis=0) for part in tf.split(vectors, self._slots_of)]


class LinearFeatures(tf.keras.layers.Layer):
    """A vector per value; an item is the weighted sum over its values, and of its numbers.

    Rare values weigh more, as in a search for text, and the squares of the weights of an item
    have sum 1: its vector is as long as that of one value, however many it has (measured).

    Attributes:
        table: `[num_rows, dim]`, row 0 for empty slots.
        row_weights: `[num_rows]` float, how rare each value is; 0 for empty slots.
        name_slots: `[num_name_slots]` int, the slots that hold values of categorical features.
        name_rows: `[num_names]` int, rows of these values.

    Reference:
        Kula, "Metadata Embeddings for User and Item Cold-start Recommendations", 2015 (LightFM).
    """

    def __init__(self, encoder: FeatureEncoder, dim: int, encoded: Encoded, **kwargs):
        """Creates the layer.

        Args:
            encoder: Of the features.
            dim: Of the vectors that are wanted.
            encoded: Of all items, whose rare values weigh more.
            **kwargs: Of Keras' layer.
        """
        super().__init__(**kwargs)
        self._dim = dim
        is_small = encoder.num_rows * dim <= _DENSE_VALUES
        self._look_up = _look_up_densely if is_small else tf.nn.embedding_lookup
        self.row_weights = tf.constant(weigh_rows(np.asarray(encoded.slots), encoder.num_rows))
        self.name_slots, self.name_rows = map(tf.constant, encoder.find_names())
        short = functools.partial(tf.keras.initializers.RandomNormal, stddev=_STDDEV)
        self.table = self.add_weight("table", [encoder.num_rows, dim], initializer=short())
        self._of_numbers = None
        if num_numbers := sum(column.num_numbers for column in encoder.columns):
            self._of_numbers = tf.keras.layers.Dense(
                dim, use_bias=False, kernel_initializer=short(), name="numbers"
            )
            self._of_numbers.build([None, num_numbers])

    def values_at(self, rows: tf.Tensor) -> tf.Tensor:
        """`[..., dim]` the vectors of values, `[...]` int rows of the table."""
        return self._look_up(self.table, rows)

    def call(self, encoded: Encoded) -> tf.Tensor:
        """Vectors of items; arguments and result as of `FeatureNetwork.call`."""
        slots = _as_rows(encoded.slots)
        weights = normalize_length(tf.gather(self.row_weights, slots))
        vectors = tf.reduce_sum(self.values_at(slots) * weights[..., tf.newaxis], axis=1)
        if self._of_numbers is not None:
            vectors += self._of_numbers(_as_rows(encoded.numbers))
        if encoded.slots.shape.rank == 2:
            return vectors
        shape = tf.shape(encoded.slots)[:-1]
        return tf.reshape(vectors, tf.concat([shape, [self._dim]], axis=0))


def weigh_rows(slots: np.ndarray, num_rows: int) -> np.ndarray:
    """How rare values are: log(1 + num_items / items that have the value).

    Args:
        slots: `[num_items, num_slots]` int, values of all items.
        num_rows: Values in all.

    Returns:
        `[num_rows]` float32; of what no item has as if one had it, 0 of empty slots.

    >>> weigh_rows(np.array([[1, 2], [1, 0]]), 3).round(3)
    array([0.   , 0.693, 1.099], dtype=float32)
    """
    counts = np.bincount(slots.ravel(), minlength=num_rows)
    weights = np.log1p(len(slots) / np.maximum(counts, 1))
    weights[NO_VALUE] = 0
    return weights.astype(np.float32)


def _as_rows(values: tf.Tensor) -> tf.Tensor:
    """`[..., width]` -> `[n, width]`."""
    return values if values.shape.rank == 2 else tf.reshape(values, [-1, values.shape[-1]])


def _share_out(slots: tf.Tensor) -> tf.Tensor:
    """`[width, n]` weight of each slot in the mean over those that hold a value."""
    is_real = tf.cast(slots != NO_VALUE, tf.float32)
    return is_real / tf.maximum(tf.reduce_sum(is_real, axis=0, keepdims=True), 1)


def _look_up_densely(table: tf.Variable, slots: tf.Tensor) -> tf.Tensor:
    """`[..., dim]` rows of a small table, whose gradient is that of all of it.

    A sparse one costs more than the sum over all rows: what occurs more than once has to
    be found, and rows are read and written one by one (measured).
    """
    num_rows, dim = table.shape

    @tf.custom_gradient
    def gather(values: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            rows = tf.reshape(upstream, [-1, dim])
            return tf.math.unsorted_segment_sum(rows, tf.reshape(slots, [-1]), num_rows)

        return tf.gather(values, slots), gradient

    return gather(tf.convert_to_tensor(table))
