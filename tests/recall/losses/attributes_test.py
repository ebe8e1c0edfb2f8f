"""The loss that predicts features, against numpy."""

import numpy as np
import pytest
import tensorflow as tf

from recall.losses.attributes import attribute_loss

SLOTS = np.array([[0, 2, 0], [0, 0, 0], [1, 0, 0]])
WEIGHTS = np.array([[0.6, 0.2, 0], [0, 0, 0], [0.9, 0, 0]], np.float32)
SHARES = np.array([[0.75, 0, 0.25, 0], [0, 0, 0, 0], [0, 1, 0, 0]])


@pytest.fixture(name="drawn")
def _drawn():
    """`[3, 4]` vectors and `[4, 4]` of the values."""
    random = np.random.default_rng(3)
    return random.normal(size=[3, 4]), random.normal(size=[4, 4])


def compute(vectors, values, candidates=None, is_own=None, temperature=0.5):
    vectors, values = (tf.cast(part, tf.float32) for part in (vectors, values))
    return attribute_loss(
        vectors,
        tf.gather(values, SLOTS),
        tf.constant(WEIGHTS),
        values if candidates is None else tf.gather(values, candidates),
        is_own,
        num_values=4,
        temperature=temperature,
    )


def test_among_all_values_against_numpy(drawn):
    vectors, values = drawn
    logits = vectors @ values.T / 0.5
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(compute(*drawn), -(SHARES * logs).sum(axis=1), rtol=1e-5, atol=1e-6)


def test_among_a_sample_against_numpy(drawn):
    """Values 2 and 3 are drawn of four: each counts twice, and own ones stand beside them."""
    vectors, values = drawn
    is_own = np.array([[True, False], [False, False], [False, False]])
    logits = vectors @ values.T / 0.5
    first = np.log(np.exp(logits[0, [0, 2]]).sum() + 2 * np.exp(logits[0, 3]))
    last = np.log(np.exp(logits[2, 1]) + 2 * np.exp(logits[2, [2, 3]]).sum())
    expected = [first - 0.75 * logits[0, 0] - 0.25 * logits[0, 2], 0, last - logits[2, 1]]

    found = compute(*drawn, [2, 3], tf.constant(is_own))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_sample_stands_for_all_values():
    """Its mean over many draws is near to the loss among all, which no draw has alone."""
    random = np.random.default_rng(5)
    vectors, values = random.normal(size=[1, 8]), random.normal(size=[4, 8])
    values, own = np.concatenate([values, random.normal(size=[396, 8])]), 7
    logits = vectors @ values.T
    expected = np.log(np.exp(logits).sum()) - logits[0, own]
    losses = []
    for _ in range(60):
        candidates = random.integers(0, 400, 100)
        losses += (
            attribute_loss(
                tf.constant(vectors),
                tf.constant(values[np.newaxis, [own]]),
                tf.ones([1, 1], tf.float64),
                tf.constant(values[candidates]),
                tf.constant(candidates == own)[np.newaxis],
                num_values=400,
                temperature=1.0,
            )
            .numpy()
            .tolist()
        )
    assert np.std(losses) > 0.05
    np.testing.assert_allclose(np.mean(losses), expected, atol=0.1)


def test_items_without_values_teach_nothing(drawn):
    vectors, values = (tf.constant(part, tf.float32) for part in drawn)
    with tf.GradientTape() as tape:
        tape.watch([vectors, values])
        loss = compute(vectors, values, temperature=0.1)
    of_vectors, of_values = tape.gradient(loss, [vectors, values])
    assert loss[1] == 0
    assert not np.abs(of_vectors[1]).max()
    assert np.abs(of_vectors.numpy()[[0, 2]]).max(axis=1).min() > 0
    assert np.isfinite(of_values).all()
    assert np.abs(of_values).max() > 0
