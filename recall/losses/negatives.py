"""Shared negatives of a training step."""

import tensorflow as tf

from recall.vocabulary import FIRST_ITEM_ID


def sample_uniform_negatives(num_items: int, num_negatives: int, seed: tf.Tensor) -> tf.Tensor:
    """Draws item ids uniformly, with replacement.

    The draw is a function of `seed` alone, so a resumed job draws what the
    uninterrupted one would have drawn.

    Args:
        num_items: Size of the catalogue.
        num_negatives: Ids to draw.
        seed: `[2]` int.

    Returns:
        `[num_negatives]` int64 dense ids.
    """
    return tf.random.stateless_uniform(
        [num_negatives], seed, FIRST_ITEM_ID, FIRST_ITEM_ID + num_items, tf.int64
    )


def find_accidental_hits(positive_ids: tf.Tensor, negative_ids: tf.Tensor) -> tf.Tensor:
    """`[num_positives, num_negatives]` bool, True where a negative is the positive."""
    # int32: the comparison is of all pairs, and 64-bit integers take twice the time.
    positive_ids, negative_ids = (tf.cast(ids, tf.int32) for ids in (positive_ids, negative_ids))
    return positive_ids[:, tf.newaxis] == negative_ids[tf.newaxis, :]
