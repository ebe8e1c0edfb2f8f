"""Times as features: what has passed between two, and when in a day and a week one is."""

from collections.abc import Sequence

import tensorflow as tf

from recall.feature_columns.declaration import GAP, HOUR
from recall.feature_columns.fitting import MOST_GAP_BITS, ROWS_OF_PARTS

_UNKNOWN_TIME = 0
_HOUR_S, _DAY_S = 3600, 86_400
_THURSDAY = 3
"""1970-01-01, of days from Monday, 0."""


def gap_ranges(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """The range that the gap between two times falls into, by the number of its bits.

    Args:
        one: `[...]` int seconds, 0 where the time is not known.
        other: The same, broadcast to it.

    Returns:
        `[...]` int32 in [0, NUM_GAPS): 0 where one of the times is not known, else 1 plus the
        bits of the gap.

    >>> gap_ranges(tf.constant([9, 9, 9, 9, 0]), tf.constant([9, 10, 12, 13, 9])).numpy()
    array([1, 2, 3, 4, 0], dtype=int32)
    """
    gaps = tf.abs(one - other)
    powers = tf.constant([1 << bit for bit in range(MOST_GAP_BITS)], gaps.dtype)
    bits = tf.searchsorted(powers, tf.reshape(gaps, [-1]), side="right")
    is_known = (one != _UNKNOWN_TIME) & (other != _UNKNOWN_TIME)
    return tf.where(is_known, 1 + tf.reshape(bits, tf.shape(gaps)), 0)


def pair_with_before(times: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Times of events, and of the one before each in its row.

    Args:
        times: `[n]` int seconds, row after row.
        rows: `[n]` int, the row of each.

    Returns:
        `[n, 2]`; the first one of a row has none before it, 0.

    >>> pair_with_before(tf.constant([5, 6, 9]), tf.constant([0, 0, 1])).numpy().tolist()
    [[5, 0], [6, 5], [9, 0]]
    """
    before = tf.pad(times, [[1, 0]])[:-1]
    is_same = rows == tf.pad(rows, [[1, 0]], constant_values=-1)[:-1]
    return tf.stack([times, before * tf.cast(is_same, times.dtype)], axis=1)


def rows_of_times(parts: Sequence[str], times: tf.Tensor) -> tf.Tensor:
    """Rows of the parts of times, those of the second behind those of the first and so on.

    Args:
        parts: Of `TIME_PARTS`.
        times: `[n, 2]` int64 seconds since 1970, of each event and of the one before it; 0
            where one is not known.

    Returns:
        `[n, len(parts)]` int32 from 0, -1 where a part is not known.

    >>> friday_9_am = 1_704_445_261
    >>> times = tf.constant([[friday_9_am, 0], [0, friday_9_am]], tf.int64)
    >>> rows_of_times(["hour", "weekday"], times).numpy()
    array([[ 9, 28],
           [-1, -1]], dtype=int32)
    """
    time, first, rows = times[:, 0], 0, []
    for part in parts:
        if part == GAP:
            gaps = gap_ranges(time, times[:, 1])
            own = tf.where(gaps == 0, -1, gaps)
        elif part == HOUR:
            own = time // _HOUR_S % ROWS_OF_PARTS[part]
        else:
            own = (time // _DAY_S + _THURSDAY) % ROWS_OF_PARTS[part]
        own = tf.cast(own, tf.int32)
        is_known = (time != _UNKNOWN_TIME) & (own >= 0)
        rows.append(tf.where(is_known, own + first, -1))
        first += ROWS_OF_PARTS[part]
    return tf.stack(rows, axis=1)
