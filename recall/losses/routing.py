"""Auxiliary losses of items that are routed to prototypes (Multi-CLRec).

After the three of the article's code, which it gives equal weights.
"""

import tensorflow as tf

_SHARP = 0.95
"""A largest share above it is sharp enough, as in the article's code."""

_TINY = 1e-12
"""Smallest share whose logarithm is taken."""


def balance_loss(routes: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """Against dead prototypes: how far their shares of the clicks are below equal ones.

    (1/H) sum_h max(0, log(1/H) - log(mean_i p(h|i))), the part of the divergence of equal
    shares from those of the step that prototypes with too few clicks make.

    Args:
        routes: `[batch, num_prototypes]` float, p(h|i) of the clicks of a step.
        weights: `[batch]` float, how much each click counts, or bool, False where there is
            none; None: all alike.

    Returns:
        Scalar, >= 0; 0 where no prototype has less than its equal share.

    >>> float(balance_loss(tf.constant([[1.0, 0.0], [0.0, 1.0]])))
    0.0
    """
    if weights is None:
        shares = tf.reduce_mean(routes, axis=0)
    else:
        weights = tf.cast(weights, routes.dtype)
        total = tf.reduce_sum(routes * weights[:, tf.newaxis], axis=0)
        shares = tf.math.divide_no_nan(total, tf.reduce_sum(weights))
    num_prototypes = tf.cast(tf.shape(routes)[1], routes.dtype)
    missing = tf.nn.relu(-tf.math.log(num_prototypes) - tf.math.log(shares + _TINY))
    return tf.reduce_mean(missing)


def sharpness_loss(routes: tf.Tensor) -> tf.Tensor:
    """Against items that belong to several prototypes: -log max_h p(h|i), 0 above .95.

    Args:
        routes: `[batch, num_prototypes]` float, p(h|i) of the clicks of a step.

    Returns:
        `[batch]` float, >= 0, unreduced.

    >>> sharpness_loss(tf.constant([[0.5, 0.5], [0.96, 0.04]])).numpy().round(4)
    array([0.6931, 0.    ], dtype=float32)
    """
    largest = tf.reduce_max(routes, axis=1)
    return tf.where(largest > _SHARP, 0.0, -tf.math.log(largest))


def semantic_loss(
    user_vectors: tf.Tensor,
    positive_vectors: tf.Tensor,
    interest_shares: tf.Tensor,
    *,
    temperature: float,
) -> tf.Tensor:
    """Against interests that are alike: the click should be nearest to the one it is routed to.

    -sum_k p(k|i) log softmax_k( phi_k . h_i / temperature ). The article takes its heads,
    one per prototype; here it is the interests themselves, which are what is searched for.

    Args:
        user_vectors: `[batch, num_interests, dim]` float.
        positive_vectors: `[batch, dim]` float, row i is the click of user i.
        interest_shares: `[batch, num_interests]` float, p(k|i) of the clicks, sum 1.
        temperature: Divides the scores, > 0.

    Returns:
        `[batch]` float, >= 0, unreduced.
    """
    scores = tf.reduce_sum(user_vectors * positive_vectors[:, tf.newaxis, :], axis=2)
    return -tf.reduce_sum(interest_shares * tf.nn.log_softmax(scores / temperature), axis=1)
