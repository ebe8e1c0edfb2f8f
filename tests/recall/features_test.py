"""Parsing of training examples: exact padded matrices."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from recall.features import SequenceBatch, Shift, parse_sequences


def serialize(item_ids, **others):
    lists = {"item_ids": item_ids, **others}
    feature = {
        name: tf.train.Feature(int64_list=tf.train.Int64List(value=ids))
        for name, ids in lists.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def test_a_batch_is_as_wide_as_its_longest_sequence():
    batch = parse_sequences(tf.constant([serialize([5, 6]), serialize([7, 8, 9, 2])]), 50)

    np.testing.assert_array_equal(batch.item_ids, [[5, 6, 0, 0], [7, 8, 9, 2]])
    assert batch.item_ids.dtype == tf.int64


def test_inputs_and_targets_are_one_slot_apart():
    batch = SequenceBatch(tf.constant([[5, 6, 0, 0], [7, 8, 9, 2]], tf.int64))

    np.testing.assert_array_equal(batch.history_ids, [[5, 6, 0], [7, 8, 9]])
    np.testing.assert_array_equal(batch.positive_ids, [[6, 0, 0], [8, 9, 2]])


@pytest.mark.parametrize(
    ("max_history_length", "expected"),
    [
        (1, [[5, 6], [9, 2]]),
        (2, [[5, 6, 0], [8, 9, 2]]),
        (3, [[5, 6, 0, 0], [7, 8, 9, 2]]),
    ],
)
def test_the_newest_items_are_kept(max_history_length, expected):
    serialized = tf.constant([serialize([5, 6]), serialize([7, 8, 9, 2])])

    np.testing.assert_array_equal(
        parse_sequences(serialized, max_history_length).item_ids, expected
    )


LENGTH, EVENTS = 4, list(range(2, 12))
"""A history of ten events, of which a model reads four: the windows 2-3, 3-7 and 7-11."""
LONG_HISTORY = [
    serialize([2, 3], shift=[Shift.WINDOW]),
    serialize([3, 4, 5, 6, 7], earlier_ids=[2], shift=[Shift.WINDOW]),
    serialize([7, 8, 9, 10, 11], earlier_ids=[3, 4, 5, 6], shift=[Shift.WINDOW]),
    serialize([7, 8, 9, 10, 11], shift=[Shift.TAIL]),
]


def shift_many_times(example, num_times):
    batch = parse_sequences(tf.constant([example] * num_times), LENGTH, tf.constant([3, 4]))
    return [row[row > 0].tolist() for row in batch.item_ids.numpy()]


def test_a_window_moves_by_every_step_alike():
    """The ends of 2,000 windows: 500 each, give or take four standard deviations of 19."""
    sequences = shift_many_times(LONG_HISTORY[2], 2000)

    expected = ([7, 8, 9, 10, 11], [6, 7, 8, 9, 10], [5, 6, 7, 8, 9], [4, 5, 6, 7, 8])
    for sequence in expected:
        assert sequences.count(sequence) == pytest.approx(500, abs=77)
    assert sum(map(sequences.count, expected)) == 2000


def test_a_tail_is_what_a_shift_cut_off():
    """Never less than one click to predict, so that the shortest is drawn twice as often."""
    sequences = shift_many_times(LONG_HISTORY[3], 2000)

    assert sequences.count([10, 11]) == pytest.approx(1000, abs=90)
    assert sequences.count([9, 10, 11]) == pytest.approx(500, abs=77)
    assert sequences.count([8, 9, 10, 11]) == pytest.approx(500, abs=77)


def test_every_click_of_a_long_history_is_predicted_once_in_expectation():
    predicted, longest = Counter(), Counter()
    for example in LONG_HISTORY:
        for sequence in shift_many_times(example, 2000):
            predicted.update(sequence[1:])
            for past, item in enumerate(sequence[1:], start=1):
                longest[item] = max(longest[item], past)

    # Windows are left with one click at least: the first one for certain, beside the three
    # of four shifts of the second window; the last one for one more shift of the tail.
    assert predicted[3] / 2000 == pytest.approx(1.75, abs=0.05)
    assert predicted[11] / 2000 == pytest.approx(1.25, abs=0.05)
    for item in EVENTS[2:-1]:
        assert predicted[item] / 2000 == pytest.approx(1, abs=0.05), item
        assert longest[item] == min(item - EVENTS[0], LENGTH)


def test_without_a_seed_and_without_a_shift_nothing_moves():
    serialized = tf.constant(LONG_HISTORY[1:3])
    np.testing.assert_array_equal(
        parse_sequences(serialized, LENGTH).item_ids, [[3, 4, 5, 6, 7], [7, 8, 9, 10, 11]]
    )
    unmoved = tf.constant([serialize([7, 8, 9, 10, 11])] * 50)
    batch = parse_sequences(unmoved, LENGTH, tf.constant([3, 4]))
    np.testing.assert_array_equal(batch.item_ids, [[7, 8, 9, 10, 11]] * 50)


def test_the_shift_is_a_function_of_the_seed():
    serialized = tf.constant([LONG_HISTORY[2]] * 50)

    def parse(*seed):
        return parse_sequences(serialized, LENGTH, tf.constant(seed)).item_ids

    np.testing.assert_array_equal(parse(1, 2), parse(1, 2))
    assert np.abs(parse(1, 2) - parse(1, 3)).max() > 0


def test_other_features_are_ignored():
    batch = parse_sequences(tf.constant([serialize([5, 6], context=[1, 2, 3])]), 50)

    np.testing.assert_array_equal(batch.item_ids, [[5, 6]])
