"""Features of items -> vectors as wide as their id embeddings."""

import tensorflow as tf

from recall.feature_columns.declaration import FeaturesConfig
from recall.feature_columns.encoder import NO_VALUE, Encoded, FeatureEncoder
from recall.layers.dense import SlotDense

_STDDEV = 0.02
"""Of fresh embeddings, as that of the items' own (`recall.towers`)."""


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
        self._slots_of = [column.num_slots for column in encoder.columns if column.num_slots]
        self._embedding_dim = config.embedding_dim
        self._num_rows = encoder.num_rows
        width = len(self._slots_of) * config.embedding_dim
        width += sum(column.num_numbers for column in encoder.columns)
        self._inner = SlotDense(config.hidden_dim, activation=tf.nn.gelu, name="inner")
        self._outer = SlotDense(dim, name="outer")
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
        parts = [encoded.numbers] if encoded.numbers.shape[-1] else []
        if self._slots_of:
            parts = [*self._means(encoded.slots), *parts]
        return self._outer(self._inner(tf.concat(parts, axis=-1)))

    def _means(self, slots: tf.Tensor) -> list[tf.Tensor]:
        """`[..., embedding_dim]` mean embedding of each feature, 0 where it has no value."""
        vectors = tf.nn.embedding_lookup(self.table, slots)
        is_real = tf.cast(slots != NO_VALUE, vectors.dtype)[..., tf.newaxis]
        vectors *= is_real
        means, start = [], 0
        for width in self._slots_of:
            own = slice(start, start + width)
            start += width
            if width == 1:
                means.append(vectors[..., own.start, :])
                continue
            total = tf.reduce_sum(vectors[..., own, :], axis=-2)
            count = tf.reduce_sum(is_real[..., own, :], axis=-2)
            means.append(total / tf.maximum(count, 1))
        return means
