"""Dynamic routing against loops in numpy; the contract of all extractors is in `interests_test`."""

import numpy as np
import tensorflow as tf

from recall.layers.capsules import CapsuleInterests, draw_first_logits, squash
from recall.layers.extractor import WantedPrefixes
from recall.settings.model import ModelConfig

LENGTH, DIM, NUM_INTERESTS = 5, 6, 3
CONFIG = ModelConfig(
    extractor="capsule", num_interests=NUM_INTERESTS, dim=DIM, max_history_length=LENGTH
)


def build():
    tf.keras.utils.set_random_seed(1)
    layer = CapsuleInterests(CONFIG)
    layer(np.zeros([1, 1, DIM], np.float32))
    return layer


def random_states(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def route(behaviours, logits):
    """Capsules `[K, D]` and mean shares `[K]` of one prefix, every sum written out."""
    logits = logits.copy()
    for _ in range(3):
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        capsules = []
        for k in range(NUM_INTERESTS):
            total = np.zeros(DIM)
            for i, behaviour in enumerate(behaviours):
                total += shares[i, k] * behaviour
            length = np.sqrt((total**2).sum())
            capsules.append(length**2 / (1 + length**2) * total / length)
        for k, i in np.ndindex(NUM_INTERESTS, len(behaviours)):
            logits[i, k] += capsules[k] @ behaviours[i]
    return np.array(capsules), shares.mean(axis=0)


def test_every_prefix_equals_loops_in_numpy():
    layer, states = build(), random_states(2, LENGTH, DIM)

    vectors, weights = layer(states)

    first_logits = draw_first_logits(LENGTH, NUM_INTERESTS)
    behaviours = states @ layer.weights[0].numpy()
    for b, t in np.ndindex(2, LENGTH):
        capsules, shares = route(behaviours[b, : t + 1], first_logits[: t + 1])
        np.testing.assert_allclose(vectors[b, t], capsules, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(weights[b, t], shares, rtol=1e-4, atol=1e-5)


def test_two_kinds_of_clicks_go_to_two_capsules():
    layer = CapsuleInterests(
        ModelConfig(extractor="capsule", num_interests=2, dim=2, max_history_length=4)
    )
    kinds = np.array([[[4.0, 0.0], [0.0, 4.0], [4.0, 0.0], [0.0, 4.0]]], np.float32)
    layer(kinds)
    layer.weights[0].assign(tf.eye(2))

    capsules = layer(kinds, WantedPrefixes(slots=np.array([3]))).vectors[0].numpy()

    # Long capsules, each along one axis.
    directions = np.sort(np.abs(capsules).argmax(axis=1))
    np.testing.assert_array_equal(directions, [0, 1])
    assert (np.abs(capsules).max(axis=1) > 0.9).all()
    assert (np.abs(capsules).min(axis=1) < 0.2).all()


def test_squash_by_hand():
    # |v| = 5: 25 / 26 * v / 5.
    np.testing.assert_allclose(squash(tf.constant([[3.0, 4.0]])), [[15 / 26, 20 / 26]], rtol=1e-5)
    with tf.GradientTape() as tape:
        zero = tf.zeros([1, 2])
        tape.watch(zero)
        squashed = squash(zero)
    assert np.isfinite(tape.gradient(squashed, zero)).all()


def test_the_first_logits_are_the_same_in_every_model():
    first, again = draw_first_logits(50, 4), draw_first_logits(50, 4)

    np.testing.assert_array_equal(first, again)
    assert abs(first.mean()) < 0.3
    assert 0.8 < first.std() < 1.2
    assert len(np.unique(first)) == 200


def test_the_gradient_passes_the_last_capsules_and_not_the_shares():
    layer, states = build(), tf.constant(random_states(1, 3, DIM))
    _, weights = layer(states)
    with tf.GradientTape() as tape:
        tape.watch(states)
        shares = layer(states).weights
        loss = tf.reduce_sum(shares * np.random.default_rng(2).normal(size=weights.shape))

    assert tape.gradient(loss, states) is None
