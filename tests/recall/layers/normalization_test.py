"""Layer normalisation and unit length, whose gradients are written by hand."""

import numpy as np
import pytest
import tensorflow as tf

from recall.layers.normalization import LayerNorm, normalize_length


def random_array(*shape, seed=0):
    return np.random.default_rng(seed).normal(loc=2.0, scale=3.0, size=shape).astype(np.float32)


def build_layer(dim, **kwargs):
    """A layer whose scale and offset are not their initial ones."""
    layer = LayerNorm(**kwargs)
    layer(np.zeros([1, dim], np.float32))
    for number, weight in enumerate(layer.weights):
        weight.assign(random_array(dim, seed=number + 5))
    return layer


def test_two_values_by_hand():
    # Mean 3, deviation 1.
    np.testing.assert_allclose(LayerNorm()(tf.constant([[2.0, 4.0]])), [[-1.0, 1.0]], rtol=1e-5)


@pytest.mark.parametrize("shape", [(8,), (3, 8), (2, 3, 4, 8)])
def test_equals_numpy_over_the_last_axis(shape):
    inputs, layer = random_array(*shape), build_layer(8)
    scale, offset = (weight.numpy() for weight in layer.weights)

    mean, deviation = inputs.mean(-1, keepdims=True), inputs.std(-1, keepdims=True)

    np.testing.assert_allclose(
        layer(inputs), (inputs - mean) / deviation * scale + offset, rtol=1e-4, atol=1e-4
    )


def test_without_offset_there_is_one_weight():
    layer, inputs = build_layer(4, center=False), random_array(2, 4)

    (scale,) = layer.weights

    np.testing.assert_allclose(layer(inputs), LayerNorm()(inputs) * scale, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("center", [True, False])
def test_gradients_equal_those_of_the_formula(center):
    inputs, layer = tf.constant(random_array(3, 5, 8)), build_layer(8, center=center)
    upstream = random_array(3, 5, 8, seed=9)
    sources = [inputs, *layer.weights]

    def formula():
        mean, variance = tf.nn.moments(inputs, axes=[-1], keepdims=True)
        outputs = (inputs - mean) / tf.sqrt(variance + 1e-6) * layer.weights[0]
        return outputs + layer.weights[1] if center else outputs

    gradients = []
    for compute in (lambda: layer(inputs), formula):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(compute() * upstream)
        gradients.append(tape.gradient(loss, sources))

    for ours, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("value", [0.0, 7.0, 1e6])
def test_equal_values_give_the_offset_and_a_finite_gradient(value):
    inputs, layer = tf.fill([2, 8], value), build_layer(8)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs)

    np.testing.assert_allclose(outputs, [layer.weights[1]] * 2, rtol=1e-5)
    assert np.isfinite(tape.gradient(outputs, inputs)).all()


def test_a_vector_of_length_five_by_hand():
    np.testing.assert_allclose(normalize_length(tf.constant([[3.0, 4.0]])), [[0.6, 0.8]], rtol=1e-6)


def test_the_gradient_of_unit_length_equals_that_of_the_formula():
    inputs, upstream = tf.constant(random_array(3, 5, 8)), random_array(3, 5, 8, seed=9)
    gradients = []
    for compute in (normalize_length, lambda x: x / tf.norm(x, axis=-1, keepdims=True)):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(compute(inputs) * upstream)
        gradients.append(tape.gradient(loss, inputs))

    np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-5)


def test_a_zero_vector_stays_zero_with_a_finite_gradient():
    inputs = tf.zeros([2, 4])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = normalize_length(inputs)

    np.testing.assert_array_equal(outputs, np.zeros([2, 4]))
    assert np.isfinite(tape.gradient(outputs, inputs)).all()
