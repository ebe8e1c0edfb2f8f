"""Features of items -> vectors as wide as their id embeddings."""

from collections.abc import Callable

import tensorflow as tf

from recall.feature_columns.declaration import FeaturesConfig
from recall.feature_columns.encoder import NO_VALUE, Encoded, FeatureEncoder

_STDDEV = 0.02
"""Of fresh embeddings, as that of the items' own (`recall.towers`)."""


_DENSE_VALUES = 1 << 21
"""Numbers of a table whose gradient is taken as a whole: Adam needs .5 ms for so many."""


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
