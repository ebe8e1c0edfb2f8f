"""Features of clicks and of requests: what they add to a history, and to its interests."""

from collections.abc import Sequence

import tensorflow as tf

from recall.feature_columns.declaration import FeaturesConfig
from recall.feature_columns.encoder import Encoded, FeatureEncoder
from recall.feature_columns.fitting import FittedColumn
from recall.layers.dropout import keep_rows
from recall.layers.feature_network import FeatureNetwork


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

    def read(self, encoded: Encoded) -> tf.Tensor:
        """`[..., width]` vectors of values."""
        return self.network(encoded)

    def _forget(self, known: Encoded | tf.Tensor | None, training: bool) -> tf.Tensor:
        """`[..., width]`; of nothing one row. In training a tenth of the rows says nothing."""
        if known is None:
            return self.network(self._nothing)
        vectors = self.read(known) if isinstance(known, Encoded) else known
        if not training:
            return vectors
        kept = keep_rows(tf.shape(vectors)[0])
        kept = tf.reshape(kept, [-1] + [1] * (vectors.shape.rank - 1))
        return tf.where(kept, vectors, self.network(self._nothing))


class EventFeatures(_LogFeatures):
    """A vector of what is known of each click, as long as those of items."""

    def __init__(self, config: FeaturesConfig, columns: Sequence[FittedColumn], dim: int, **kwargs):
        """Creates the layer for vectors of `dim` numbers; the others as in its base."""
        super().__init__(config, columns, dim, **kwargs)

    def call(self, known: Encoded | tf.Tensor | None, training: bool = False) -> tf.Tensor:
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
