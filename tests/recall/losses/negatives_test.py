"""Shared negatives: range, distribution, reproducibility and accidental hits."""

import numpy as np
import pytest
import tensorflow as tf

from recall.losses.negatives import (
    enqueue,
    enqueue_clicks,
    enqueue_clicks_by_interest,
    find_accidental_hits,
    sample_clicked_negatives,
    sample_uniform_negatives,
)
from recall.losses.sampled_softmax import interest_softmax_loss, sampled_softmax_loss


def test_every_item_is_drawn_equally_often_and_nothing_else():
    ids = sample_uniform_negatives(5, 20_000, tf.constant([1, 2])).numpy()

    assert ids.dtype == np.int64
    # Five items have the dense ids 2 to 6; 0 is padding, 1 the unknown item.
    found, counts = np.unique(ids, return_counts=True)
    np.testing.assert_array_equal(found, [2, 3, 4, 5, 6])
    # 4,000 each, standard deviation sqrt(20000 * .2 * .8) = 57; five of them.
    assert np.abs(counts - 4000).max() < 285


def test_the_draw_is_a_function_of_the_seed_alone():
    tf.random.set_seed(1)
    first = sample_uniform_negatives(1000, 50, tf.constant([3, 4], tf.int64)).numpy()
    tf.random.set_seed(2)
    again = sample_uniform_negatives(1000, 50, tf.constant([3, 4], tf.int64)).numpy()
    other = sample_uniform_negatives(1000, 50, tf.constant([3, 6], tf.int64)).numpy()

    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_clicked_negatives_are_drawn_as_often_as_clicked():
    counts = np.array([0, 6, 1, 0, 3])

    ids, corrections = (
        tensor.numpy() for tensor in sample_clicked_negatives(counts, 20_000, tf.constant([1, 2]))
    )

    # Items of 0 clicks, the dense ids 2 and 5, are never drawn.
    found, drawn = np.unique(ids, return_counts=True)
    np.testing.assert_array_equal(found, [3, 4, 6])
    np.testing.assert_allclose(drawn / 20_000, [0.6, 0.1, 0.3], atol=0.015)
    # Shares of .6, .1 and .3 beside an equal one of .2.
    by_hand = {3: -np.log(3), 4: np.log(2), 6: -np.log(1.5)}
    np.testing.assert_allclose(corrections, [by_hand[i] for i in ids], rtol=1e-5)


def test_corrected_sums_over_clicked_negatives_are_those_over_the_catalogue():
    """What log-q is for: whatever the clicks, exp(logit + correction) has the mean of all items."""
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 100, 50)
    logits = counts / 50 + rng.normal(size=50)

    ids, corrections = sample_clicked_negatives(counts, 200_000, tf.constant([1, 2]))

    estimate = np.exp(logits[ids.numpy() - 2] + corrections.numpy()).mean()
    assert estimate == pytest.approx(np.exp(logits).mean(), rel=0.03)
    assert np.exp(logits[ids.numpy() - 2]).mean() > 1.2 * np.exp(logits).mean()


def test_accidental_hits_by_hand():
    positives = tf.constant([5, 2, 9], tf.int64)
    negatives = tf.constant([2, 5, 5, 3], tf.int64)

    np.testing.assert_array_equal(
        find_accidental_hits(positives, negatives),
        [
            [False, True, True, False],
            [True, False, False, False],
            [False, False, False, False],
        ],
    )


@pytest.mark.parametrize(
    ("positives", "expected"),
    [([], [7, 8, 9]), ([2], [2, 7, 8]), ([2, 3, 3], [2, 3, 3]), ([2, 3, 4, 5], [2, 3, 4])],
)
def test_the_oldest_clicks_leave_the_queue(positives, expected):
    queue = tf.constant([7, 8, 9], tf.int64)
    np.testing.assert_array_equal(
        enqueue_clicks(queue, tf.constant(positives, tf.int64)), np.array(expected)
    )


def test_accidental_hits_of_every_interest_by_hand():
    hits = find_accidental_hits(tf.constant([5, 2]), tf.constant([[2, 5, 5], [3, 2, 4]]))

    np.testing.assert_array_equal(
        hits,
        [
            [[False, True, True], [True, False, False]],
            [[False, False, False], [False, True, False]],
        ],
    )


def test_every_interest_has_the_latest_clicks_of_its_own():
    queues = tf.constant([[7, 8], [9, 10], [11, 12]])

    queues = enqueue_clicks_by_interest(
        queues, tf.constant([2, 3, 4, 5]), tf.constant([1, 0, 1, 1])
    )

    np.testing.assert_array_equal(queues, [[3, 7], [2, 4], [11, 12]])


def test_a_queue_of_vectors_takes_those_that_there_are():
    queue = tf.constant([[7.0, 7.0], [8.0, 8.0], [9.0, 9.0]])
    rows = tf.constant([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])

    latest = enqueue(queue, rows, tf.constant([True, False, True]))
    np.testing.assert_array_equal(latest, [[1, 1], [3, 3], [7, 7]])
    np.testing.assert_array_equal(enqueue(latest, rows), rows)
    np.testing.assert_array_equal(enqueue(latest, rows, tf.zeros([3], bool)), latest)


