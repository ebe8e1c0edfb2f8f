"""What a step draws, looks up and averages, on one replica or on several."""

from collections.abc import Sequence

import tensorflow as tf

from recall import replicas

ITEM_LOSS = "seq2item"
"""Name of the mean loss over clicks."""

LOSSES = ("loss", ITEM_LOSS, "seq2seq")
"""Those of every step; others are named by `RecallConfig.auxiliary_weights`."""


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


def report_names(losses: Sequence[str], num_interests: int) -> list[str]:
    """Names of what a step reports: losses, and with several interests `gradient_<k>`.

    >>> report_names(["loss"], 2)
    ['loss', 'gradient_0', 'gradient_1']
    """
    return [*losses, *(f"gradient_{k}" for k in range(num_interests) if num_interests > 1)]


def name_report(
    names: Sequence[str], losses: Sequence[tf.Tensor], squares: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Losses by name, and how much each interest learns: a starving one hardly does.

    Args:
        names: Of the losses.
        losses: As many.
        squares: `[num_interests]` float, squared norms of the total's gradients; of one
            interest there is nothing to compare.

    Returns:
        The losses, and `gradient_<k>`, the share of interest k in the norms.
    """
    num_interests = squares.shape[0]
    values = list(losses)
    if num_interests > 1:
        norms = tf.sqrt(squares)
        values += tf.unstack(tf.math.divide_no_nan(norms, tf.reduce_sum(norms)))
    return dict(zip(report_names(names, num_interests), values, strict=True))


def join_report(losses: Sequence[tf.Tensor], squares: tf.Tensor) -> tf.Tensor:
    """Both as one tensor, whose sum over all replicas `split_report` takes."""
    return tf.concat([tf.stack(list(losses)), squares], axis=0)


def split_report(report: tf.Tensor, num_losses: int) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Losses and squares."""
    return tf.unstack(report[:num_losses]), report[num_losses:]
