"""Features of users -> what is added to each of their clicks."""

import numpy as np
import tensorflow as tf

from recall.feature_columns.declaration import FeaturesConfig
from recall.feature_columns.encoder import Encoded, FeatureEncoder
from recall.feature_columns.item_features import ItemFeatures
from recall.layers.dropout import keep_rows
from recall.layers.feature_network import FeatureNetwork


class UserFeatures(tf.keras.layers.Layer):
    """A vector of what is known of a user, as long as those of clicks.

    A history begins with a slot that is no click (`UNKNOWN_ID`), so that somebody without
    clicks is asked for the first one, and her features are all that says which.

    Attributes:
        encoder: Of the features.
        num_known: Users whose values the layer has, by their rows from 1.
    """

    def __init__(self, config: FeaturesConfig, users: ItemFeatures, dim: int, **kwargs):
        """Creates the layer.

        Args:
            config: Widths of the network.
            users: Values of the known users; of none, what was learnt of the values alone.
            dim: Of the vectors that are wanted.
            **kwargs: Of Keras' layer.
        """
        super().__init__(**kwargs)
        self.encoder = FeatureEncoder(users.columns)
        self._network = FeatureNetwork(config, self.encoder, dim, name="network")
        self.know(users)

    @property
    def network(self) -> FeatureNetwork:
        """That reads the values."""
        return self._network

    def know(self, users: ItemFeatures) -> None:
        """Takes the values of users, in the place of those it had."""
        parts = [self.encoder.encode_nothing(1)]
        if len(users):
            parts.append(self.encoder.encode_items(users))
        self.num_known = len(users)
        arrays = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
        # No weights: a model keeps nobody's values.
        object.__setattr__(self, "_encoded", Encoded(*map(tf.constant, arrays)))

    def call(self, users: tf.Tensor | Encoded, training: bool = False) -> tf.Tensor:
        """Vectors of users.

        Args:
            users: `[batch, length]` int rows from 1, 0 for others; or `[batch, ...]` values.
            training: Whether a tenth of the rows has to do without features.

        Returns:
            `[batch, length, dim]`, or `[batch, 1, dim]` of values.
        """
        if not isinstance(users, Encoded):
            if training:
                users *= tf.cast(keep_rows(tf.shape(users)[0])[:, tf.newaxis], users.dtype)
            return self._network(Encoded(*(tf.gather(part, users) for part in self._encoded)))
        return self._network(users)[:, tf.newaxis, :]
