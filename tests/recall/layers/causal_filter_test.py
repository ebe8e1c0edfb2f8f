"""The filter against sums written out in numpy, and what it must not see."""

import numpy as np
import pytest
import tensorflow as tf

from recall.layers.causal_filter import CausalFilter

DIM, LENGTH, MAX_LENGTH = 8, 5, 11


@pytest.fixture(autouse=True)
def _seed():
    tf.keras.utils.set_random_seed(1)


def random_states(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def build(dim=DIM):
    layer = CausalFilter(dim, MAX_LENGTH)
    layer(random_states(1, LENGTH, dim))
    return layer


def weights_of(layer):
    return {weight.name.split("/")[-1].split(":")[0]: weight for weight in layer.weights}


def filter_in_numpy(states, bias, beta):
    """One sequence `[length, dim]`, slot by slot, with a weight `exp(10 bias)` per distance."""
    low = np.zeros_like(states)
    of_group = np.repeat(np.arange(len(bias)), states.shape[1] // len(bias))
    for t in range(len(states)):
        for column, group in enumerate(of_group):
            weights = np.exp([10 * bias[group, t - slot] for slot in range(t + 1)])
            low[t, column] = weights @ states[: t + 1, column] / weights.sum()
    return low + beta**2 * (states - low)


def test_a_mean_over_the_slots_so_far_by_hand():
    layer = build(dim=1)
    weights = weights_of(layer)
    weights["distance_bias"].assign(tf.zeros_like(weights["distance_bias"]))
    weights["beta"].assign([0.5])
    states = np.array([[[4.0], [0.0], [2.0]]], np.float32)

    # Means 4, 2 and 2, and a quarter of what differs from them: 0, -2 and 0.
    np.testing.assert_allclose(layer(states)[0, :, 0], [4.0, 1.5, 2.0], rtol=1e-5)


def test_spans_are_one_two_four_and_eight_slots_at_first():
    bias = weights_of(build())["distance_bias"].numpy()

    expected = [[np.exp(-distance / span) for distance in range(3)] for span in (1, 2, 4, 8)]
    np.testing.assert_allclose(np.exp(10 * bias[:, :3]), expected, rtol=1e-5)


@pytest.mark.parametrize("dim", [8, 6, 5])
def test_equals_loops_in_numpy(dim):
    layer, states = build(dim), random_states(3, LENGTH, dim)
    rng = np.random.default_rng(7)
    for weight in layer.weights:
        weight.assign(rng.normal(scale=0.3, size=weight.shape))
    weights = weights_of(layer)

    expected = [
        filter_in_numpy(sequence, weights["distance_bias"].numpy(), weights["beta"].numpy())
        for sequence in states
    ]

    np.testing.assert_allclose(layer(states), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [1e3, -1e3])
def test_huge_biases_stay_finite(size):
    layer, states = build(), random_states(2, LENGTH, DIM)
    bias = weights_of(layer)["distance_bias"]
    bias.assign(tf.constant(size * np.arange(MAX_LENGTH, dtype=np.float32))[tf.newaxis] + 0 * bias)
    weights_of(layer)["beta"].assign(tf.zeros([DIM]))

    filtered = layer(states).numpy()

    # All weight is on the own slot; or, far below that of the longest distance, on all alike.
    means = np.cumsum(states, axis=1) / np.arange(1, LENGTH + 1)[:, np.newaxis]
    np.testing.assert_allclose(filtered, states if size < 0 else means, rtol=1e-5, atol=1e-6)


def test_a_beta_of_one_changes_nothing():
    layer, states = build(), random_states(2, LENGTH, DIM)
    weights_of(layer)["beta"].assign(tf.ones([DIM]))

    np.testing.assert_allclose(layer(states), states, rtol=1e-5, atol=1e-6)


def test_a_later_slot_does_not_change_an_earlier_one():
    layer, states = build(), random_states(2, LENGTH, DIM)
    changed = states.copy()
    changed[:, 3:] = random_states(2, LENGTH - 3, DIM, seed=9)

    before, after = layer(states).numpy(), layer(changed).numpy()

    np.testing.assert_allclose(after[:, :3], before[:, :3], rtol=1e-5, atol=1e-6)
    assert np.abs(after[:, 3:] - before[:, 3:]).max() > 1e-3


def test_histories_that_share_a_row_are_filtered_by_themselves():
    """Slots 0 and 1 are one history, 2 to 4 another."""
    layer, states = build(), random_states(1, LENGTH, DIM)

    shared = layer(states, first_slots=tf.constant([[0, 0, 2, 2, 2]])).numpy()

    np.testing.assert_allclose(shared[:, :2], layer(states[:, :2]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(shared[:, 2:], layer(states[:, 2:]), rtol=1e-5, atol=1e-6)


def test_gradients_reach_every_weight():
    layer, states = build(), random_states(4, LENGTH, DIM)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(states) * random_states(4, LENGTH, DIM, seed=5))

    for gradient in tape.gradient(loss, layer.trainable_variables):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 1e-4
