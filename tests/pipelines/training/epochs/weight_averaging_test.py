"""Averages of weights over epochs: by hand, and what applying them leaves behind."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.training.epochs import weight_averaging
from pipelines.training.epochs.weight_averaging import WeightAverage


def test_the_average_moves_by_hand():
    weight = tf.Variable([8.0, 0.0])
    average = WeightAverage([weight], window=0.5)
    average.update(0)  # The first epoch counts whole.
    weight.assign([2.0, 3.0])
    average.update(1)  # 1 / (1 + .5 * 1) = 2/3 of the way from 8 to 2 and from 0 to 3.
    np.testing.assert_allclose(average.averages[0], [4.0, 2.0], rtol=1e-6)
    weight.assign([0.0, 2.0])
    average.update(2)  # Half the way.
    np.testing.assert_allclose(average.averages[0], [2.0, 2.0], rtol=1e-6)
    np.testing.assert_array_equal(weight, [0.0, 2.0])


def test_what_was_averaged_before_counts_by_hand():
    weight, other = tf.Variable([8.0]), tf.Variable([1.0])
    average = WeightAverage([weight, other], window=0.5, epochs_before=4)
    weight.assign([2.0])

    average.update(0)  # 1 / (1 + .5 * 4) = a third of the way from 8 to 2.

    np.testing.assert_allclose(average.average_of(weight), [6.0], rtol=1e-6)
    np.testing.assert_allclose(average.average_of(other), [1.0])


def test_without_a_window_the_average_is_the_last_epoch():
    weight = tf.Variable([1.0])
    average = WeightAverage([weight], window=0)
    for epoch, value in enumerate([5.0, 7.0, 6.0]):
        weight.assign([value])
        average.update(epoch)
        np.testing.assert_array_equal(average.averages[0], [value])


def test_averages_are_applied_inside_the_block_alone(monkeypatch):
    monkeypatch.setattr(weight_averaging, "_BLOCK_ELEMENTS", 6)  # Several blocks of rows.
    values = np.arange(21.0, dtype=np.float32).reshape(7, 3)
    weights = [tf.Variable(values), tf.Variable([1.0])]
    average = WeightAverage(weights, window=0.5)
    average.update(0)
    weights[0].assign(-values)
    weights[1].assign([2.0])

    with average.applied():
        np.testing.assert_array_equal(weights[0], values)
        np.testing.assert_array_equal(weights[1], [1.0])
    with pytest.raises(RuntimeError), average.applied():
        raise RuntimeError

    np.testing.assert_array_equal(weights[0], -values)
    np.testing.assert_array_equal(weights[1], [2.0])
    np.testing.assert_array_equal(average.averages[0], values)
