"""Gaps in time: their ranges by hand, and what they add to scores."""

import numpy as np
import pytest
import tensorflow as tf

from recall.layers import time_bias
from recall.layers.attention import BIAS_SCALE, CausalSelfAttention


def test_ranges_are_the_bits_of_the_gap():
    gaps = np.array([0, 1, 2, 3, 4, 59, 3600, 86_400, 2**24, 2**30])
    now = 10 + gaps
    expected = [1 + int(gap).bit_length() for gap in gaps]
    found = time_bias.gap_ranges(tf.constant(now), tf.constant(10, tf.int64))
    assert found.numpy().tolist() == expected
    assert time_bias.gap_ranges(tf.constant(10, tf.int64), now).numpy().tolist() == expected


@pytest.mark.parametrize("bits", range(1, 31))
def test_powers_of_two_begin_a_range(bits):
    before, at = (
        time_bias.gap_ranges(tf.constant(1 + gap, tf.int64), tf.constant(1, tf.int64)).numpy()
        for gap in (2**bits - 1, 2**bits)
    )
    assert (before, at) == (1 + bits, 2 + bits)


def test_pairs_by_hand():
    # Clicks at 100, 101 and 140, the request at 1000; in the other row the second is not known.
    times = tf.constant([[[100, 101], [101, 140], [140, 1000]], [[5, 0], [0, 9], [9, 9]]])
    assert time_bias.gaps_of_slots(times).numpy().tolist() == [[2, 7, 11], [0, 0, 1]]
    pairs = time_bias.gaps_of_pairs(times).numpy()
    # Row t: from every click to what came after click t.
    assert pairs[0].tolist() == [[2, 1, 7], [7, 7, 1], [11, 11, 11]]
    assert pairs[1].tolist() == [[0, 0, 0], [4, 0, 1], [4, 0, 1]]


@pytest.mark.parametrize("as_product", [False, True])
def test_unknown_gaps_add_nothing_and_learn_nothing(as_product):
    table = tf.Variable(np.arange(2.0 * time_bias.NUM_GAPS).reshape(-1, 2) + 1)
    gaps = tf.constant([[0, 3], [32, 0]])
    with tf.GradientTape() as tape:
        found = time_bias.look_up_gaps(table, gaps, as_product=as_product)
        total = tf.reduce_sum(found)
    assert found.numpy().tolist() == [[[0, 0], [7, 8]], [[65, 66], [0, 0]]]
    gradient = tf.convert_to_tensor(tape.gradient(total, table)).numpy()
    assert np.flatnonzero(gradient.any(axis=1)).tolist() == [3, 32]


def test_attention_with_times_is_that_of_numpy():
    rng = np.random.default_rng(0)
    layer = CausalSelfAttention(4, 1, 6, 0.0, has_time_bias=True)
    states = rng.normal(size=[2, 3, 4]).astype(np.float32)
    times = tf.constant([[[100, 101], [101, 140], [140, 1000]], [[7, 7], [7, 90], [90, 91]]])
    gaps = time_bias.gaps_of_pairs(times)
    layer(states)
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape) * 0.3)
    weights = {
        weight.name.split("/", 1)[-1].split(":")[0]: weight.numpy() for weight in layer.weights
    }
    kernel = next(v for n, v in weights.items() if "query_key_value" in n and v.ndim == 2)
    bias = next(v for n, v in weights.items() if "query_key_value" in n and v.ndim == 1)
    out_kernel = next(v for n, v in weights.items() if "output" in n and v.ndim == 2)
    out_bias = next(v for n, v in weights.items() if "output" in n and v.ndim == 1)
    by_distance = next(v for n, v in weights.items() if "distance_bias" in n)[0]
    by_time = next(v for n, v in weights.items() if "time_bias" in n)[:, 0]
    query, key, value = np.split(states @ kernel + bias, 3, axis=-1)
    expected = np.zeros_like(states)
    for row in range(2):
        for t in range(3):
            scores = [
                query[row, t] @ key[row, i] / 2
                + BIAS_SCALE * by_distance[t - i]
                + BIAS_SCALE * by_time[gaps[row, t, i]]
                for i in range(t + 1)
            ]
            shares = np.exp(scores) / np.exp(scores).sum()
            expected[row, t] = shares @ value[row, : t + 1] @ out_kernel + out_bias
    for first_slots in (None, tf.zeros([2, 3], tf.int32)):
        found = layer(states, first_slots=first_slots, gaps=gaps)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
