"""Features of clicks and of requests: what they add to a history, and to its interests."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from recall.feature_columns.declaration import FeaturesConfig
from recall.feature_columns.encoder import Encoded, FeatureEncoder
from recall.feature_columns.fitting import FittedColumn
from recall.layers.dropout import keep_rows
from recall.layers.feature_network import FeatureNetwork


class ReadValues(NamedTuple):
    """What a network made of values.

    Attributes:
        vectors: `[..., width]`.
        nothing: `[width]`, of no values at all.
    """

    vectors: tf.Tensor
    nothing: tf.Tensor


class _LogFeatures(tf.keras.layers.Layer):
    """Values that somebody may leave out, and the network that reads them.

    Attributes:
        encoder: Of the features, with their names.
        network: Of the features.
    """

    def __init__(
        self, config: FeaturesConfig, columns: Sequence[FittedColumn], width: int, **kwargs
    ):
        """Creates the layer.

        Args:
            config: Widths of the network.
            columns: The features.
            width: Of what the network gives.
            **kwargs: Of Keras' layer.
        """
        super().__init__(**kwargs)
        self.encoder = FeatureEncoder(columns)
        self.network = FeatureNetwork(config, self.encoder, width, name="network")
        nothing = self.encoder.encode_nothing(1)
        object.__setattr__(self, "_nothing", Encoded(*map(tf.constant, nothing)))

    def read(self, encoded: Encoded) -> ReadValues:
        """Vectors of values, and of nothing, which training needs: all in one pass."""
        shape = tf.shape(encoded.slots)[:-1]
        num_rows = tf.reduce_prod(shape)
        rows = [
            tf.concat([tf.reshape(part, [num_rows, part.shape[-1]]), nothing], axis=0)
            for part, nothing in zip(encoded, self._nothing, strict=True)
        ]
        # Not slices: the gradient of a split is one tensor joined.
        vectors, nothing = tf.split(self.network(Encoded(*rows)), tf.stack([num_rows, 1]))
        width = [nothing.shape[-1]]
        vectors = tf.reshape(vectors, tf.concat([shape, width], axis=0))
        return ReadValues(vectors, tf.reshape(nothing, width))

    def _forget(self, known: Encoded | ReadValues | None, training: bool) -> tf.Tensor:
        """`[..., width]`; of nothing one row. In training a tenth of the rows says nothing."""
        if known is None:
            return self.network(self._nothing)
        if isinstance(known, Encoded):
            if not training:
                return self.network(known)
            known = self.read(known)
        if not training:
            return known.vectors
        kept = keep_rows(tf.shape(known.vectors)[0])
        kept = tf.reshape(kept, [-1] + [1] * (known.vectors.shape.rank - 1))
        return tf.where(kept, known.vectors, known.nothing)


class EventFeatures(_LogFeatures):
    """A vector of what is known of each click, as long as those of items."""

    def __init__(self, config: FeaturesConfig, columns: Sequence[FittedColumn], dim: int, **kwargs):
        """Creates the layer for vectors of `dim` numbers; the others as in its base."""
        super().__init__(config, columns, dim, **kwargs)

    def call(self, known: Encoded | ReadValues | None, training: bool = False) -> tf.Tensor:
        """Vectors of clicks.

        Args:
            known: `[batch, length, ...]` values, or what `read` made of them; None: nothing is
                known of any click.
            training: Whether a tenth of the rows has to do without.

        Returns:
            `[batch, length, dim]`, or `[1, 1, dim]` of nothing.
        """
        vectors = self._forget(known, training)
        return vectors if known is not None else vectors[tf.newaxis]


class RequestFeatures(_LogFeatures):
    """What is known of a request scales and shifts the interests that answer it.

    It stands behind the encoder: a click of the past was asked for in a context of its own,
    and all slots of a history are encoded in one pass.

    Reference:
        Perez et al., "FiLM: Visual Reasoning with a General Conditioning Layer", AAAI 2018.
    """

    def __init__(self, config: FeaturesConfig, columns: Sequence[FittedColumn], dim: int, **kwargs):
        """Creates the layer for interests of `dim` numbers; the others as in its base."""
        super().__init__(config, columns, 2 * dim, **kwargs)

    def call(
        self, user_vectors: tf.Tensor, encoded: Encoded | None, training: bool = False
    ) -> tf.Tensor:
        """Interests of requests.

        Args:
            user_vectors: `[..., num_interests, dim]` float.
            encoded: `[..., num_slots]` and `[..., num_numbers]` values of each request; None:
                nothing is known of any.
            training: Whether a tenth of the rows has to do without.

        Returns:
            The same, each as its request is.
        """
        both = tf.cast(self._forget(encoded, training), user_vectors.dtype)[..., tf.newaxis, :]
        scales, shifts = tf.split(both, 2, axis=-1)
        return user_vectors * (1 + scales) + shifts
