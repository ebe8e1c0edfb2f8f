"""The auxiliary losses of routing, by hand and by numpy."""

import numpy as np
import pytest
import tensorflow as tf

from recall.losses.routing import balance_loss, semantic_loss, sharpness_loss


def random_routes(rows, columns, seed=0):
    exp = np.exp(np.random.default_rng(seed).normal(size=[rows, columns]))
    return (exp / exp.sum(axis=1, keepdims=True)).astype(np.float32)


def test_balance_by_hand():
    # Shares .75 and .25 of two: log(1/2) - log(1/4) = log 2 for the second, nothing for the first.
    routes = tf.constant([[1.0, 0.0], [0.5, 0.5]])
    assert float(balance_loss(routes)) == pytest.approx(np.log(2) / 2, rel=1e-5)
    # The rows that are no click do not count.
    padded = tf.concat([routes, tf.constant([[0.0, 1.0]] * 3)], axis=0)
    is_real = tf.constant([True, True, False, False, False])
    assert float(balance_loss(padded, is_real)) == pytest.approx(np.log(2) / 2, rel=1e-5)


def test_a_dead_prototype_gets_clicks_from_balance():
    logits = tf.constant([[5.0, 0.0, -9.0], [0.0, 5.0, -9.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = balance_loss(tf.nn.softmax(logits))

    gradient = tape.gradient(loss, logits).numpy()

    assert (gradient[:, 2] < -0.01).all()  # A step down the gradient raises it.
    assert float(balance_loss(tf.constant([[1.0, 0.0]] * 2))) < 20  # log of a tiny share, not of 0.
    no_click = balance_loss(tf.constant([[0.5, 0.5]]), tf.constant([False]))
    assert np.isfinite(no_click)


def test_sharpness_is_of_the_largest_share():
    routes = random_routes(20, 4)
    expected = [0 if max(row) > 0.95 else -np.log(max(row)) for row in routes]

    np.testing.assert_allclose(sharpness_loss(routes), expected, rtol=1e-5)


def test_semantic_loss_equals_numpy():
    rng = np.random.default_rng(1)
    users, items = rng.normal(size=[6, 3, 4]), rng.normal(size=[6, 4])
    shares = random_routes(6, 3)

    losses = semantic_loss(
        tf.constant(users, tf.float32), tf.constant(items, tf.float32), shares, temperature=0.5
    )

    for row in range(6):
        scores = users[row] @ items[row] / 0.5
        log_softmax = scores - np.log(np.exp(scores).sum())
        assert float(losses[row]) == pytest.approx(-(shares[row] @ log_softmax), rel=1e-4)
