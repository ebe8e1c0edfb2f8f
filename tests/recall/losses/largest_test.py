"""The largest values of columns, against a sort in numpy."""

import numpy as np
import pytest
import tensorflow as tf

from recall.losses.largest import mark_largest


@pytest.mark.parametrize("num_marked", [0, 1, 4, 9])
def test_the_largest_of_every_column_are_marked(num_marked):
    values = np.random.default_rng(0).normal(size=[9, 3]).astype(np.float32)

    marks = mark_largest(tf.constant(values), tf.constant(num_marked)).numpy()

    for column in range(3):
        largest = np.argsort(-values[:, column])[:num_marked]
        assert sorted(np.flatnonzero(marks[:, column])) == sorted(largest)


@pytest.mark.parametrize("num_marked", range(8))
def test_of_equal_values_the_earlier_are_marked(num_marked):
    values = [2.0, 7.0, 2.0, -1.0, 2.0, 7.0, 2.0]

    marks = mark_largest(tf.constant(values), num_marked).numpy()

    order = np.argsort(-np.array(values), kind="stable")
    assert np.flatnonzero(marks).tolist() == sorted(order[:num_marked].tolist())


def test_nothing_is_marked_where_all_are_alike_and_none_is_wanted():
    assert not mark_largest(tf.fill([5, 2], tf.float32.min), 0).numpy().any()
