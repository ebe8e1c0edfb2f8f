"""No interest takes all of the clicks."""

import tensorflow as tf


def draw_interest_mask(
    user_vectors: tf.Tensor, positive_vectors: tf.Tensor, max_share: float, seed: tf.Tensor
) -> tf.Tensor:
    """Hides an interest from some of its clicks where it wins too many of them.

    Only the best interest of a click learns from it and is the best more often for
    it, so that on some logs one interest wins nearly all clicks and the others
    starve (measured, TRIALS.md). An interest that wins the share s
    of the batch is hidden from each of these clicks with the probability
    1 - max_share / s; the others then have to serve them.

    Args:
        user_vectors: `[batch, num_interests, dim]` float.
        positive_vectors: `[batch, dim]` float, row i belongs to user i.
        max_share: Largest share of the clicks that stays with one interest, in
            expectation; in (0, 1], 1 hides nothing.
        seed: `[2]` int; the draw is a function of it and the winners alone.

    Returns:
        `[batch, num_interests]` bool, False where the interest is hidden: at most
        one of a row, none where there is only one.
    """
    num_interests = user_vectors.shape[1]
    if num_interests == 1:
        return tf.ones(tf.shape(user_vectors)[:2], bool)
    scores = tf.reduce_sum(user_vectors * positive_vectors[:, tf.newaxis, :], axis=2)
    is_winner = tf.one_hot(tf.argmax(scores, axis=1), num_interests)
    shares = tf.reduce_mean(is_winner, axis=0)
    chances = is_winner * tf.maximum(1 - tf.math.divide_no_nan(max_share, shares), 0.0)
    uniform = tf.random.stateless_uniform(tf.shape(chances), seed)
    return uniform >= chances
