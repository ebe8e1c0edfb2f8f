"""What a step draws, looks up and averages, on one replica or on several."""

import tensorflow as tf

from recall import replicas


def uniform(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Floats in [0, 1) from 24 random bits each.

    TensorFlow's own are others in a compiled step; its integers are the same in both.
    """
    words = tf.random.stateless_uniform(shape, seed, None, None, tf.int32)
    return tf.cast(tf.bitwise.bitwise_and(words, 2**24 - 1), tf.float32) / 2**24


def gather_slots(vectors: tf.Tensor, slots: tf.Tensor) -> tf.Tensor:
    """The vectors of some slots; beyond the last one, those of another.

    Args:
        vectors: `[num_slots, num_interests, dim]` float.
        slots: `[num_sequences]` int, of sequences that may be empty.

    Returns:
        `[num_sequences, num_interests, dim]` float.
    """
    last = tf.shape(vectors)[0] - 1
    if replicas.count() > 1 and vectors.shape[0] is None:  # A replica may have no slot at all.
        vectors, last = tf.pad(vectors, [[0, 1], [0, 0], [0, 0]]), tf.maximum(last, 0)
    return tf.gather(vectors, tf.minimum(slots, last))


def share_of_mean(losses: tf.Tensor, is_real: tf.Tensor | None) -> tf.Tensor:
    """Sum of the losses of this replica, divided by how many all replicas have.

    Of one replica it is the mean.

    Args:
        losses: `[num_slots]` float.
        is_real: `[num_slots]` bool, False where a slot is padding; None: nowhere.
    """
    if is_real is None:
        if replicas.count() == 1:
            return tf.reduce_mean(losses)
        num_slots = replicas.sum_over_all(tf.cast(tf.size(losses), losses.dtype))
        return tf.math.divide_no_nan(tf.reduce_sum(losses), num_slots)
    weights = tf.cast(is_real, losses.dtype)
    num_slots = replicas.sum_over_all(tf.reduce_sum(weights))
    return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), num_slots)


def report(
    losses: dict[str, tf.Tensor], vector_gradient: tf.Tensor, num_interests: int
) -> dict[str, tf.Tensor]:
    """Losses over all replicas, and how much each interest learns: a starving one hardly does.

    Args:
        losses: Name -> this replica's share of the loss.
        vector_gradient: `[num_slots, num_interests, dim]` float, of the total.
        num_interests: With one there is nothing to compare.

    Returns:
        The losses, and `gradient_<k>`, the share of interest k in the norms of the gradients.
    """
    squares = tf.reduce_sum(tf.square(vector_gradient), axis=[0, 2])
    if replicas.count() > 1:  # In one exchange.
        sums = replicas.sum_over_all(tf.concat([tf.stack(list(losses.values())), squares], axis=0))
        squares = sums[len(losses) :]
        losses = dict(zip(losses, tf.unstack(sums[: len(losses)]), strict=True))
    if num_interests == 1:
        return losses
    norms = tf.sqrt(squares)
    shares = tf.math.divide_no_nan(norms, tf.reduce_sum(norms))
    return losses | {f"gradient_{k}": share for k, share in enumerate(tf.unstack(shares))}
