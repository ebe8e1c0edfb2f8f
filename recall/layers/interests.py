"""Interest extractors: states of a history -> interest vectors of every prefix.

All share one interface, `(states, training) -> InterestOutput`, and read slot
i only for prefixes that reach it. They neither mask nor normalise to unit
length; the towers do.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from recall.config import ModelConfig
from recall.layers.attention import causal_softmax
from recall.layers.normalization import LayerNorm


class InterestOutput(NamedTuple):
    """Interests of every prefix.

    Attributes:
        vectors: `[batch, length, num_interests, dim]` float.
        weights: `[batch, length, num_interests]` float, >= 0, sum 1: how much
            of the history belongs to each interest.
    """

    vectors: tf.Tensor
    weights: tf.Tensor


class LastState(tf.keras.layers.Layer):
    """The state of the last slot is the only interest (SASRec).

    Reference:
        Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018.
    """

    num_interests = 1

    def call(self, states: tf.Tensor, training: bool = False) -> InterestOutput:
        """Returns the states as `[batch, length, 1, dim]` interests."""
        del training  # The extractor has no dropout.
        return InterestOutput(states[:, :, tf.newaxis, :], tf.ones_like(states[:, :, :1]))


class SelfAttentiveInterests(tf.keras.layers.Layer):
    """K attention distributions over the history (ComiRec-SA).

    A_k = softmax over slots of w_k . tanh(W z_i); interest k is the mean of the
    states under A_k. The scores do not depend on the prefix, the softmax does.

    Reference:
        Cen et al., "Controllable Multi-Interest Framework for Recommendation",
        KDD 2020, equations 5 and 6.
    """

    _HIDDEN_FACTOR = 4
    """Inner width in units of dim, as in the paper's code base settings (4d)."""

    def __init__(self, config: ModelConfig, **kwargs):
        """Creates the extractor of `config.num_interests` interests."""
        super().__init__(**kwargs)
        self.num_interests = config.num_interests
        self._hidden = tf.keras.layers.Dense(
            self._HIDDEN_FACTOR * config.dim, activation="tanh", use_bias=False, name="hidden"
        )
        self._score = tf.keras.layers.Dense(config.num_interests, use_bias=False, name="score")

    def call(self, states: tf.Tensor, training: bool = False) -> InterestOutput:
        """Pools `[batch, length, dim]` states into interests of every prefix."""
        del training  # The extractor has no dropout.
        scores = tf.transpose(self._score(self._hidden(states)), [0, 2, 1])
        length = tf.shape(states)[1]
        attention = causal_softmax(
            tf.repeat(scores[:, :, tf.newaxis, :], length, axis=2)
        )  # [batch, num_interests, length, length]
        vectors = tf.einsum("bkti,bid->btkd", attention, states)
        weights = tf.ones_like(vectors[..., 0]) / self.num_interests
        return InterestOutput(vectors, weights)


class DisentangledInterests(tf.keras.layers.Layer):
    """Clusters the history around prototypes and pools each cluster (DSSRec).

    With z_i the state of slot i and c_k a learnt prototype:

        clustering   p(k|i) = softmax_k( LN1(z_i) . LN2(c_k) / sqrt(D) )
        weighting    p(i|t) = softmax_{i<=t}( key_i . query_t / sqrt(D) )
        aggregation  phi_k(t) = LN5( beta_k + z_t + sum_{i<=t} p(k|i) p(i|t) z_i )

    p(i|t) is a causal attention matrix, so the interests of all prefixes come
    from one product. The article's aggregation lacks z_t; with the largest of
    the interests as score the network then does not leave the symmetric state
    in which all interests are alike. `residual=False` is the article's form.

    Reference:
        Ma et al., "Disentangled Self-Supervision in Sequential Recommenders",
        KDD 2020, section 3.
    """

    def __init__(self, config: ModelConfig, **kwargs):
        """Creates the extractor of `config.num_interests` interests."""
        super().__init__(**kwargs)
        self.num_interests = config.num_interests
        self._dim = config.dim
        self._max_length = config.max_history_length
        self._residual = config.interest_residual
        # LN2 has no offset: it adds the same to the scores of all prototypes, and
        # the softmax over prototypes does not see it.
        self._norms = [LayerNorm(center=i != 2, name=f"norm_{i}") for i in range(1, 6)]
        self._key = tf.keras.layers.Dense(config.dim, activation="relu", name="key")

    def build(self, input_shape):
        """Creates prototypes, position table and the two sets of biases."""
        self._prototypes = self._add_random_weight("prototypes")
        self._past_bias = self._add_random_weight("past_bias")
        self._future_bias = self._add_random_weight("future_bias")
        self._positions = self.add_weight(
            "positions", [self._max_length, self._dim], initializer="zeros"
        )
        self._query_bias = self.add_weight("query_bias", [self._dim], initializer="zeros")
        super().build(input_shape)

    def _add_random_weight(self, name: str) -> tf.Variable:
        """A `[num_interests, dim]` weight drawn from N(0, 1/sqrt(dim))."""
        # One initializer per weight: a shared one would repeat its numbers.
        normal = tf.keras.initializers.RandomNormal(stddev=1 / math.sqrt(self._dim))
        return self.add_weight(name, [self.num_interests, self._dim], initializer=normal)

    def call(
        self, states: tf.Tensor, training: bool = False, is_future: bool = False
    ) -> InterestOutput:
        """Extracts the interests of every prefix.

        Args:
            states: `[batch, length, dim]` float.
            training: Unused; the extractor has no dropout.
            is_future: Whether the sequence is a reversed future, which has its
                own biases beta.

        Returns:
            `InterestOutput` of `num_interests` interests.
        """
        del training
        clusters = self._cluster(states)
        attention = self._weigh(states)
        shape = tf.shape(states)
        shares = clusters[:, :, :, tf.newaxis] * states[:, :, tf.newaxis, :]
        shares = tf.reshape(shares, [shape[0], shape[1], self.num_interests * self._dim])
        pooled = tf.reshape(
            tf.matmul(attention, shares), [shape[0], shape[1], self.num_interests, self._dim]
        )
        pooled += self._future_bias if is_future else self._past_bias
        if self._residual:
            pooled += states[:, :, tf.newaxis, :]
        return InterestOutput(self._norms[4](pooled), tf.matmul(attention, clusters))

    def _cluster(self, states: tf.Tensor) -> tf.Tensor:
        """p(k|i), `[batch, length, num_interests]`."""
        # Both sides are normalised: a plain product collapses onto few prototypes.
        prototypes = self._norms[1](self._prototypes)
        scores = tf.matmul(self._norms[0](states), prototypes, transpose_b=True)
        return tf.nn.softmax(scores / math.sqrt(self._dim))

    def _weigh(self, states: tf.Tensor) -> tf.Tensor:
        """p(i|t), `[batch, length, length]`, rows t sum to 1 over i <= t."""
        placed = states + self._positions[: tf.shape(states)[1]]
        base = self._norms[2](placed)
        keys = base + self._key(base)
        queries = self._norms[3](placed + self._query_bias)
        return causal_softmax(tf.matmul(queries, keys, transpose_b=True) / math.sqrt(self._dim))


def build_extractor(config: ModelConfig) -> tf.keras.layers.Layer:
    """The extractor that `config.extractor` names."""
    if config.extractor == "last_state":
        return LastState(name="interests")
    if config.extractor == "self_attentive":
        return SelfAttentiveInterests(config, name="interests")
    return DisentangledInterests(config, name="interests")
