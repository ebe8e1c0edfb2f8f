"""Interests of one user that point in different directions."""

import tensorflow as tf

_SMALLEST_SQUARE = 1e-12
"""Below it a vector is taken for zero."""


def overlap_loss(user_vectors: tf.Tensor) -> tf.Tensor:
    """Mean squared cosine between the interests of a user, over all pairs.

    Args:
        user_vectors: `[batch, num_interests, dim]` float, of two interests at least.

    Returns:
        `[batch]` float in [0, 1], unreduced; 0 where all interests are orthogonal.

    >>> overlap_loss(tf.constant([[[1.0, 0.0], [3.0, 3.0]]])).numpy().round(4)
    array([0.5], dtype=float32)
    """
    unit = tf.math.l2_normalize(user_vectors, axis=2, epsilon=_SMALLEST_SQUARE)
    squares = tf.square(tf.matmul(unit, unit, transpose_b=True))
    num_interests = user_vectors.shape[1]
    off_diagonal = 1 - tf.eye(num_interests, dtype=squares.dtype)
    num_pairs = num_interests * (num_interests - 1)
    return tf.reduce_sum(squares * off_diagonal, axis=[1, 2]) / num_pairs
