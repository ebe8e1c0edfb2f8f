"""Negatives that belong to one click: items that were shown before it and not clicked."""

import tensorflow as tf

from recall.losses.sampled_softmax import MASKED_LOGIT


def logsumexp_of_own(
    user_vectors: tf.Tensor,
    own_vectors: tf.Tensor,
    own_mask: tf.Tensor,
    interest_mask: tf.Tensor | None = None,
    *,
    temperature: float,
    interest_reduction: str = "max",
) -> tf.Tensor:
    """Log of the summed exponentials of the logits of each user's own negatives.

    Args:
        user_vectors: `[batch, num_interests, dim]` float.
        own_vectors: `[batch, num_own, dim]` float, row i belongs to user i.
        own_mask: `[batch, num_own]` bool, False where there is no negative.
        interest_mask: `[batch, num_interests]` bool, the interests that take part; None: all.
        temperature: Divides the scores, > 0.
        interest_reduction: `max`, the best interest of each negative, or `sum`, all of them.

    Returns:
        `[batch]` float; -1e9 where a user has none.

    >>> x, own = tf.constant([[[1.0, 0.0]]]), tf.constant([[[1.0, 0.0], [0.0, 1.0]]])
    >>> logsumexp_of_own(x, own, tf.constant([[True, True]]), temperature=1.0).numpy().round(4)
    array([1.3133], dtype=float32)
    """
    logits = tf.matmul(user_vectors, own_vectors, transpose_b=True) / temperature
    if interest_mask is not None:
        logits = tf.where(interest_mask[:, :, tf.newaxis], logits, MASKED_LOGIT)
    if interest_reduction != "sum":
        logits = tf.reduce_max(logits, axis=1, keepdims=True)
    logits = tf.where(own_mask[:, tf.newaxis, :], logits, MASKED_LOGIT)
    return tf.maximum(tf.reduce_logsumexp(logits, axis=[1, 2]), MASKED_LOGIT)
