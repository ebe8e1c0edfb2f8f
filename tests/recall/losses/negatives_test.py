"""Shared negatives: range, distribution, reproducibility and accidental hits."""

import numpy as np
import tensorflow as tf

from recall.losses.negatives import find_accidental_hits, sample_uniform_negatives


def test_every_item_is_drawn_equally_often_and_nothing_else():
    ids = sample_uniform_negatives(5, 20_000, tf.constant([1, 2])).numpy()

    assert ids.dtype == np.int64
    # Five items have the dense ids 2 to 6; 0 is padding, 1 the unknown item.
    found, counts = np.unique(ids, return_counts=True)
    np.testing.assert_array_equal(found, [2, 3, 4, 5, 6])
    # 4,000 each, standard deviation sqrt(20000 * .2 * .8) = 57; five of them.
    assert np.abs(counts - 4000).max() < 285


def test_the_draw_is_a_function_of_the_seed_alone():
    tf.random.set_seed(1)
    first = sample_uniform_negatives(1000, 50, tf.constant([3, 4], tf.int64)).numpy()
    tf.random.set_seed(2)
    again = sample_uniform_negatives(1000, 50, tf.constant([3, 4], tf.int64)).numpy()
    other = sample_uniform_negatives(1000, 50, tf.constant([3, 6], tf.int64)).numpy()

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_accidental_hits_by_hand():
    positives = tf.constant([5, 2, 9], tf.int64)
    negatives = tf.constant([2, 5, 5, 3], tf.int64)

    np.testing.assert_array_equal(
        find_accidental_hits(positives, negatives),
        [
            [False, True, True, False],
            [True, False, False, False],
            [False, False, False, False],
        ],
    )
