"""Parsing of training examples: exact padded matrices."""

import numpy as np
import tensorflow as tf

from recall.features import SequenceBatch, parse_sequences


def serialize(item_ids, **others):
    lists = {"item_ids": item_ids, **others}
    feature = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=ids))
        for name, ids in lists.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def test_a_batch_is_as_wide_as_its_longest_sequence():
    batch = parse_sequences(tf.constant([serialize([5, 6]), serialize([7, 8, 9, 2])]))

    np.testing.assert_array_equal(batch.item_ids, [[5, 6, 0, 0], [7, 8, 9, 2]])
    assert batch.item_ids.dtype == tf.int64


def test_inputs_and_targets_are_one_slot_apart():
    batch = SequenceBatch(tf.constant([[5, 6, 0, 0], [7, 8, 9, 2]], tf.int64))

    np.testing.assert_array_equal(batch.history_ids, [[5, 6, 0], [7, 8, 9]])
    np.testing.assert_array_equal(batch.positive_ids, [[6, 0, 0], [8, 9, 2]])


def test_other_features_are_ignored():
    batch = parse_sequences(tf.constant([serialize([5, 6], context=[1, 2, 3])]))

    np.testing.assert_array_equal(batch.item_ids, [[5, 6]])
