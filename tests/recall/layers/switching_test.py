"""K by user: which interests are left, and what stands for the others."""

import numpy as np
import tensorflow as tf

from recall.layers.switching import repeat_strongest, switch_off


def test_weights_below_the_least_are_gone_and_the_others_sum_to_one():
    weights = tf.constant([[0.1, 0.6, 0.3], [0.3, 0.3, 0.4], [0.34, 0.33, 0.33]])

    np.testing.assert_allclose(
        switch_off(weights, 0.2),
        [[0, 2 / 3, 1 / 3], [0.3, 0.3, 0.4], [0.34, 0.33, 0.33]],
        rtol=1e-6,
    )
    # The strongest stays, also where it is too small by itself.
    np.testing.assert_allclose(switch_off(weights, 0.5)[1:], [[0, 0, 1], [1, 0, 0]], rtol=1e-6)


def test_the_strongest_stands_for_those_that_are_switched_off():
    vectors = np.arange(12.0, dtype=np.float32).reshape(2, 3, 2)
    weights = tf.constant([[0.0, 0.7, 0.3], [1.0, 0.0, 0.0]])

    found = repeat_strongest(vectors, weights).numpy()

    np.testing.assert_array_equal(found[0], vectors[0][[1, 1, 2]])
    np.testing.assert_array_equal(found[1], vectors[1][[0, 0, 0]])
    # No item has another best score than under the interests that are left.
    items = np.random.default_rng(0).normal(size=[2, 50])
    left = np.concatenate([vectors[0][[1, 2]] @ items]).max(axis=0)
    np.testing.assert_array_equal((found[0] @ items).max(axis=0), left)