def learn_scores(num_items, click_shares, use_queue):
    """`[num_items]` scores of a model that knows nothing of the users, by gradient descent."""
    rng = np.random.default_rng(0)
    scores = tf.Variable(tf.zeros([num_items + 2, 1]))
    queue = tf.Variable(sample_uniform_negatives(num_items, 64, tf.constant([1, -1], tf.int64)))

    @tf.function
    def step(positive_ids, seed):
        negative_ids = queue if use_queue else sample_uniform_negatives(num_items, 64, seed)
        with tf.GradientTape() as tape:
            losses = sampled_softmax_loss(
                tf.ones([128, 1, 1]),
                tf.gather(scores, positive_ids),
                tf.gather(scores, negative_ids),
                ~find_accidental_hits(positive_ids, negative_ids),
                temperature=1.0,
            )
            loss = tf.reduce_mean(losses)
        scores.assign_sub(2.0 * tf.convert_to_tensor(tape.gradient(loss, scores)))
        queue.assign(enqueue_clicks(queue, positive_ids))

    total = np.zeros(num_items)
    for number in range(400):
        clicks = rng.choice(num_items, 128, p=click_shares) + 2
        step(tf.constant(clicks), tf.constant([1, 2 * number], tf.int64))
        if number >= 200:
            total += scores.numpy()[2:, 0]
    return total / 200


def test_negatives_from_the_queue_take_popularity_out_of_the_scores():
    """Scores learn log(p / q): with uniform q popularity p remains, with q = p nothing does."""
    click_shares = np.arange(1, 101) ** -0.7
    click_shares /= click_shares.sum()

    uniform, queue = (
        np.polyfit(np.log(click_shares), learn_scores(100, click_shares, use_queue), 1)[0]
        for use_queue in (False, True)
    )

    assert 0.9 < uniform < 1.1
    assert -0.1 < queue < 0.1


def test_queues_by_interest_leave_nothing_of_how_often_items_or_interests_are_clicked():
    """Scores learn log(p(j | k) / p(j | k)) = 0, within an interest and between them."""
    rng = np.random.default_rng(0)
    # Interest 0 has items 2 to 21 and three quarters of the clicks, interest 1 items 22 to 41.
    click_shares = np.arange(1, 21) ** -0.7
    click_shares = np.concatenate([0.75 * click_shares, 0.25 * click_shares]) / click_shares.sum()
    interest_of_item = np.repeat([0, 1], 20)
    # An item is near its own interest alone, by a score of its own.
    own_part = tf.one_hot([0, 0, *interest_of_item], 2)
    scores = tf.Variable(tf.zeros([42, 1]))
    queues = tf.Variable([[2] * 64, [22] * 64], dtype=tf.int64)

    @tf.function
    def step(positive_ids, interests):
        with tf.GradientTape() as tape:
            items = scores * own_part + (1.0 - own_part) * -50.0
            losses = interest_softmax_loss(
                tf.tile(tf.eye(2)[tf.newaxis], [128, 1, 1]),
                tf.gather(items, positive_ids),
                tf.gather(items, queues),
                ~find_accidental_hits(positive_ids, queues),
                interests,
                temperature=1.0,
            )
            loss = tf.reduce_mean(losses)
        scores.assign_sub(2.0 * tf.convert_to_tensor(tape.gradient(loss, scores)))
        queues.assign(enqueue_clicks_by_interest(queues, positive_ids, interests))

    total = np.zeros(40)
    for number in range(400):
        clicks = rng.choice(40, 128, p=click_shares)
        step(tf.constant(clicks + 2), tf.constant(interest_of_item[clicks]))
        if number >= 200:
            total += scores.numpy()[2:, 0] / 200

    for items in (slice(20), slice(20, 40)):
        slope = np.polyfit(np.log(click_shares[items]), total[items], 1)[0]
        assert -0.15 < slope < 0.15
    assert total[:20].mean() - total[20:].mean() == pytest.approx(0, abs=0.15)


def test_ids_that_are_no_clicks_do_not_come_into_the_queue():
    queue, ids = tf.constant([7, 8, 9, 10]), tf.constant([2, 0, 3, 0])

    latest = enqueue_clicks(queue, ids, tf.constant([True, False, True, False]))

    np.testing.assert_array_equal(latest, [2, 3, 7, 8])


@pytest.mark.parametrize(("num_clicks", "expected"), [(0, [7, 8]), (1, [2, 7]), (5, [2, 3])])
def test_a_queue_that_is_told_what_clicks_are_takes_none_or_too_many(num_clicks, expected):
    is_real = tf.range(5) < num_clicks

    latest = enqueue_clicks(tf.constant([7, 8]), tf.constant([2, 3, 4, 5, 6]), is_real)

    np.testing.assert_array_equal(latest, expected)
