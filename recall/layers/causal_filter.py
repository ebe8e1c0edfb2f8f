"""A low-pass and high-pass filter over the slots of a history."""

import math

import tensorflow as tf

from recall.layers.attention import BIAS_SCALE, gather_distances

_NUM_FILTERS = 4
"""Groups of coordinates, each smoothed over another span; fewer where `dim` is no multiple."""

_SMALLEST_BIAS = -60.0
"""Below the largest one: a slot that sees none but distances of such biases has their mean."""


class CausalFilter(tf.keras.layers.Layer):
    """Keeps slow changes along a history, and weakens or amplifies fast ones.

    With w_g a learnt weight per distance of group g of coordinates:

        low(t)  = sum_{i<=t} w_g(t-i) x_i / sum_{i<=t} w_g(t-i)
        out(t)  = low(t) + beta^2 (x_t - low(t))

    The articles filter by the Fourier or wavelet transform of a whole history, whose
    output at any slot has seen all others. They train on one target per history, the
    last one; here every slot is trained on its next click, and such a transform would
    show it that click. A mean over the slots up to its own is the filter that remains.
    Spans start at 1, 2, 4 and 8 slots, the scales of a wavelet transform.

    Reference:
        Shin et al., "An Attentive Inductive Bias for Sequential Recommendation beyond
        the Self-Attention", AAAI 2024 (BSARec), equation 6: there low(t) keeps the
        lowest frequencies of a Fourier transform.
    """

    def __init__(self, dim: int, max_length: int, **kwargs):
        """Creates the layer for histories of at most `max_length` slots."""
        super().__init__(**kwargs)
        self._dim = dim
        self._max_length = max_length
        self._num_filters = math.gcd(dim, _NUM_FILTERS)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates weights by distance `[num_filters, max_length]` and beta `[dim]`."""
        spans = 2.0 ** tf.range(self._num_filters, dtype=tf.float32)[:, tf.newaxis]
        distances = tf.range(self._max_length, dtype=tf.float32)
        self._distance_bias = self.add_weight(
            name="distance_bias",
            shape=[self._num_filters, self._max_length],
            initializer=lambda shape, dtype: tf.cast(-distances / spans / BIAS_SCALE, dtype),
        )
        # As in the articles' code. With a beta of 1 everywhere the filter would do nothing.
        self._beta = self.add_weight(
            name="beta",
            shape=[self._dim],
            initializer=tf.keras.initializers.RandomNormal(stddev=1.0),
        )
        super().build(input_shape)

    def call(self, states: tf.Tensor, first_slots: tf.Tensor | None = None) -> tf.Tensor:
        """Filters within each history.

        Args:
            states: `[batch, length, dim]` float.
            first_slots: As in `causal_softmax`.

        Returns:
            `[batch, length, dim]` float; slot t depends on slots 0..t.
        """
        low = self._smooth(states, first_slots)
        beta = tf.square(self._beta)
        return (1 - beta) * low + beta * states

    def _smooth(self, states: tf.Tensor, first_slots: tf.Tensor | None) -> tf.Tensor:
        """The slow changes alone."""
        shape = tf.shape(states)
        batch, length = shape[0], shape[1]
        weights = tf.cast(self._weights_of_pairs(length, first_slots), states.dtype)
        groups = tf.reshape(states, [batch, length, self._num_filters, -1])
        if first_slots is not None:
            low = tf.matmul(weights, tf.transpose(groups, [0, 2, 1, 3]))
            return tf.reshape(tf.transpose(low, [0, 2, 1, 3]), shape)
        # All histories are weighed alike: one product for them.
        groups = tf.transpose(groups, [2, 1, 0, 3])
        low = tf.matmul(weights[0], tf.reshape(groups, [self._num_filters, length, -1]))
        low = tf.transpose(tf.reshape(low, tf.shape(groups)), [2, 1, 0, 3])
        return tf.reshape(low, shape)

    def _weights_of_pairs(self, length: tf.Tensor, first_slots: tf.Tensor | None) -> tf.Tensor:
        """`[1 or batch, num_filters, length, length]`: row t weighs all slots for slot t.

        A softmax of the biases. As they are the same for all histories, it is computed by
        distance and put where it belongs, not row by row.
        """
        biases = BIAS_SCALE * tf.cast(self._distance_bias, tf.float32)
        biases -= tf.reduce_max(biases, axis=1, keepdims=True)
        by_distance = tf.exp(tf.maximum(biases, _SMALLEST_BIAS))
        slots = tf.range(length)
        is_seen = (slots <= slots[:, tf.newaxis])[tf.newaxis]
        if first_slots is not None:
            is_seen &= slots >= first_slots[:, :, tf.newaxis]
        weights = (
            gather_distances(by_distance, length) * tf.cast(is_seen, tf.float32)[:, tf.newaxis]
        )
        return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)
