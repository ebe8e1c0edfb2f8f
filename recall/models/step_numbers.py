"""What a step draws, looks up and averages, on one replica or on several."""

from collections.abc import Sequence

import tensorflow as tf

from recall import replicas

LOSSES = ("loss", "seq2item", "seq2seq")


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


def share_of_mean(losses: tf.Tensor, weights: tf.Tensor | None) -> tf.Tensor:
    """Sum of the losses of this replica, divided by how many all replicas have.

    Of one replica it is the mean; with weights that of losses as often as they say.

    Args:
        losses: `[num_slots]` float.
        weights: `[num_slots]` float, or bool, False where a slot is padding; None: all 1.
    """
    if weights is None:
        if replicas.count() == 1:
            return tf.reduce_mean(losses)
        num_slots = replicas.total("clicks", tf.cast(tf.size(losses), losses.dtype))
        return tf.math.divide_no_nan(tf.reduce_sum(losses), num_slots)
    weights = tf.cast(weights, losses.dtype)
    num_slots = replicas.total("clicks", tf.reduce_sum(weights))
    return tf.math.divide_no_nan(tf.reduce_sum(losses * weights), num_slots)


def name_report(
    losses: Sequence[tf.Tensor], squares: tf.Tensor, num_interests: int
) -> dict[str, tf.Tensor]:
    """Losses by name, and how much each interest learns: a starving one hardly does.

    Args:
        losses: The total, seq2item and seq2seq.
        squares: `[num_interests]` float, squared norms of the total's gradients.
        num_interests: With one there is nothing to compare.

    Returns:
        `loss`, `seq2item`, `seq2seq`, and `gradient_<k>`, the share of interest k in the norms.
    """
    named = dict(zip(LOSSES, losses, strict=True))
    if num_interests == 1:
        return named
    norms = tf.sqrt(squares)
    shares = tf.math.divide_no_nan(norms, tf.reduce_sum(norms))
    return named | {f"gradient_{k}": share for k, share in enumerate(tf.unstack(shares))}


def join_report(losses: Sequence[tf.Tensor], squares: tf.Tensor) -> tf.Tensor:
    """Both as one tensor, whose sum over all replicas `split_report` takes."""
    return tf.concat([tf.stack(list(losses)), squares], axis=0)


def split_report(report: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Losses and squares."""
    return tf.unstack(report[: len(LOSSES)]), report[len(LOSSES) :]
