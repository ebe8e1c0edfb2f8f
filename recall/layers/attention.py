"""Causal self-attention."""

import math

import tensorflow as tf

from recall.layers.dense import SlotDense
from recall.layers.dropout import Dropout
from recall.layers.time_bias import NUM_GAPS, bias_of_pairs

MASKED_SCORE = -1e9
"""Added to scores of future slots; exp of it is 0 in float32."""

BIAS_SCALE = 10.0
"""Of the weights of the distance bias: Adam moves a weight by about the learning rate a
step, and a bias has to get far beyond 1 within an epoch."""


def causal_softmax(
    scores: tf.Tensor,
    bias: tf.Tensor | float = 0.0,
    first_slots: tf.Tensor | None = None,
) -> tf.Tensor:
    """Softmax over the slots up to and including each slot's own.

    Histories are padded at the right, so a real slot never sees padding.

    Args:
        scores: `[batch, ..., length, length]` float, row t scores all slots for slot t.
        bias: Added to the scores, broadcast to them.
        first_slots: `[batch, length]` int, the first slot that each one sees, where rows
            hold several histories (`PackedBatch`); None: slot 0.

    Returns:
        `[..., length, length]` float, rows sum to 1, zero right of the diagonal.
    """
    length = tf.shape(scores)[-1]
    slots = tf.range(length)
    is_hidden = slots[tf.newaxis, :] > slots[:, tf.newaxis]
    if first_slots is not None:
        is_hidden |= slots < first_slots[:, :, tf.newaxis]
        for _ in range(scores.shape.rank - 3):
            is_hidden = is_hidden[:, tf.newaxis]
    # One pass over the scores, the largest tensor here, for both.
    offsets = MASKED_SCORE * tf.cast(is_hidden, tf.float32) + tf.cast(bias, tf.float32)
    return softmax(scores, offsets)


def softmax(scores: tf.Tensor, offsets: tf.Tensor | float = 0.0) -> tf.Tensor:
    """Softmax over the last axis of `scores + offsets`, in float32, as the type of the scores.

    In bfloat16 the sum over a long history would lose the small shares.
    """
    return tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32) + offsets), scores.dtype)


def look_up_positions(
    table: tf.Tensor, length: tf.Tensor, first_slots: tf.Tensor | None
) -> tf.Tensor:
    """The row of a position table for every slot, counted from the start of its history.

    Args:
        table: `[max_length, dim]` float.
        length: Slots per row.
        first_slots: As in `causal_softmax`.

    Returns:
        `[length, dim]`, or `[batch, length, dim]` with `first_slots`.
    """
    if first_slots is None:
        return table[:length]
    # As a product: its gradient is one too, where that of a gather would add thousands of
    # slots to the same few rows one after the other.
    table = tf.convert_to_tensor(table)
    positions = tf.one_hot(tf.range(length) - first_slots, table.shape[0], dtype=table.dtype)
    return tf.matmul(positions, table)


def gather_distances(table: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """The values of all pairs of slots from those by distance.

    Args:
        table: `[num_kinds, max_length]` float.
        length: Slots per row.

    Returns:
        `[num_kinds, length, length]` float, row t has the values of all slots for slot t;
        of slots behind it that of distance 0.
    """
    slots = tf.range(length)
    distances = slots[:, tf.newaxis] - slots[tf.newaxis, :]
    # What lies further away belongs to another sequence of the row.
    distances = tf.clip_by_value(distances, 0, table.shape[1] - 1)
    return tf.gather(table, distances, axis=1)


class CausalSelfAttention(tf.keras.layers.Layer):
    """Multi-head attention of every slot over itself and the slots before it.

    A learned bias per head and distance tells how much a click counts by its age alone.
    On long histories this learns faster than the position table of the encoder by itself
    (measured, TRIALS.md).

    Reference:
        Raffel et al., "Exploring the Limits of Transfer Learning with a Unified
        Text-to-Text Transformer", JMLR 2020, section 2.1 (relative position biases;
        here one per distance, not per range of distances).
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        max_length: int,
        dropout_rate: float,
        has_time_bias: bool = False,
        **kwargs,
    ):
        """Creates the layer; `num_heads` must divide `dim`."""
        super().__init__(**kwargs)
        self._has_time_bias = has_time_bias
        self._dim = dim
        self._num_heads = num_heads
        self._max_length = max_length
        self._project_inputs = SlotDense(3 * dim, name="query_key_value")
        self._project_output = SlotDense(dim, name="output")
        self._dropout = Dropout(dropout_rate)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the biases by distance, `[num_heads, max_length]`, and by time."""
        self._distance_bias = self.add_weight(
            name="distance_bias", shape=[self._num_heads, self._max_length], initializer="zeros"
        )
        if self._has_time_bias:
            self._time_bias = self.add_weight(
                name="time_bias", shape=[NUM_GAPS, self._num_heads], initializer="zeros"
            )
        super().build(input_shape)

    def call(
        self,
        states: tf.Tensor,
        training: bool = False,
        first_slots: tf.Tensor | None = None,
        gaps: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Attends within each sequence.

        Args:
            states: `[batch, length, dim]` float, no sequence longer than `max_length`.
            training: Whether dropout is active.
            first_slots: As in `causal_softmax`.
            gaps: `[batch, length, length]` int32 of `gaps_of_pairs`; None: times are not known.

        Returns:
            `[batch, length, dim]` float.
        """
        shape = tf.shape(states)
        batch, length = shape[0], shape[1]
        head_dim = self._dim // self._num_heads
        projected = self._project_inputs(states)
        projected = tf.reshape(projected, [batch, length, 3, self._num_heads, head_dim])
        query, key, value = tf.unstack(tf.transpose(projected, [2, 0, 3, 1, 4]), num=3)
        scores = tf.matmul(query, key, transpose_b=True) / math.sqrt(head_dim)
        bias = gather_distances(BIAS_SCALE * self._distance_bias, length)
        if gaps is not None:
            is_packed = first_slots is not None
            bias += bias_of_pairs(BIAS_SCALE * self._time_bias, gaps, as_product=is_packed)
        attention = causal_softmax(scores, bias, first_slots)
        attention = self._dropout(attention, training=training)
        attended = tf.transpose(tf.matmul(attention, value), [0, 2, 1, 3])
        return self._project_output(tf.reshape(attended, [batch, length, self._dim]))
