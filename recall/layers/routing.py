"""Interests of routed items: prototypes and their pools (Multi-CLRec)."""

import math

import tensorflow as tf

from recall.config import ModelConfig
from recall.layers.attention import causal_softmax, softmax
from recall.layers.dense import SlotDense
from recall.layers.extractor import (
    InterestExtractor,
    InterestOutput,
    WantedPrefixes,
    prefix_softmax,
)
from recall.layers.normalization import LayerNorm, normalize_length
from recall.layers.residual import LastStateResidual

_TEMPERATURE = 0.07
"""Of the routing, as in the article: a click belongs to one prototype, or few."""

_SMALLEST_MASS = 1e-6
"""Of a prototype in a prefix: below it nothing there belongs to the prototype."""


class RoutedInterests(InterestExtractor):
    """Items are routed to prototypes, whoever clicks them, and prototypes pooled (Multi-CLRec).

    With r_i the vector that item i is routed by (of its categories where it has some, see
    `ItemTower.embed_for_routing`), c_h one of H prototypes, z_i the state of slot i, and
    the H / K prototypes of interest k as its group:

        routing      p(h|i) = softmax_h( cos(r_i, c_h) / .07 )
        weighting    p(i|t) = softmax_{i<=t}( key_i . query_t / sqrt(D) )
        heads        u_h(t) = sum_{i<=t} p(h|i) p(i|t) z_i / m_h(t),
                     m_h(t) = sum_{i<=t} p(h|i) p(i|t)
                     v_h(t) = u_h(t) + W2 tanh( W1 u_h(t) + b_h )
        pooling      q(h|k,t) = softmax over h in group k of
                     log m_h(t) + v_h(t) . (1 + W3) s(t) / sqrt(D),
                     s(t) = sum_{i<=t} p(i|t) z_i
        interest     phi_k(t) = LN( z_t + sum_h q(h|k,t) v_h(t) )

    An item always goes the same way, so that interests differ from the first step on: each
    holds what was clicked of its own kinds. The auxiliary losses of `recall.losses.routing`
    keep prototypes alive, routes sharp and interests apart.

    After the article's encoder, but: states of the sequence encoder in place of item
    vectors; m_h in the pooling, so that a prototype nobody clicked says little; z_t
    (`interest_residual`), as in `DisentangledInterests`; its own b_h for futures.

    Reference:
        Zhou et al., "Contrastive Learning for Debiased Candidate Generation in
        Large-Scale Recommender Systems", KDD 2021 (Multi-CLRec).
    """

    reads_items = True

    def __init__(self, config: ModelConfig, **kwargs):
        """Creates the extractor of `config.num_interests` interests."""
        super().__init__(**kwargs)
        self.num_interests = config.num_interests
        self.num_prototypes = config.total_prototypes
        self._dim = config.dim
        # A bias of keys would add the same to all scores of a prefix.
        self._key = SlotDense(config.dim, use_bias=False, name="key")
        self._query = SlotDense(config.dim, name="query")
        self._hidden = SlotDense(config.dim, use_bias=False, name="hidden")
        self._transform = SlotDense(config.dim, name="transform")
        self._is_pooled = self.num_prototypes > self.num_interests
        if self._is_pooled:
            self._summary = SlotDense(config.dim, use_bias=False, name="summary")
        self._residual = LastStateResidual(config, name="residual")
        self._norm = LayerNorm(name="norm")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates prototypes and the two sets of biases."""
        # Not cast with the layer: divided by the temperature, rounding would change routes.
        self._prototypes = self._add_random_weight("prototypes", experimental_autocast=False)
        self._past_bias = self._add_random_weight("past_bias")
        self._future_bias = self._add_random_weight("future_bias")
        super().build(input_shape)

    def _add_random_weight(self, name: str, **options: bool) -> tf.Variable:
        """A `[num_prototypes, dim]` weight of vectors of about unit length."""
        shape = [self.num_prototypes, self._dim]
        normal = tf.keras.initializers.RandomNormal(stddev=1 / math.sqrt(self._dim))
        return self.add_weight(name, shape, initializer=normal, **options)

    def route(self, item_vectors: tf.Tensor) -> tf.Tensor:
        """p(h|i): the prototypes of items.

        Args:
            item_vectors: `[..., dim]` float.

        Returns:
            `[..., num_prototypes]` float32, sum 1; equal shares for a vector of zeros.
        """
        prototypes = normalize_length(tf.convert_to_tensor(self._prototypes))
        items = normalize_length(tf.cast(item_vectors, tf.float32))
        return softmax(tf.matmul(items, prototypes, transpose_b=True) / _TEMPERATURE)

    def group(self, routes: tf.Tensor) -> tf.Tensor:
        """`[..., num_prototypes]` shares -> `[..., num_interests]`, those of their groups."""
        return tf.reduce_sum(self._by_group(routes), axis=-1)

    def _by_group(self, tensor: tf.Tensor) -> tf.Tensor:
        """`[..., num_prototypes]` -> `[..., num_interests, num_prototypes / num_interests]`."""
        size = self.num_prototypes // self.num_interests
        shape = tf.concat([tf.shape(tensor)[:-1], [self.num_interests, size]], axis=0)
        return tf.reshape(tensor, shape)

    def _extract_all(
        self, states: tf.Tensor, wanted: WantedPrefixes, item_vectors: tf.Tensor | None
    ) -> InterestOutput:
        routes = tf.cast(self.route(item_vectors), states.dtype)
        scores = tf.matmul(self._query(states), self._key(states), transpose_b=True)
        attention = causal_softmax(scores / math.sqrt(self._dim), first_slots=wanted.first_slots)
        shape = tf.shape(states)
        parts = routes[:, :, :, tf.newaxis] * states[:, :, tf.newaxis, :]
        parts = tf.reshape(parts, [shape[0], shape[1], self.num_prototypes * self._dim])
        sums, masses = tf.matmul(attention, parts), tf.matmul(attention, routes)
        # Before the heads, which are the dearest part.
        sums, masses, states = (wanted.choose(tensor) for tensor in (sums, masses, states))
        leading = tf.shape(states)[:-1]
        sums = tf.reshape(sums, tf.concat([leading, [self.num_prototypes, self._dim]], axis=0))
        return self._aggregate(sums, masses, states, wanted.is_future)

    def _extract_at(
        self, states: tf.Tensor, wanted: WantedPrefixes, item_vectors: tf.Tensor | None
    ) -> InterestOutput:
        routes = tf.cast(self.route(item_vectors), states.dtype)
        last = tf.gather(states, wanted.slots, batch_dims=1)
        scores = tf.matmul(self._query(last)[:, tf.newaxis], self._key(states), transpose_b=True)
        attention = prefix_softmax(scores / math.sqrt(self._dim), wanted.slots)
        # [batch, length, num_prototypes]: p(h|i) p(i|t)
        shares = routes * tf.transpose(attention, [0, 2, 1])
        sums = tf.matmul(shares, states, transpose_a=True)
        return self._aggregate(sums, tf.reduce_sum(shares, axis=1), last, wanted.is_future)

    def _aggregate(
        self, sums: tf.Tensor, masses: tf.Tensor, last: tf.Tensor, is_future: bool
    ) -> InterestOutput:
        """Interests of prefixes.

        Args:
            sums: `[..., num_prototypes, dim]` float, of the states by prototype.
            masses: `[..., num_prototypes]` float, sum 1.
            last: `[..., dim]` float, last states.
            is_future: Whether they are reversed futures.
        """
        masses = tf.cast(masses, tf.float32)
        scale = tf.cast(1 / (masses + _SMALLEST_MASS), sums.dtype)
        heads = sums * scale[..., tf.newaxis]
        hidden = self._hidden(heads) + (self._future_bias if is_future else self._past_bias)
        heads += self._transform(tf.tanh(hidden))
        logits = tf.math.log(masses + _SMALLEST_MASS)
        if self._is_pooled:
            summary = tf.reduce_sum(sums, axis=-2)
            summary += self._summary(summary)
            scores = tf.reduce_sum(heads * summary[..., tf.newaxis, :], axis=-1)
            logits += tf.cast(scores, tf.float32) / math.sqrt(self._dim)
        pool = tf.cast(softmax(self._by_group(logits)), heads.dtype)
        shape = tf.concat([tf.shape(pool), [self._dim]], axis=0)
        pooled = tf.reduce_sum(pool[..., tf.newaxis] * tf.reshape(heads, shape), axis=-2)
        return InterestOutput(self._norm(self._residual(pooled, last)), self.group(masses))
