"""Every interest learns from some of the clicks."""

import tensorflow as tf

from recall.losses.largest import mark_largest

_OFF = -1e9
"""Score of an interest that is switched off: below every other."""


def assign_starving_interests(
    user_vectors: tf.Tensor,
    positive_vectors: tf.Tensor,
    min_share: float,
    is_real: tf.Tensor | None = None,
    is_active: tf.Tensor | None = None,
) -> tf.Tensor:
    """Gives an interest that wins too few clicks those that it comes nearest to.

    Only the best interest of a click learns from it and is the best more often for
    it, so that on some logs one interest wins nearly all clicks and the others
    starve (measured, TRIALS.md). An interest that wins less than the share
    `min_share` of the batch also gets the clicks that it loses by the least, up to
    that share, and serves them alone. Where several want the same click, the
    nearest of them gets it.

    Args:
        user_vectors: `[batch, num_interests, dim]` float.
        positive_vectors: `[batch, dim]` float, row i belongs to user i.
        min_share: In [0, 1 / num_interests]; 0 hides nothing.
        is_real: `[batch]` bool, False where there is no click; None: everywhere is one.
        is_active: `[batch, num_interests]` bool, False where an interest is switched off,
            which gets no click; None: nowhere.

    Returns:
        `[batch, num_interests]` bool, False where the interest is hidden: none of a
        row, or all but one, and those that are switched off.
    """
    scores = _scores(user_vectors, positive_vectors)
    num_interests = user_vectors.shape[1]
    if is_active is not None:
        scores = tf.where(is_active, scores, _OFF)
    best = tf.math.top_k(scores, k=2).values
    winner = tf.argmax(scores, axis=1)
    is_winner = tf.one_hot(winner, num_interests, True, False, dtype=tf.bool)
    # Above the best of the other interests, so negative where the click is lost.
    leads = scores - tf.where(is_winner, best[:, 1:], best[:, :1])
    num_clicks = tf.cast(tf.shape(scores)[0], tf.float32)
    if is_real is not None:
        num_clicks = tf.reduce_sum(tf.cast(is_real, tf.float32))
        leads = tf.where(is_real[:, tf.newaxis], leads, leads.dtype.min)
    is_wanted = mark_largest(leads, tf.cast(min_share * num_clicks, tf.int32))
    if is_active is not None:
        is_wanted &= is_active
    nearest = tf.argmax(tf.where(is_wanted, leads, leads.dtype.min), axis=1)
    is_given = tf.reduce_any(is_wanted, axis=1) & (nearest != winner)
    is_nearest = tf.one_hot(nearest, num_interests, True, False, dtype=tf.bool)
    is_shown = is_nearest | ~is_given[:, tf.newaxis]
    return is_shown if is_active is None else is_shown & is_active


def find_winners(
    user_vectors: tf.Tensor, positive_vectors: tf.Tensor, interest_mask: tf.Tensor | None
) -> tf.Tensor:
    """The interest that each click belongs to: its best one of those that are not hidden.

    Args:
        user_vectors: `[batch, num_interests, dim]` float.
        positive_vectors: `[batch, dim]` float, row i belongs to user i.
        interest_mask: `[batch, num_interests]` bool of `assign_starving_interests`;
            None hides nothing.

    Returns:
        `[batch]` int64.
    """
    scores = _scores(user_vectors, positive_vectors)
    if interest_mask is not None:
        scores = tf.where(interest_mask, scores, scores.dtype.min)
    return tf.argmax(scores, axis=1)


def _scores(user_vectors: tf.Tensor, positive_vectors: tf.Tensor) -> tf.Tensor:
    """`[batch, num_interests]` inner products of each click with every interest."""
    return tf.reduce_sum(user_vectors * positive_vectors[:, tf.newaxis, :], axis=2)
