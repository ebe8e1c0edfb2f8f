"""What replicas exchange: one flat tensor, whose sum has the parts of all."""

import numpy as np
import tensorflow as tf

from recall.gradient_exchange import Exchanged, join_parts, split_parts

LARGEST = 2**31 - 1


def test_one_tensor_has_all_parts_and_its_sum_those_of_all_replicas():
    """The first replica has the first half of the integers, the second one the other."""
    first = Exchanged(
        [tf.constant([[1.0, 2.0]]), tf.constant(0.5)],
        [tf.constant([-1, LARGEST, 0, 0]), tf.constant([[70_000, 0]])],
    )
    second = Exchanged(
        [tf.constant([[10.0, -2.0]]), tf.constant(0.25)],
        [tf.constant([0, 0, 2**24 + 1, 5]), tf.constant([[0, 3]])],
    )
    shapes = tf.nest.map_structure(lambda tensor: tensor.shape, first)

    joined = [join_parts(parts) for parts in (first, second)]

    # Three floats, and two for each of six integers.
    assert [(tensor.shape, tensor.dtype) for tensor in joined] == [((15,), tf.float32)] * 2
    sums = split_parts(joined[0] + joined[1], shapes)
    np.testing.assert_array_equal(sums.floats[0], [[11.0, 0.0]])
    assert float(sums.floats[1]) == 0.75
    np.testing.assert_array_equal(sums.integers[0], [-1, LARGEST, 2**24 + 1, 5])
    np.testing.assert_array_equal(sums.integers[1], [[70_000, 3]])
    assert {tensor.dtype for tensor in sums.integers} == {tf.int32}


def test_floats_alone_are_not_changed():
    parts = Exchanged([tf.constant([3.0, 4.0])], [])
    joined = join_parts(parts)
    np.testing.assert_array_equal(joined, [3.0, 4.0])
    assert split_parts(joined, Exchanged([joined.shape], [])).integers == []
