"""The overlap of a user's interests, by numpy."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from recall.losses.overlap import overlap_loss


def test_it_is_the_mean_squared_cosine_of_all_pairs():
    vectors = np.random.default_rng(0).normal(size=[5, 3, 4])

    losses = overlap_loss(tf.constant(vectors, tf.float32))

    for user, loss in zip(vectors, losses, strict=True):
        squares = [
            (a @ b / np.linalg.norm(a) / np.linalg.norm(b)) ** 2
            for a, b in itertools.combinations(user, 2)
        ]
        assert float(loss) == pytest.approx(np.mean(squares), rel=1e-4)


def test_zeros_have_no_overlap_and_a_finite_gradient():
    vectors = tf.zeros([1, 2, 3])
    with tf.GradientTape() as tape:
        tape.watch(vectors)
        loss = overlap_loss(vectors)

    assert float(loss[0]) == 0
    assert np.isfinite(tape.gradient(loss, vectors)).all()
