"""Causal self-attention against explicit loops in numpy."""

import numpy as np
import pytest
import tensorflow as tf

from recall.layers.attention import (
    CausalSelfAttention,
    causal_softmax,
    look_up_positions,
)
from recall.layers.attention import softmax as sum_in_float32

DIM, NUM_HEADS, LENGTH, MAX_LENGTH = 8, 2, 5, 11


def build(rate=0.0):
    return CausalSelfAttention(DIM, NUM_HEADS, MAX_LENGTH, rate)


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
    # `block/attention/output/bias:0` -> `attention/output/bias`
    return {w.name.split("/", 1)[1].split(":")[0]: w.numpy() for w in layer.weights}


def softmax(scores):
    exp = np.exp(scores - scores.max())
    return exp / exp.sum()


def attend(states, weights):
    """Multi-head causal attention of one sequence `[length, dim]`, slot by slot."""
    projected = states @ weights["query_key_value/kernel"]
    projected += weights["query_key_value/bias"]
    query, key, value = np.split(projected, 3, axis=1)
    head_dim = DIM // NUM_HEADS
    attended = np.zeros_like(states)
    for head in range(NUM_HEADS):
        columns = slice(head * head_dim, (head + 1) * head_dim)
        for t in range(len(states)):
            scores = key[: t + 1, columns] @ query[t, columns] / np.sqrt(head_dim)
            for slot in range(t + 1):
                scores[slot] += 10 * weights["distance_bias"][head, t - slot]
            attended[t, columns] = softmax(scores) @ value[: t + 1, columns]
    return attended @ weights["output/kernel"] + weights["output/bias"]


def test_causal_softmax_of_two_slots():
    # Slot 0 sees itself alone; slot 1 has e^0 : e^ln3 = 1 : 3.
    scores = tf.constant([[0.0, 5.0], [0.0, np.log(3.0)]])

    np.testing.assert_allclose(causal_softmax(scores), [[1.0, 0.0], [0.25, 0.75]], rtol=1e-6)


def test_causal_softmax_equals_a_softmax_of_every_prefix():
    scores = random_states(2, 3, LENGTH, LENGTH)

    result = causal_softmax(tf.constant(scores)).numpy()

    for index in np.ndindex(2, 3, LENGTH):
        t = index[-1]
        np.testing.assert_allclose(
            result[index][: t + 1], softmax(scores[index][: t + 1]), rtol=1e-5
        )
        assert (result[index][t + 1 :] == 0).all()


@pytest.mark.parametrize("size", [1e6, -1e6])
def test_huge_scores_stay_finite_and_causal(size):
    scores = tf.constant(random_states(LENGTH, LENGTH)) * size
    result = causal_softmax(scores).numpy()

    np.testing.assert_allclose(result.sum(axis=-1), 1.0, rtol=1e-5)
    assert (np.triu(result, k=1) == 0).all()


def test_attention_equals_loops_in_numpy():
    layer, states = build(), random_states(3, LENGTH, DIM)
    layer(states)
    weights = randomise(layer)

    expected = np.stack([attend(sequence, weights) for sequence in states])

    np.testing.assert_allclose(layer(states), expected, rtol=1e-4, atol=1e-5)


