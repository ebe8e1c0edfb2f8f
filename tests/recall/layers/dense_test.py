"""The dense layer over slots."""

import numpy as np
import pytest
import tensorflow as tf

from recall.layers.dense import SlotDense


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 5), (2, 3, 4, 5), (0, 3, 5)])
def test_equals_the_product_with_every_slot(shape):
    inputs = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    layer = SlotDense(7, activation="relu")
    outputs = layer(inputs).numpy()
    layer.bias.assign(np.linspace(-1, 1, 7))

    assert outputs.shape == (*shape[:-1], 7)
    expected = np.maximum(inputs @ layer.kernel.numpy() + layer.bias.numpy(), 0)
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-5, atol=1e-5)


def test_shapes_that_are_known_only_later():
    layer = SlotDense(3)

    @tf.function(input_signature=[tf.TensorSpec([None, None, 4], tf.float32)])
    def compute(inputs):
        return layer(inputs)

    assert compute(np.ones([2, 5, 4], np.float32)).shape == (2, 5, 3)
    assert compute(np.ones([1, 2, 4], np.float32)).shape == (1, 2, 3)
