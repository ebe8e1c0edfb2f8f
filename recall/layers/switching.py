"""Interests that are switched off for a user: K by user."""

import tensorflow as tf


def switch_off(weights: tf.Tensor, min_weight: float) -> tf.Tensor:
    """Weights of the interests that are left, 0 for those that are switched off.

    Args:
        weights: `[..., num_interests]` float, >= 0, sum 1.
        min_weight: Below it an interest is switched off, the strongest never.

    Returns:
        `[..., num_interests]` float, sum 1.

    >>> switch_off(tf.constant([[0.5, 0.375, 0.125], [1.0, 0.0, 0.0]]), 0.25).numpy().round(4)
    array([[0.5714, 0.4286, 0.    ],
           [1.    , 0.    , 0.    ]], dtype=float32)
    """
    strongest = tf.reduce_max(weights, axis=-1, keepdims=True)
    kept = tf.where((weights >= min_weight) | (weights == strongest), weights, 0.0)
    return kept / tf.reduce_sum(kept, axis=-1, keepdims=True)


def repeat_strongest(vectors: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """The vectors, but for an interest that is switched off that of the strongest one.

    The best score of an item under all of them is then the best under those that are left,
    for whoever searches with all rows.

    Args:
        vectors: `[batch, num_interests, dim]` float.
        weights: `[batch, num_interests]` float, of `switch_off`.
    """
    strongest = tf.gather(vectors, tf.argmax(weights, axis=1), batch_dims=1)
    return tf.where(weights[:, :, tf.newaxis] > 0, vectors, strongest[:, tf.newaxis, :])