def test_a_bias_by_distance_alone_is_a_weighted_mean():
    """e^0 : e^ln2 : e^ln4 for distances 0, 1 and 2, every query and key zero."""
    layer = CausalSelfAttention(DIM, 1, MAX_LENGTH, 0.0)
    states = random_states(1, 3, DIM)
    layer(states)
    for weight in layer.weights:
        weight.assign(tf.zeros_like(weight))
    weights = {weight.name.split("/", 1)[1]: weight for weight in layer.weights}
    weights["query_key_value/kernel:0"][:, 2 * DIM :].assign(np.eye(DIM, dtype=np.float32))
    weights["output/kernel:0"].assign(np.eye(DIM))
    weights["distance_bias:0"][0, :3].assign(np.log([1, 2, 4]).astype(np.float32) / 10)

    first, second, third = layer(states)[0].numpy()

    one, two, three = states[0]
    np.testing.assert_allclose(first, one, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(second, (2 * one + two) / 3, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(third, (4 * one + 2 * two + three) / 7, rtol=1e-4, atol=1e-5)


def test_a_later_slot_does_not_change_an_earlier_one():
    layer, states = build(), random_states(2, LENGTH, DIM)
    changed = states.copy()
    changed[:, 3:] = random_states(2, LENGTH - 3, DIM, seed=9)

    before, after = layer(states).numpy(), layer(changed).numpy()

    np.testing.assert_allclose(after[:, :3], before[:, :3], rtol=1e-5, atol=1e-6)
    assert np.abs(after[:, 3:] - before[:, 3:]).max() > 1e-3


def test_more_padding_changes_nothing():
    layer, states = build(), random_states(2, LENGTH, DIM)
    padded = np.concatenate([states, np.zeros([2, 4, DIM], np.float32)], axis=1)

    np.testing.assert_allclose(layer(padded)[:, :LENGTH], layer(states), rtol=1e-5, atol=1e-6)


def test_an_earlier_slot_reaches_every_later_one():
    layer, states = build(), tf.constant(random_states(1, LENGTH, DIM))
    for t in range(1, LENGTH):
        with tf.GradientTape() as tape:
            tape.watch(states)
            last = tf.reduce_sum(layer(states)[0, t] * random_states(DIM))
        assert (np.abs(tape.gradient(last, states)[0, : t + 1]).max(axis=1) > 1e-6).all()


def test_gradients_reach_every_weight():
    layer, states = build(), random_states(4, LENGTH, DIM)
    target = random_states(4, LENGTH, DIM, seed=5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(states) * target)

    gradients = tape.gradient(loss, layer.trainable_variables)

    for variable, gradient in zip(layer.trainable_variables, gradients, strict=True):
        assert np.abs(gradient).max() > 1e-4, variable.name


def test_dropout_is_active_in_training_alone():
    layer, states = build(0.5), random_states(2, LENGTH, DIM)

    np.testing.assert_array_equal(layer(states), layer(states))
    assert np.abs(layer(states, training=True) - layer(states)).max() > 1e-3


def test_histories_that_share_a_row_attend_to_their_own_slots_alone():
    """Slots 0 and 1 are one history, 2 to 4 another."""
    scores = random_states(1, NUM_HEADS, LENGTH, LENGTH)
    first_slots = tf.constant([[0, 0, 2, 2, 2]])

    weights = causal_softmax(tf.constant(scores), first_slots=first_slots).numpy()

    for head in range(NUM_HEADS):
        for slot, first in enumerate([0, 0, 2, 2, 2]):
            expected = np.zeros(LENGTH)
            seen = slice(first, slot + 1)
            expected[seen] = softmax(scores[0, head, slot, seen])
            np.testing.assert_allclose(weights[0, head, slot], expected, atol=1e-6)


def test_positions_are_counted_from_the_start_of_a_history():
    table = tf.constant([[10.0], [11.0], [12.0], [13.0]])

    alone = look_up_positions(table, 3, None).numpy()
    shared = look_up_positions(table, 4, tf.constant([[0, 0, 2, 2], [0, 1, 1, 1]])).numpy()

    assert alone[:, 0].tolist() == [10, 11, 12]
    assert shared[..., 0].tolist() == [[10, 11, 10, 11], [10, 10, 11, 12]]


def test_rows_may_be_wider_than_the_longest_history():
    layer = build()
    length = MAX_LENGTH + 4
    states = random_states(1, length, DIM)
    first_slots = tf.constant([[0] * 6 + [6] * (length - 6)])

    layer(states)
    randomise(layer)

    outputs = layer(states, first_slots=first_slots).numpy()
    np.testing.assert_allclose(outputs[:, :6], layer(states[:, :6]).numpy(), atol=1e-5)
    np.testing.assert_allclose(outputs[:, 6:], layer(states[:, 6:]).numpy(), atol=1e-5)


def test_a_softmax_in_bfloat16_sums_in_float32():
    scores = tf.zeros([1, 2000], tf.bfloat16)

    weights = sum_in_float32(scores)

    assert weights.dtype == tf.bfloat16
    # Its own sum in bfloat16 would stop at 256.
    np.testing.assert_allclose(tf.cast(weights, tf.float32)[0, 0], 1 / 2000, rtol=0.01)
