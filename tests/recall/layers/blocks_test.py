"""Blocks against their formulas in numpy; attention and the filter have tests of their own."""

import numpy as np
import pytest
import tensorflow as tf

from recall.config import ModelConfig
from recall.layers.blocks import GatedBlock, SelfAttentionBlock, build_block

DIM, NUM_HEADS, HIDDEN, LENGTH, MAX_LENGTH = 8, 2, 12, 5, 11

BLOCKS = {
    "plain": lambda rate=0.0: SelfAttentionBlock(DIM, NUM_HEADS, HIDDEN, MAX_LENGTH, rate),
    "gated": lambda rate=0.0: GatedBlock(DIM, NUM_HEADS, HIDDEN, MAX_LENGTH, rate),
    "filtered": lambda rate=0.0: SelfAttentionBlock(
        DIM, NUM_HEADS, HIDDEN, MAX_LENGTH, rate, filter_share=0.3
    ),
    "gated_filtered": lambda rate=0.0: GatedBlock(
        DIM, NUM_HEADS, HIDDEN, MAX_LENGTH, rate, filter_share=0.3
    ),
}


@pytest.fixture(autouse=True)
def _seed():
    tf.keras.utils.set_random_seed(1)


def random_states(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def randomise(layer):
    """Gives every weight, biases included, a value that is not its initial one."""
    rng = np.random.default_rng(7)
    for weight in layer.weights:
        weight.assign(weight + rng.normal(scale=0.3, size=weight.shape))
    return {w.name.split("/", 1)[1].split(":")[0]: w.numpy() for w in layer.weights}


def normalise(states, weights, name):
    scaled = (states - states.mean(-1, keepdims=True)) / states.std(-1, keepdims=True)
    return scaled * weights[f"{name}/scale"] + weights[f"{name}/offset"]


def multiply(states, weights, name):
    return states @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def read(layer, states, name):
    """Attention and filter of the block, which are tested by themselves."""
    attended = layer._attention(states).numpy()
    if "filtered" not in name:
        return attended
    return 0.3 * layer._filter(states).numpy() + 0.7 * attended


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_equals_its_formula_in_numpy(name):
    layer, states = BLOCKS[name](), random_states(3, LENGTH, DIM)
    layer(states)
    weights = randomise(layer)

    added = read(layer, normalise(states, weights, "attention_norm"), name)
    if "gated" in name:
        added = added * sigmoid(multiply(states, weights, "attention_gate"))
    between = states + added
    normal = normalise(between, weights, "feed_forward_norm")
    hidden = multiply(normal, weights, "expand")
    if "gated" in name:
        hidden = hidden * sigmoid(hidden) * multiply(normal, weights, "expand_gate")
        gate = sigmoid(multiply(between, weights, "feed_forward_gate"))
        expected = between + multiply(hidden, weights, "contract") * gate
    else:
        expected = between + multiply(np.maximum(hidden, 0), weights, "contract")

    np.testing.assert_allclose(layer(states), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", BLOCKS)
def test_a_later_slot_does_not_change_an_earlier_one(name):
    layer, states = BLOCKS[name](), random_states(2, LENGTH, DIM)
    changed = states.copy()
    changed[:, 3:] = random_states(2, LENGTH - 3, DIM, seed=9)

    before, after = layer(states).numpy(), layer(changed).numpy()

    np.testing.assert_allclose(after[:, :3], before[:, :3], rtol=1e-5, atol=1e-6)
    assert np.abs(after[:, 3:] - before[:, 3:]).max() > 1e-3


@pytest.mark.parametrize("name", BLOCKS)
def test_more_padding_changes_nothing(name):
    layer, states = BLOCKS[name](), random_states(2, LENGTH, DIM)
    padded = np.concatenate([states, np.zeros([2, 4, DIM], np.float32)], axis=1)

    np.testing.assert_allclose(layer(padded)[:, :LENGTH], layer(states), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", BLOCKS)
def test_histories_that_share_a_row_do_not_see_each_other(name):
    layer, states = BLOCKS[name](), random_states(1, LENGTH, DIM)

    shared = layer(states, first_slots=tf.constant([[0, 0, 2, 2, 2]])).numpy()

    np.testing.assert_allclose(shared[:, :2], layer(states[:, :2]), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(shared[:, 2:], layer(states[:, 2:]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_reach_every_weight(name):
    layer, states = BLOCKS[name](), random_states(4, LENGTH, DIM)
    target = random_states(4, LENGTH, DIM, seed=5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(states) * target)

    gradients = tape.gradient(loss, layer.trainable_variables)

    for variable, gradient in zip(layer.trainable_variables, gradients, strict=True):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 1e-5, variable.name


@pytest.mark.parametrize("name", BLOCKS)
def test_dropout_is_active_in_training_alone(name):
    layer, states = BLOCKS[name](0.5), random_states(2, LENGTH, DIM)

    np.testing.assert_array_equal(layer(states), layer(states))
    assert np.abs(layer(states, training=True) - layer(states)).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "expected"), [("plain", SelfAttentionBlock), ("gated", GatedBlock)]
)
def test_the_config_names_the_block(name, expected):
    config = ModelConfig(dim=DIM, feed_forward_dim=HIDDEN, block=name, filter_share=0.4)

    block = build_block(config, 0.0)
    block(random_states(1, LENGTH, DIM))

    assert type(block) is expected
    assert any("filter" in weight.name for weight in block.weights)
    assert not any("filter" in w.name for w in _weights_without_filter(config))


def _weights_without_filter(config):
    block = build_block(ModelConfig(dim=DIM, block=config.block, filter_share=0), 0.0)
    block(random_states(1, LENGTH, DIM))
    return block.weights
