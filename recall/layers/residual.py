"""How the last state enters an interest."""

import tensorflow as tf

from recall.config import ModelConfig
from recall.layers.dense import SlotDense


class LastStateResidual(tf.keras.layers.Layer):
    """Adds the last state z of a prefix to its pooled interests u_k.

    - `sum`: u_k + z, in every interest.
    - `gate`: g_k z + (1 - g_k) u_k with g_k = sigmoid(W [u_k, z] + b), coordinate by
      coordinate: an interest says itself how much of the last state it wants.
    - `first`: u_0 + z, and the others as they are.
    - nothing, where `config.interest_residual` is false.
    """

    def __init__(self, config: ModelConfig, **kwargs):
        """Creates the layer in the form of `config.residual_form`."""
        super().__init__(**kwargs)
        self._form = config.residual_form if config.interest_residual else None
        self._num_interests = config.num_interests
        if self._form == "gate":
            self._of_pooled = SlotDense(config.dim, use_bias=False, name="gate_of_pooled")
            self._of_last = SlotDense(config.dim, name="gate_of_last")

    def call(self, pooled: tf.Tensor, last: tf.Tensor) -> tf.Tensor:
        """Combines both.

        Args:
            pooled: `[..., num_interests, dim]` float.
            last: `[..., dim]` float.

        Returns:
            `[..., num_interests, dim]` float.
        """
        if self._form is None:
            return pooled
        if self._form == "gate":
            of_last = self._of_last(last)[..., tf.newaxis, :]
            gate = tf.sigmoid(self._of_pooled(pooled) + of_last)
            return pooled + gate * (last[..., tf.newaxis, :] - pooled)
        if self._form == "first":
            is_first = tf.one_hot(0, self._num_interests, dtype=pooled.dtype)
            return pooled + is_first[:, tf.newaxis] * last[..., tf.newaxis, :]
        return pooled + last[..., tf.newaxis, :]
