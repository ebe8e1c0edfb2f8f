"""Interests that win too few clicks: which they are given, and who keeps what."""

import numpy as np
import pytest
import tensorflow as tf

from recall.losses.interest_share import assign_starving_interests, find_winners
from recall.losses.sampled_softmax import sampled_softmax_loss


def assign(scores, min_share):
    """The mask where interest k of user i scores `scores[i, k]` with the clicked item."""
    users = np.asarray(scores, np.float32)[:, :, np.newaxis]
    positives = np.ones([len(users), 1], np.float32)
    return assign_starving_interests(tf.constant(users), tf.constant(positives), min_share).numpy()


def test_a_starving_interest_gets_the_clicks_it_loses_by_the_least():
    scores = [[0.9, 0.1], [0.8, 0.7], [0.6, 0.4], [0.9, 0.2]]

    # It wins none and is to have two of the four: those lost by .1 and .2.
    expected = [[1, 1], [0, 1], [0, 1], [1, 1]]
    np.testing.assert_array_equal(assign(scores, 0.5), np.array(expected, bool))


def test_what_it_wins_counts():
    scores = [[0.9, 0.1], [0.8, 0.7], [0.3, 0.4], [0.9, 0.2]]

    expected = [[1, 1], [0, 1], [1, 1], [1, 1]]
    np.testing.assert_array_equal(assign(scores, 0.5), np.array(expected, bool))


def test_nobody_starves():
    scores = [[0.9, 0.1], [0.2, 0.8]]
    assert assign(scores, 0.5).all()


def test_the_nearest_of_two_gets_the_click():
    scores = [[0.9, 0.6, 0.7], [0.9, 0.1, 0.1], [0.9, 0.1, 0.0]]

    # Both want the first click, and interest 1 comes nearest to no other.
    expected = [[0, 0, 1], [1, 1, 1], [1, 1, 1]]
    np.testing.assert_array_equal(assign(scores, 0.34), np.array(expected, bool))


def test_a_starving_interest_keeps_the_click_it_wins():
    scores = [[0.1, 0.9, 0.8], [0.9, 0.1, 0.2], [0.9, 0.0, 0.3]]

    # Interest 2 loses the first click by the least, but it is all that interest 1 has.
    assert assign(scores, 0.34).all()


@pytest.mark.parametrize(("num_clicks", "min_share"), [(0, 0.5), (3, 0.3), (3, 0.0)])
def test_less_than_one_click_is_none(num_clicks, min_share):
    assert assign(np.tile([0.9, 0.1], [num_clicks, 1]), min_share).all()


def test_an_interest_that_is_switched_off_gets_no_click():
    scores = np.array([[0.9, 0.8, 0.7], [0.8, 0.7, 0.1], [0.6, 0.4, 0.5]], np.float32)
    is_active = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0]], bool)

    mask = assign_starving_interests(
        tf.constant(scores[:, :, np.newaxis]), tf.ones([3, 1]), 0.34, is_active=is_active
    )

    # Of the two that win nothing 1 comes nearest to the first click, 2 to the second.
    np.testing.assert_array_equal(mask, [[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(
        assign_starving_interests(
            tf.constant(scores[:, :, np.newaxis]), tf.ones([3, 1]), 0.0, is_active=is_active
        ),
        is_active,
    )


def test_equals_a_loop_in_numpy():
    rng = np.random.default_rng(1)
    scores = rng.normal([1.5, 1.0, 0.0, -1.0], size=[200, 4])

    expected = np.ones([200, 4], bool)
    leads = np.stack([s - np.delete(scores, k, 1).max(1) for k, s in enumerate(scores.T)], 1)
    wanted = [set(np.argsort(-leads[:, k])[:20]) for k in range(4)]
    for i in range(200):
        claimants = [k for k in range(4) if i in wanted[k]]
        if claimants:
            nearest = max(claimants, key=lambda k: leads[i, k])
            if nearest != scores[i].argmax():
                expected[i] = np.arange(4) == nearest

    assert 10 < (~expected).any(1).sum() < 60
    np.testing.assert_array_equal(assign(scores, 0.1), expected)


@pytest.mark.parametrize(("min_share", "floor", "ceiling"), [(0.0, 0.0, 0.02), (0.2, 0.15, 0.25)])
def test_learning_with_it_feeds_an_interest_that_starves(min_share, floor, ceiling):
    """Two linear interests of 256 users, the second one far from every click at first."""
    rng = np.random.default_rng(2)
    features = tf.constant(rng.normal(size=[256, 8]), tf.float32)
    items = tf.math.l2_normalize(tf.constant(rng.normal(size=[16, 8]), tf.float32), axis=1)
    clicked = tf.gather(items, tf.argmax(tf.matmul(features, items, transpose_b=True), axis=1))
    towers = tf.Variable(tf.stack([tf.eye(8), -tf.eye(8)]))
    optimizer = tf.keras.optimizers.Adam(0.02)

    def interests():
        return tf.math.l2_normalize(tf.einsum("bf,kfd->bkd", features, towers), axis=2)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            users = interests()
            mask = assign_starving_interests(users, clicked, min_share)
            losses = sampled_softmax_loss(users, clicked, items, None, mask, temperature=0.1)
            loss = tf.reduce_mean(losses)
        optimizer.apply_gradients([(tape.gradient(loss, towers), towers)])

    for _ in range(200):
        step()

    scores = tf.einsum("bkd,bd->bk", interests(), clicked).numpy()
    assert floor <= (scores[:, 1] > scores[:, 0]).mean() <= ceiling


@pytest.mark.parametrize(
    ("mask", "expected"),
    [(None, [0, 1, 2]), ([[0, 1, 0], [1, 1, 1], [1, 1, 1]], [1, 1, 2])],
)
def test_a_click_belongs_to_its_best_interest_that_is_not_hidden(mask, expected):
    users = tf.constant([[[0.9], [0.6], [0.7]], [[0.1], [0.2], [-0.4]], [[-0.3], [-0.2], [-0.1]]])
    mask = None if mask is None else tf.constant(np.array(mask, bool))

    np.testing.assert_array_equal(find_winners(users, tf.ones([3, 1]), mask), expected)


def test_slots_without_a_click_are_neither_given_nor_counted():
    scores = [[0.9, 0.1], [0.8, 0.7], [0.6, 0.4], [0.9, 0.2], [0.5, 0.5], [0.5, 0.5]]
    users = tf.constant(scores)[:, :, tf.newaxis]
    is_real = tf.constant([True, True, True, True, False, False])

    mask = assign_starving_interests(users, tf.ones([6, 1]), 0.5, is_real).numpy()

    # Half of four, as if the last two were not there.
    np.testing.assert_array_equal(mask[:4], assign(scores[:4], 0.5))
