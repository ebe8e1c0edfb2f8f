"""Interest extractors: states of a history -> interest vectors of its prefixes.

All share the interface of `InterestExtractor`; those that route are in `capsules.py` and
`routing.py`.
"""

import math

import tensorflow as tf

from recall.config import ModelConfig
from recall.layers.attention import causal_softmax, look_up_positions
from recall.layers.capsules import CapsuleInterests
from recall.layers.clusters import ItemClusters, cluster_states
from recall.layers.dense import SlotDense
from recall.layers.extractor import (
    InterestExtractor,
    InterestOutput,
    WantedPrefixes,
    prefix_softmax,
)
from recall.layers.normalization import LayerNorm
from recall.layers.residual import LastStateResidual
from recall.layers.routing import RoutedInterests


class LastState(InterestExtractor):
    """The state of the last slot is the only interest (SASRec).

    Reference:
        Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018.
    """

    num_interests = 1

    def _extract_all(
        self, states: tf.Tensor, wanted: WantedPrefixes, item_vectors: tf.Tensor | None
    ) -> InterestOutput:
        del item_vectors
        return self._output(wanted.choose(states))

    def _extract_at(
        self, states: tf.Tensor, wanted: WantedPrefixes, item_vectors: tf.Tensor | None
    ) -> InterestOutput:
        del item_vectors
        return self._output(tf.gather(states, wanted.slots, batch_dims=1))

    def _output(self, states: tf.Tensor) -> InterestOutput:
        return InterestOutput(states[..., tf.newaxis, :], tf.ones_like(states[..., :1]))


class SelfAttentiveInterests(InterestExtractor):
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
        self._hidden = SlotDense(
            self._HIDDEN_FACTOR * config.dim, activation="tanh", use_bias=False, name="hidden"
        )
        self._score = SlotDense(config.num_interests, use_bias=False, name="score")

    def _extract_all(
        self, states: tf.Tensor, wanted: WantedPrefixes, item_vectors: tf.Tensor | None
    ) -> InterestOutput:
        del item_vectors
        scores, length = self._scores(states), tf.shape(states)[1]
        attention = causal_softmax(
            tf.repeat(scores[:, :, tf.newaxis, :], length, axis=2), first_slots=wanted.first_slots
        )  # [batch, num_interests, length, length]
        return self._output(wanted.choose(tf.einsum("bkti,bid->btkd", attention, states)))

    def _extract_at(
        self, states: tf.Tensor, wanted: WantedPrefixes, item_vectors: tf.Tensor | None
    ) -> InterestOutput:
        del item_vectors
        attention = prefix_softmax(self._scores(states), wanted.slots)
        return self._output(tf.matmul(attention, states))

    def _scores(self, states: tf.Tensor) -> tf.Tensor:
        """`[batch, num_interests, length]`."""
        return tf.transpose(self._score(self._hidden(states)), [0, 2, 1])

    def _output(self, vectors: tf.Tensor) -> InterestOutput:
        return InterestOutput(vectors, tf.ones_like(vectors[..., 0]) / self.num_interests)


