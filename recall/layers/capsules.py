"""Interests by dynamic routing: capsules (MIND, ComiRec-DR)."""

import numpy as np
import tensorflow as tf

from recall.config import ModelConfig
from recall.layers.attention import look_up_positions
from recall.layers.dense import SlotDense
from recall.layers.extractor import InterestExtractor, InterestOutput, WantedPrefixes

_NUM_ITERATIONS = 3
"""Of the routing, as in MIND and ComiRec."""

_LOGITS_SEED = 1
"""Of the first logits: the same in every model, so that one needs not keep them."""

_SMALLEST_SQUARE = 1e-9
"""Added to squared lengths, whose root has no slope at 0."""


def draw_first_logits(max_length: int, num_interests: int) -> np.ndarray:
    """`[max_length, num_interests]` float32 from N(0, 1), the same at every call."""
    rng = np.random.default_rng(_LOGITS_SEED)
    return rng.standard_normal([max_length, num_interests], np.float32)


def squash(vectors: tf.Tensor) -> tf.Tensor:
    """Shortens `[..., dim]` vectors v to |v| / (1 + |v|^2) v, whose length is below 1.

    >>> squash(tf.constant([[0.0, 3.0]])).numpy().round(4)
    array([[0. , 0.9]], dtype=float32)
    """
    squares = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors * tf.sqrt(squares + _SMALLEST_SQUARE) / (1 + squares)


class CapsuleInterests(InterestExtractor):
    """Clicks are routed to capsules by how well they agree (MIND, ComiRec-DR).

    With e_i = S z_i, the same bilinear map S for every capsule (behaviour to interest),
    and b_ik, at first a fixed random number of slot i and capsule k, three times:

        shares      w_ik = softmax_k( b_ik )
        capsules    v_k(t) = squash( sum_{i<=t} w_ik e_i )
        agreement   b_ik += v_k(t) . e_i

    Without the random numbers all capsules would be alike. A prefix is routed by its own
    clicks alone: b has an entry for every prefix, and the capsules of all prefixes of a
    sequence still come from a few products. The gradient passes the last capsules and not
    the shares, as in the code of both articles.

    Reference:
        Li et al., "Multi-Interest Network with Dynamic Routing for Recommendation at
        Tmall", CIKM 2019, section 3.3 (MIND); Cen et al., "Controllable Multi-Interest
        Framework for Recommendation", KDD 2020, equations 7 to 9 (ComiRec-DR). MIND's
        number of capsules by the length of the history is left out.
    """

    def __init__(self, config: ModelConfig, **kwargs):
        """Creates the extractor of `config.num_interests` interests."""
        super().__init__(**kwargs)
        self.num_interests = config.num_interests
        self._bilinear = SlotDense(config.dim, use_bias=False, name="bilinear")
        self._first_logits = draw_first_logits(config.max_history_length, config.num_interests)

    def _extract_all(
        self, states: tf.Tensor, wanted: WantedPrefixes, item_vectors: tf.Tensor | None
    ) -> InterestOutput:
        del item_vectors
        length = tf.shape(states)[1]
        slots = tf.range(length)
        is_seen = (slots <= slots[:, tf.newaxis])[tf.newaxis]
        logits = look_up_positions(tf.constant(self._first_logits), length, wanted.first_slots)
        if wanted.first_slots is None:
            logits = logits[tf.newaxis]
        else:
            is_seen &= slots >= wanted.first_slots[:, :, tf.newaxis]
        vectors, weights = self._route(states, logits, is_seen)
        return InterestOutput(wanted.choose(vectors), wanted.choose(weights))

    def _extract_at(
        self, states: tf.Tensor, wanted: WantedPrefixes, item_vectors: tf.Tensor | None
    ) -> InterestOutput:
        del item_vectors
        length = tf.shape(states)[1]
        is_seen = tf.range(length) <= tf.cast(wanted.slots, tf.int32)[:, tf.newaxis]
        logits = tf.constant(self._first_logits)[:length]
        vectors, weights = self._route(states, logits[tf.newaxis], is_seen[:, tf.newaxis])
        return InterestOutput(vectors[:, 0], weights[:, 0])

    def _route(
        self, states: tf.Tensor, first_logits: tf.Tensor, is_seen: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Capsules of some prefixes of every history.

        Args:
            states: `[batch, length, dim]` float.
            first_logits: `[batch or 1, length, num_interests]` float.
            is_seen: `[batch or 1, num_prefixes, length]` bool, the slots of each prefix.

        Returns:
            `[batch, num_prefixes, num_interests, dim]` capsules and `[batch,
            num_prefixes, num_interests]` mean shares of the clicks.
        """
        behaviours = tf.cast(self._bilinear(states), tf.float32)
        frozen = tf.stop_gradient(behaviours)
        shape, num_prefixes = tf.shape(states), tf.shape(is_seen)[1]
        # Interests before slots: both products are then plain ones for each history.
        by_slot = [shape[0], num_prefixes, self.num_interests, shape[1]]
        is_seen = tf.cast(is_seen, tf.float32)[:, :, tf.newaxis, :]
        logits = tf.transpose(first_logits, [0, 2, 1])[:, tf.newaxis]
        logits = tf.broadcast_to(logits, by_slot)
        flat = [shape[0], num_prefixes * self.num_interests, shape[1]]
        for iteration in range(_NUM_ITERATIONS):
            shares = tf.nn.softmax(logits, axis=2) * is_seen
            is_last = iteration == _NUM_ITERATIONS - 1
            sums = tf.matmul(tf.reshape(shares, flat), behaviours if is_last else frozen)
            if not is_last:
                agreement = tf.matmul(squash(sums), frozen, transpose_b=True)
                logits += tf.reshape(agreement, by_slot)
        capsules = tf.reshape(squash(sums), [*by_slot[:3], states.shape[-1]])
        weights = tf.reduce_sum(shares, axis=3) / tf.reduce_sum(is_seen, axis=3)
        return capsules, weights
