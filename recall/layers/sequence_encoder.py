"""Item vectors of a history -> one state per slot."""

import tensorflow as tf

from recall.config import ModelConfig
from recall.layers.attention import look_up_positions
from recall.layers.blocks import build_block
from recall.layers.dropout import Dropout
from recall.layers.normalization import LayerNorm
from recall.layers.time_bias import NUM_GAPS, gaps_of_pairs, gaps_of_slots, look_up_gaps


class SequenceEncoder(tf.keras.layers.Layer):
    """Position table, dropout and a stack of causal blocks.

    State i depends on slots 0..i only, and padding sits at the right, so the
    state of a real slot does not depend on the padding behind it.
    """

    def __init__(self, config: ModelConfig, dropout_rate: float, **kwargs):
        """Creates the encoder of `config.num_blocks` blocks."""
        super().__init__(**kwargs)
        self._config = config
        self._dropout = Dropout(dropout_rate)
        self._blocks = [
            build_block(config, dropout_rate, name=f"block_{i}") for i in range(config.num_blocks)
        ]
        self._norm = LayerNorm(name="norm")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the position table."""
        self._positions = self.add_weight(
            name="positions",
            shape=[self._config.max_history_length, self._config.dim],
            initializer=tf.keras.initializers.RandomNormal(stddev=0.02),
        )
        if self._config.time_bias:
            self._gaps = self.add_weight(
                name="gaps", shape=[NUM_GAPS, self._config.dim], initializer="zeros"
            )
        super().build(input_shape)

    def call(
        self,
        vectors: tf.Tensor,
        training: bool = False,
        first_slots: tf.Tensor | None = None,
        times: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Encodes every prefix of every history.

        Args:
            vectors: `[batch, length, dim]` float, no history longer than
                `max_history_length`, zero at padding.
            training: Whether dropout is active.
            first_slots: `[batch, length]` int, where the history of each slot begins,
                if rows hold several (`PackedBatch`).
            times: `[batch, length, 2]` int seconds, of each click and of what came next, 0
                where they are not known; None: nowhere are they. With `time_bias` alone.

        Returns:
            `[batch, length, dim]` float; slot i encodes the prefix that ends
            there. Padding slots hold numbers without a meaning.
        """
        length = tf.shape(vectors)[1]
        states = vectors + look_up_positions(self._positions, length, first_slots)
        gaps = None
        if times is not None:
            is_packed = first_slots is not None
            of_slots = look_up_gaps(self._gaps, gaps_of_slots(times), as_product=is_packed)
            states += tf.cast(of_slots, states.dtype)
            gaps = gaps_of_pairs(times)
        states = self._dropout(states, training=training)
        for block in self._blocks:
            states = block(states, training=training, first_slots=first_slots, gaps=gaps)
        return self._norm(states)