class DisentangledInterests(InterestExtractor):
    """Clusters the history around prototypes and pools each cluster (DSSRec).

    With z_i the state of slot i and c_k a learnt prototype:

        clustering   p(k|i) = softmax_k( LN1(z_i) . LN2(c_k) / sqrt(D) )
        weighting    p(i|t) = softmax_{i<=t}( key_i . query_t / sqrt(D) )
        aggregation  phi_k(t) = LN5( beta_k + z_t + sum_{i<=t} p(k|i) p(i|t) v_i )

    with v_i = z_i (paper). p(i|t) is a causal attention matrix, so the interests of all
    prefixes come from one product. The article's aggregation lacks z_t; with the largest of
    the interests as score the network then does not leave the symmetric state
    in which all interests are alike. `interest_residual=False` is the article's form;
    `residual_form` has others (`LastStateResidual`). A state knows the clicks before it, so
    that states of one history are much alike: with `clusters="items"` the clicked items are
    clustered in their place (`ItemClusters`), and with `pools="items"` the item vector of click
    i, normalised, is v_i; with `pools="both"` the sum of it and z_i.

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
        self._residual = LastStateResidual(config, name="residual")
        self._has_clusters, self._has_weights = config.clustering, config.weighting
        self._has_future_bias = config.future_bias
        self._clusters_items, self._pools_items = config.clusters_items, config.pools != "states"
        self._pools_both = config.pools == "both"
        self.reads_items = self._clusters_items or self._pools_items
        # Names and order are those of weights in models that were trained before.
        # LN2 has no offset: it adds the same to the scores of all prototypes, and
        # the softmax over prototypes does not see it.
        self._norms = [LayerNorm(center=i != 2, name=f"norm_{i}") for i in range(1, 6)]
        self._key = SlotDense(config.dim, activation="relu", name="key")
        if self._pools_items:
            self._item_norm = LayerNorm(name="norm_items")
        if self._clusters_items:
            self.num_prototypes = config.num_interests
            self._clusters = ItemClusters(config.num_interests, config.dim, name="clusters")

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates prototypes, position table and the two sets of biases."""
        if self._has_clusters and not self._clusters_items:
            self._prototypes = self._add_random_weight("prototypes")
        self._past_bias = self._future_bias = self._add_random_weight("past_bias")
        if self._has_future_bias:
            self._future_bias = self._add_random_weight("future_bias")
        if self._has_weights:
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

    def _extract_all(
        self, states: tf.Tensor, wanted: WantedPrefixes, item_vectors: tf.Tensor | None
    ) -> InterestOutput:
        values, shape = self._choose_values(states, item_vectors), tf.shape(states)
        clusters = self.cluster(states, item_vectors)
        if self._has_weights:
            placed = self._place(states, wanted.first_slots)
            scores = tf.matmul(self._queries(placed), self._keys(placed), transpose_b=True)
        else:
            scores = tf.zeros([shape[0], shape[1], shape[1]], states.dtype)
        attention = causal_softmax(scores / math.sqrt(self._dim), first_slots=wanted.first_slots)
        shares = clusters[:, :, :, tf.newaxis] * values[:, :, tf.newaxis, :]
        shares = tf.reshape(shares, [shape[0], shape[1], self.num_interests * self._dim])
        pooled = tf.matmul(attention, shares)
        weights = tf.matmul(attention, clusters)
        # Before the aggregation, which is the dearest part.
        pooled, weights, states = (wanted.choose(tensor) for tensor in (pooled, weights, states))
        leading = tf.shape(states)[:-1]
        pooled = tf.reshape(pooled, tf.concat([leading, [self.num_interests, self._dim]], axis=0))
        return InterestOutput(self._aggregate(pooled, states, wanted.is_future), weights)

    def _extract_at(
        self, states: tf.Tensor, wanted: WantedPrefixes, item_vectors: tf.Tensor | None
    ) -> InterestOutput:
        values = self._choose_values(states, item_vectors)
        clusters = self.cluster(states, item_vectors)
        if self._has_weights:
            placed = self._place(states)
            query = self._queries(tf.gather(placed, wanted.slots, batch_dims=1))[:, tf.newaxis, :]
            scores = tf.matmul(query, self._keys(placed), transpose_b=True)
        else:
            scores = tf.zeros([tf.shape(states)[0], 1, tf.shape(states)[1]], states.dtype)
        attention = prefix_softmax(scores / math.sqrt(self._dim), wanted.slots)
        # [batch, length, num_interests]: p(k|i) p(i|t)
        shares = clusters * tf.transpose(attention, [0, 2, 1])
        pooled = tf.matmul(shares, values, transpose_a=True)
        last = tf.gather(states, wanted.slots, batch_dims=1)
        return InterestOutput(
            self._aggregate(pooled, last, wanted.is_future), tf.reduce_sum(shares, 1)
        )

    def cluster(self, states: tf.Tensor, item_vectors: tf.Tensor | None = None) -> tf.Tensor:
        """p(k|i), `[batch, length, num_interests]`: how much a click belongs to a prototype."""
        if self._clusters_items:
            return tf.cast(self.route(item_vectors), states.dtype)
        if self._has_clusters:
            prototypes = self._norms[1](tf.convert_to_tensor(self._prototypes))
            return cluster_states(self._norms[0](states), prototypes)
        shape = [*tf.unstack(tf.shape(states)[:2]), self.num_interests]
        return tf.ones(shape, states.dtype) / self.num_interests

    def route(self, item_vectors: tf.Tensor) -> tf.Tensor:
        """`[..., dim]` -> `[..., num_interests]` float32, sum 1: prototypes of items."""
        return self._clusters(item_vectors)

    def fit_loss(self, item_vectors: tf.Tensor) -> tf.Tensor:
        """`[batch]` float, how far items are from the prototypes (`ItemClusters`)."""
        return self._clusters.fit_loss(item_vectors)

    def group(self, routes: tf.Tensor) -> tf.Tensor:
        """Every prototype is an interest."""
        return routes

    def _choose_values(self, states: tf.Tensor, item_vectors: tf.Tensor | None) -> tf.Tensor:
        """What is pooled, `[batch, length, dim]`."""
        if not self._pools_items:
            return states
        items = tf.cast(self._item_norm(item_vectors), states.dtype)
        return states + items if self._pools_both else items

    def _place(self, states: tf.Tensor, first_slots: tf.Tensor | None = None) -> tf.Tensor:
        """alpha_i + z_i, `[batch, length, dim]`."""
        return states + look_up_positions(self._positions, tf.shape(states)[1], first_slots)

    def _keys(self, placed: tf.Tensor) -> tf.Tensor:
        base = self._norms[2](placed)
        return base + self._key(base)

    def _queries(self, placed: tf.Tensor) -> tf.Tensor:
        return self._norms[3](placed + self._query_bias)

    def _aggregate(self, pooled: tf.Tensor, last: tf.Tensor, is_future: bool) -> tf.Tensor:
        """phi from pooled states `[..., num_interests, dim]` and last ones `[..., dim]`."""
        pooled += self._future_bias if is_future else self._past_bias
        return self._norms[4](self._residual(pooled, last))


def build_extractor(config: ModelConfig) -> InterestExtractor:
    """The extractor that `config.extractor` names."""
    if config.extractor == "last_state":
        return LastState(name="interests")
    extractors = {
        "self_attentive": SelfAttentiveInterests,
        "capsule": CapsuleInterests,
        "routing": RoutedInterests,
        "dssrec": DisentangledInterests,
    }
    return extractors[config.extractor](config, name="interests")
