"""The largest of some values, without their order."""

import tensorflow as tf


def mark_largest(values: tf.Tensor, num_marked: tf.Tensor) -> tf.Tensor:
    """Marks the largest values of every column.

    One sort of values, where ranks would take two of values and places: sorting is the
    dearest thing that a GPU does in a step.

    Args:
        values: `[num_values, ...]` float.
        num_marked: Scalar int, at most `num_values`; values of a column that are marked.

    Returns:
        `[num_values, ...]` bool; of equal values the earlier one is marked.

    >>> mark_largest(tf.constant([3.0, 1.0, 3.0, 3.0, 5.0]), 3).numpy()
    array([ True, False,  True, False,  True])
    """
    descending = tf.sort(values, axis=0, direction="DESCENDING")
    is_first = tf.range(tf.shape(values)[0]) < num_marked
    for _ in range(values.shape.rank - 1):
        is_first = is_first[:, tf.newaxis]
    # Of no values it is the largest number, and nothing is marked.
    smallest = tf.reduce_min(tf.where(is_first, descending, values.dtype.max), axis=0)
    is_above = values > smallest
    is_equal = tf.cast(values == smallest, tf.int32)
    num_equal = num_marked - tf.reduce_sum(tf.cast(is_above, tf.int32), axis=0)
    return is_above | ((is_equal > 0) & (tf.cumsum(is_equal) <= num_equal))
