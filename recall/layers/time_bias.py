"""How much a click counts by the time that has passed since."""

import tensorflow as tf

from recall.feature_columns.fitting import NUM_GAPS
from recall.feature_columns.times import gap_ranges

__all__ = ["NUM_GAPS", "gap_ranges"]


def gaps_of_slots(times: tf.Tensor) -> tf.Tensor:
    """The ranges of the gaps between each click and what came next.

    Args:
        times: `[batch, length, 2]` int seconds, of each click and of what came next (of the
            last one the request), 0 where they are not known.

    Returns:
        `[batch, length]` int32 of `gap_ranges`.
    """
    return gap_ranges(times[..., 1], times[..., 0])


def gaps_of_pairs(times: tf.Tensor) -> tf.Tensor:
    """The ranges of the gaps between each click and what came next after each other one.

    Args:
        times: As for `gaps_of_slots`.

    Returns:
        `[batch, length, length]` int32: row t has the gaps from all clicks to what came after
        click t, which is what slot t is asked for.

    Reference:
        Zhai et al., "Actions Speak Louder than Words", ICML 2024 (HSTU): there, too, a slot
        is at the time of the event that it predicts.
    """
    return gap_ranges(times[:, :, tf.newaxis, 1], times[:, tf.newaxis, :, 0])


def look_up_gaps(table: tf.Tensor, gaps: tf.Tensor, *, as_product: bool) -> tf.Tensor:
    """The rows of a table for ranges of gaps; nothing where a gap is not known.

    Args:
        table: `[NUM_GAPS, width]` float, of which row 0 is not read.
        gaps: `[...]` int32 of `gap_ranges`.
        as_product: Whether it is a product: its gradient is one too, where that of a gather
            would add all slots to the same few rows one after the other on a GPU.

    Returns:
        `[..., width]` float.
    """
    table = tf.convert_to_tensor(table)
    table *= tf.cast(tf.range(NUM_GAPS) > 0, table.dtype)[:, tf.newaxis]
    if not as_product:
        return tf.gather(table, gaps)
    one_hot = tf.one_hot(tf.reshape(gaps, [-1]), NUM_GAPS, dtype=table.dtype)
    shape = tf.concat([tf.shape(gaps), [table.shape[1]]], axis=0)
    return tf.reshape(tf.matmul(one_hot, table), shape)


def bias_of_pairs(table: tf.Tensor, gaps: tf.Tensor, *, as_product: bool) -> tf.Tensor:
    """What is added to the scores of pairs of slots.

    Args:
        table: `[NUM_GAPS, num_heads]` float.
        gaps: `[batch, length, length]` int32 of `gaps_of_pairs`.
        as_product: As in `look_up_gaps`.

    Returns:
        `[batch, num_heads, length, length]` float.
    """
    return tf.transpose(look_up_gaps(table, gaps, as_product=as_product), [0, 3, 1, 2])
