"""Blocks of the encoder: slots read each other, then each is transformed by itself."""

import tensorflow as tf

from recall.config import ModelConfig
from recall.layers.attention import CausalSelfAttention
from recall.layers.causal_filter import CausalFilter
from recall.layers.dense import SlotDense
from recall.layers.dropout import Dropout
from recall.layers.normalization import LayerNorm


class SelfAttentionBlock(tf.keras.layers.Layer):
    """Self-attention, then a feed-forward layer, each normalised and residual.

    Normalisation comes before each sub-layer (pre-norm), which trains without
    learning-rate warm-up. With `filter_share` a filter reads the slots beside attention,
    and the two are mixed: `share * filter + (1 - share) * attention`.

    Reference:
        Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018; for the
        mixture Shin et al., "An Attentive Inductive Bias for Sequential Recommendation
        beyond the Self-Attention", AAAI 2024 (BSARec), equation 9.
    """

    _ACTIVATION = "relu"

    def __init__(
        self,
        dim: int,
        num_heads: int,
        feed_forward_dim: int,
        max_length: int,
        dropout_rate: float,
        filter_share: float = 0.0,
        has_time_bias: bool = False,
        **kwargs,
    ):
        """Creates the block; `num_heads` must divide `dim`."""
        super().__init__(**kwargs)
        self._attention = CausalSelfAttention(
            dim, num_heads, max_length, dropout_rate, has_time_bias, name="attention"
        )
        self._filter_share = filter_share
        if filter_share > 0:
            self._filter = CausalFilter(dim, max_length, name="filter")
        self._attention_norm = LayerNorm(name="attention_norm")
        self._feed_forward_norm = LayerNorm(name="feed_forward_norm")
        self._expand = SlotDense(feed_forward_dim, activation=self._ACTIVATION, name="expand")
        self._contract = SlotDense(dim, name="contract")
        self._dropout = Dropout(dropout_rate)

    def call(
        self,
        states: tf.Tensor,
        training: bool = False,
        first_slots: tf.Tensor | None = None,
        gaps: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Transforms `[batch, length, dim]` states to states of the same shape."""
        read = self._read(self._attention_norm(states), training, first_slots, gaps)
        states += self._dropout(read, training=training)
        transformed = self._contract(self._expand(self._feed_forward_norm(states)))
        return states + self._dropout(transformed, training=training)

    def _read(
        self,
        states: tf.Tensor,
        training: bool,
        first_slots: tf.Tensor | None,
        gaps: tf.Tensor | None,
    ) -> tf.Tensor:
        """What every slot reads of those before it."""
        attended = self._attention(states, training=training, first_slots=first_slots, gaps=gaps)
        if self._filter_share == 0:
            return attended
        filtered = self._filter(states, first_slots=first_slots)
        return self._filter_share * filtered + (1 - self._filter_share) * attended


class GatedBlock(SelfAttentionBlock):
    """The same with gates: what a sub-layer adds is scaled by what the slot holds already.

        x = x + attention(norm(x)) * sigmoid(W_1 x)
        x = x + contract(silu(expand(norm(x))) * expand_gate(norm(x))) * sigmoid(W_2 x)

    Reference:
        Borisyuk et al., "From Features to Transformers: Redefining Ranking for Scalable
        Impact", 2025 (LiGR), as in Tikhonovich et al., "eSASRec: Enhancing
        Transformer-based Recommendations in a Modular Fashion", RecSys 2025.
    """

    _ACTIVATION = "silu"

    def __init__(self, dim: int, num_heads: int, feed_forward_dim: int, *args, **kwargs):
        """Creates the block; arguments as those of `SelfAttentionBlock`."""
        super().__init__(dim, num_heads, feed_forward_dim, *args, **kwargs)
        self._expand_gate = SlotDense(feed_forward_dim, name="expand_gate")
        self._attention_gate = SlotDense(dim, activation="sigmoid", name="attention_gate")
        self._feed_forward_gate = SlotDense(dim, activation="sigmoid", name="feed_forward_gate")

    def call(
        self,
        states: tf.Tensor,
        training: bool = False,
        first_slots: tf.Tensor | None = None,
        gaps: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Transforms `[batch, length, dim]` states to states of the same shape."""
        read = self._read(self._attention_norm(states), training, first_slots, gaps)
        states += self._dropout(read * self._attention_gate(states), training=training)
        normal = self._feed_forward_norm(states)
        transformed = self._contract(self._expand(normal) * self._expand_gate(normal))
        gated = transformed * self._feed_forward_gate(states)
        return states + self._dropout(gated, training=training)


BLOCKS = {"plain": SelfAttentionBlock, "gated": GatedBlock}
"""By the names of `model.block`."""


def build_block(config: ModelConfig, dropout_rate: float, **kwargs) -> tf.keras.layers.Layer:
    """The block that `config.block` names."""
    return BLOCKS[config.block](
        config.dim,
        config.num_heads,
        config.feed_forward_dim,
        config.max_history_length,
        dropout_rate,
        config.filter_share,
        config.time_bias,
        **kwargs,
    )
