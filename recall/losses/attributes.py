"""The loss that predicts values of features of an item, from a vector that stands for it."""

import math

import tensorflow as tf

from recall.losses.sampled_softmax import MASKED_LOGIT


def attribute_loss(
    vectors: tf.Tensor,
    own_vectors: tf.Tensor,
    own_weights: tf.Tensor,
    value_vectors: tf.Tensor,
    is_own: tf.Tensor | None = None,
    *,
    num_values: int,
    temperature: float,
) -> tf.Tensor:
    """Cross-entropy of the values of items, among all values or a sample.

    Those of a sample stand for all: each counts as many as there are for one that was drawn,
    and the values of the item itself are beside them.

    Args:
        vectors: `[n, dim]` float, that of an item or of who clicks it.
        own_vectors: `[n, num_slots, dim]` float, of the values that each item has.
        own_weights: `[n, num_slots]` float >= 0, how much each counts, 0 where there is none.
        value_vectors: `[num_candidates, dim]` float, of all values or of some drawn alike.
        is_own: `[n, num_candidates]` bool, where a drawn value is one of the item itself; None:
            `value_vectors` are all values.
        num_values: Values in all.
        temperature: Divides the products, > 0.

    Returns:
        `[n]` float >= 0; 0 of items without values.

    Reference:
        Zhou et al., "S3-Rec: Self-Supervised Learning for Sequential Recommendation with Mutual
        Information Maximization", CIKM 2020 (its loss of items and attributes). Jean et al., "On
        Using Very Large Target Vocabulary for Neural Machine Translation", ACL 2015 (the sample).

    >>> x, own = tf.constant([[1.0, 0.0]]), tf.constant([[[1.0, 0.0]]])
    >>> y, weights = tf.constant([[1.0, 0.0], [0.0, 1.0]]), tf.constant([[0.5]])
    >>> attribute_loss(x, own, weights, y, num_values=2, temperature=1.0).numpy().round(4)
    array([0.3133], dtype=float32)
    """
    logits = tf.matmul(vectors, value_vectors, transpose_b=True) / temperature
    # As a sum: for so few values of each item a product of matrices costs more.
    own_logits = tf.reduce_sum(own_vectors * vectors[:, tf.newaxis], axis=2) / temperature
    if is_own is not None:
        logits += math.log(num_values / value_vectors.shape[0])
        logits = tf.concat(
            [
                tf.where(is_own, MASKED_LOGIT, logits),
                tf.where(own_weights > 0, own_logits, MASKED_LOGIT),
            ],
            axis=1,
        )
    mass = tf.reduce_sum(own_weights, axis=1)
    wanted = tf.math.divide_no_nan(tf.reduce_sum(own_weights * own_logits, axis=1), mass)
    return tf.where(mass > 0, tf.reduce_logsumexp(logits, axis=1) - wanted, 0.0)
