"""The seq2seq loss and the choice of confident pairs."""

import numpy as np
import pytest
import tensorflow as tf

from recall.losses.seq2seq import (
    reduce_confident,
    select_confident_of_users,
    select_confident_pairs,
    seq2seq_loss,
)
from tests.finite_differences import differentiate

BATCH, NUM_INTERESTS, DIM = 5, 3, 4


def random_vectors(batch=BATCH, seed=0):
    shape = [batch, NUM_INTERESTS, DIM]
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype(np.float32), rng.normal(size=shape).astype(np.float32)


def loss_in_numpy(past, future, temperature):
    """Equation 5 of the article, one pair at a time, in float64."""
    past, future = np.asarray(past, np.float64), np.asarray(future, np.float64)
    losses = np.zeros(past.shape[:2])
    for u, k in np.ndindex(*losses.shape):
        logits = [past[u, k] @ other / temperature for user in future for other in user]
        own = past[u, k] @ future[u, k] / temperature
        top = max(logits)
        losses[u, k] = top + np.log(np.exp(np.array(logits) - top).sum()) - own
    return losses


def test_an_interest_that_is_no_part_of_both_is_neither_compared_nor_a_negative():
    rng = np.random.default_rng(8)
    past, future = (rng.normal(size=[2, 2, 3]).astype(np.float32) for _ in range(2))
    is_pair = np.array([[True, False], [True, True]])

    losses = seq2seq_loss(past, future, is_pair, temperature=1.0).numpy()

    kept = [(0, 0), (1, 0), (1, 1)]
    for user, k in kept:
        scores = [past[user, k] @ future[place] for place in kept]
        expected = np.log(np.sum(np.exp(scores))) - past[user, k] @ future[user, k]
        assert losses[user, k] == pytest.approx(expected, rel=1e-5)
    assert losses[0, 1] == 0


def test_confident_pairs_are_a_share_of_those_that_are_compared():
    losses = tf.constant([[0.0, 3.0], [1.0, 2.0], [0.0, 0.5]])
    is_pair = np.array([[False, True], [True, True], [False, False]])
    # Of three pairs .7 are two, those of 1 and 2.
    kept = select_confident_pairs(losses, is_pair, confident_fraction=0.7)
    assert kept.numpy().tolist() == [[False, False], [True, True], [False, False]]
    # One of each user who has one.
    of_users = select_confident_of_users(losses, is_pair, confident_fraction=0.5)
    assert of_users.numpy().tolist() == [[False, True], [True, False], [False, False]]


def test_two_users_of_one_interest_by_hand():
    vectors = tf.constant([[[1.0, 0.0]], [[0.0, 1.0]]])

    losses = seq2seq_loss(vectors, vectors, tf.constant([True, True]), temperature=1.0)

    # Own future 1, the other user's 0: log(e + 1) - 1 = .3133.
    np.testing.assert_allclose(losses, [[0.3133], [0.3133]], atol=1e-4)


def test_other_interests_of_the_same_user_are_negatives():
    past = tf.constant([[[1.0, 0.0], [0.0, 1.0]]])
    future = tf.constant([[[1.0, 0.0], [2.0, 0.0]]])

    losses = seq2seq_loss(past, future, tf.constant([True]), temperature=1.0)

    # Interest 0 scores 1 (own) and 2: log(e + e^2) - 1. Interest 1 scores 0 and 0 (own).
    np.testing.assert_allclose(losses, [[np.log(np.e + np.e**2) - 1, np.log(2)]], rtol=1e-5)


@pytest.mark.parametrize("temperature", [0.07, 1.0, 2.0])
def test_equals_the_formula_in_numpy(temperature):
    past, future = random_vectors()

    losses = seq2seq_loss(past, future, np.ones(BATCH, bool), temperature=temperature)

    np.testing.assert_allclose(
        losses, loss_in_numpy(past, future, temperature), rtol=1e-3, atol=1e-4
    )
    assert (losses.numpy() >= 0).all()


def loss_with_others(past, future, owners, queued, temperature):
    """The same where rows may be of one user, whose other rows are no negatives, and with more."""
    past, future = np.asarray(past, np.float64), np.asarray(future, np.float64)
    losses = np.zeros(past.shape[:2])
    for u, k in np.ndindex(*losses.shape):
        rows = [v for v in range(len(future)) if v == u or owners[v] != owners[u]]
        others = [*future[rows].reshape(-1, DIM), *np.reshape(queued, [-1, DIM])]
        logits = np.array([past[u, k] @ other / temperature for other in others])
        own = past[u, k] @ future[u, k] / temperature
        losses[u, k] = logits.max() + np.log(np.exp(logits - logits.max()).sum()) - own
    return losses


OWNERS = np.array([0, 1, 2, 0, 1])
"""Two anchors of two users, one of the third."""


def test_another_future_of_the_same_user_is_no_negative():
    past, future = random_vectors()
    all_valid = np.ones(BATCH, bool)

    losses = seq2seq_loss(past, future, all_valid, temperature=0.5, owners=OWNERS)

    expected = loss_with_others(past, future, OWNERS, [], 0.5)
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)
    assert (losses.numpy() < seq2seq_loss(past, future, all_valid, temperature=0.5).numpy())[
        [0, 1, 3, 4]
    ].all()


@pytest.mark.parametrize("owners", [None, OWNERS], ids=["one_each", "two_each"])
def test_queued_futures_are_negatives_but_where_there_is_none(owners):
    past, future = random_vectors()
    queued = random_vectors(4, seed=3)[0]
    with_gap = np.insert(queued, 2, 0.0, axis=0)
    options = {"temperature": 0.5, "owners": owners}

    losses = seq2seq_loss(past, future, np.ones(BATCH, bool), queued_vectors=with_gap, **options)

    of_whom = range(BATCH) if owners is None else owners
    expected = loss_with_others(past, future, of_whom, queued, 0.5)
    np.testing.assert_allclose(losses, expected, rtol=1e-4, atol=1e-5)
    empty = np.zeros_like(queued)
    np.testing.assert_allclose(
        seq2seq_loss(past, future, np.ones(BATCH, bool), queued_vectors=empty, **options),
        seq2seq_loss(past, future, np.ones(BATCH, bool), **options),
        rtol=1e-6,
    )


def test_gradients_with_other_futures_and_a_queue_equal_finite_differences():
    arrays, queued = random_vectors(), random_vectors(2, seed=3)[0]
    weights = np.arange(15.0).reshape(BATCH, NUM_INTERESTS) % 4
    variables = [*(tf.constant(array) for array in arrays), tf.constant(queued)]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        losses = seq2seq_loss(
            *variables[:2],
            np.ones(BATCH, bool),
            temperature=0.5,
            owners=OWNERS,
            queued_vectors=variables[2],
            max_gradient_pairs=15,
        )
        total = tf.reduce_sum(losses * weights.astype(np.float32))
    *gradients, of_queue = tape.gradient(total, variables)

    def compute(past, future):
        return (loss_with_others(past, future, OWNERS, queued, 0.5) * weights).sum()

    for gradient, expected in zip(gradients, differentiate(compute, arrays), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4)
    assert of_queue is None


def test_masked_equals_deleted():
    past, future = random_vectors()
    is_valid = np.array([True, False, True, True, False])

    losses = seq2seq_loss(past, future, is_valid, temperature=0.5).numpy()

    alone = seq2seq_loss(past[is_valid], future[is_valid], np.ones(3, bool), temperature=0.5)
    np.testing.assert_allclose(losses[is_valid], alone, rtol=1e-5)
    assert (losses[~is_valid] == 0).all()


def test_gradients_equal_finite_differences():
    arrays = random_vectors()
    is_valid = np.array([True, False, True, True, True])
    weights = np.arange(15.0).reshape(BATCH, NUM_INTERESTS) % 4  # Some pairs do not count.
    variables = [tf.constant(array) for array in arrays]
    with tf.GradientTape() as tape:
        tape.watch(variables)
        losses = seq2seq_loss(*variables, is_valid, temperature=0.5)
        total = tf.reduce_sum(losses * weights.astype(np.float32))
    gradients = tape.gradient(total, variables)

    def compute(past, future):
        return (loss_in_numpy(past[is_valid], future[is_valid], 0.5) * weights[is_valid]).sum()

    for gradient, expected in zip(gradients, differentiate(compute, arrays), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4)


def test_a_masked_user_has_no_gradient():
    past, future = (tf.constant(v) for v in random_vectors())
    is_valid = np.array([True, False, True, True, True])
    with tf.GradientTape() as tape:
        tape.watch([past, future])
        losses = seq2seq_loss(past, future, is_valid, temperature=0.5)

    for gradient in tape.gradient(losses, [past, future]):
        norms = np.abs(gradient).max(axis=(1, 2))
        assert norms[1] == 0
        assert (norms[is_valid] > 0).all()


def test_all_masked_is_zero_with_finite_gradient():
    past, future = (tf.constant(v) for v in random_vectors())
    is_valid = np.zeros(BATCH, bool)
    with tf.GradientTape() as tape:
        tape.watch([past, future])
        losses = seq2seq_loss(past, future, is_valid, temperature=0.07)
        confident = select_confident_pairs(losses, is_valid, confident_fraction=0.5)
        total = reduce_confident(losses, confident)

    assert (losses.numpy() == 0).all()
    assert not confident.numpy().any()
    assert total == 0
    for gradient in tape.gradient(total, [past, future]):
        assert (gradient.numpy() == 0).all()


@pytest.mark.parametrize("size", [1e2, 1e3])
def test_huge_scores_stay_finite(size):
    past, future = (tf.constant(v * size) for v in random_vectors())
    with tf.GradientTape() as tape:
        tape.watch([past, future])
        losses = seq2seq_loss(past, future, np.ones(BATCH, bool), temperature=0.07)

    assert np.isfinite(losses).all()
    assert (losses.numpy() >= 0).all()
    for gradient in tape.gradient(losses, [past, future]):
        assert np.isfinite(gradient).all()


def test_the_order_of_users_does_not_matter():
    past, future = random_vectors()
    is_valid, order = np.array([True, True, False, True, True]), [3, 1, 4, 0, 2]

    losses = seq2seq_loss(past, future, is_valid, temperature=0.5).numpy()
    shuffled = seq2seq_loss(past[order], future[order], is_valid[order], temperature=0.5)

    np.testing.assert_allclose(shuffled, losses[order], rtol=1e-4, atol=1e-6)


def test_confident_pairs_by_hand():
    losses = tf.constant([[0.5, 2.0], [0.0, 0.0], [1.0, 0.1]])
    is_valid = tf.constant([True, False, True])

    # Four valid pairs; floor(.5 * 4) = 2 smallest: .1 and .5. User 1 has no
    # future; its zeros are not the smallest losses.
    kept = select_confident_pairs(losses, is_valid, confident_fraction=0.5)
    np.testing.assert_array_equal(kept, [[True, False], [False, False], [False, True]])
    assert reduce_confident(losses, kept).numpy() == pytest.approx(0.3)

    # floor(.3 * 4) = 1.
    kept = select_confident_pairs(losses, is_valid, confident_fraction=0.3)
    np.testing.assert_array_equal(kept, [[False, False], [False, False], [False, True]])

    # floor(.2 * 4) = 0: nothing is fitted.
    kept = select_confident_pairs(losses, is_valid, confident_fraction=0.2)
    assert not kept.numpy().any()
    assert reduce_confident(losses, kept).numpy() == 0


@pytest.mark.parametrize(
    ("fraction", "num_pairs", "expected"),
    [(0.3, 10, 3), (0.1, 10, 1), (0.7, 10, 7), (0.29, 100, 29), (0.35, 20, 7), (1.0, 9, 9)],
)
def test_the_share_is_not_lost_to_rounding(fraction, num_pairs, expected):
    """In float32 .7 * 10 is just under 7."""
    losses = np.random.default_rng(0).random([num_pairs, 1]).astype(np.float32)

    kept = select_confident_pairs(losses, np.ones(num_pairs, bool), confident_fraction=fraction)

    assert kept.numpy().sum() == expected
    assert losses[kept].max() <= np.sort(losses.ravel())[expected - 1]


def test_of_equal_losses_the_earlier_pair_wins():
    losses = tf.ones([2, 2])

    kept = select_confident_pairs(losses, tf.constant([True, True]), confident_fraction=0.75)

    np.testing.assert_array_equal(kept, [[True, True], [True, False]])


def test_the_choice_goes_with_the_user():
    losses = np.random.default_rng(4).random([BATCH, NUM_INTERESTS]).astype(np.float32)
    is_valid, order = np.array([True, True, False, True, True]), [3, 1, 4, 0, 2]

    kept = select_confident_pairs(losses, is_valid, confident_fraction=0.4).numpy()
    shuffled = select_confident_pairs(losses[order], is_valid[order], confident_fraction=0.4)

    assert kept.sum() == 4  # floor(.4 * 12)
    np.testing.assert_array_equal(shuffled, kept[order])


def test_pairs_that_are_not_confident_have_no_gradient():
    losses = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    is_confident = tf.constant([[True, False], [False, True]])
    with tf.GradientTape() as tape:
        tape.watch(losses)
        total = reduce_confident(losses, is_confident)

    assert total == 2.5  # (1 + 4) / 2
    np.testing.assert_array_equal(tape.gradient(total, losses), [[0.5, 0.0], [0.0, 0.5]])


@pytest.mark.parametrize("bound", [6, 9, 15])
def test_a_bound_of_the_pairs_with_a_gradient_changes_nothing_above_their_number(bound):
    past, future = (tf.constant(vectors) for vectors in random_vectors())
    # Six of the 15 pairs, the first of all among them.
    weights = np.zeros([BATCH, NUM_INTERESTS], np.float32)
    weights.ravel()[[0, 3, 4, 8, 13, 14]] = [1.0, -2.0, 0.5, 3.0, 1.5, -1.0]

    def gradients(**options):
        with tf.GradientTape() as tape:
            tape.watch([past, future])
            losses = seq2seq_loss(past, future, tf.ones([BATCH], bool), temperature=0.5, **options)
            total = tf.reduce_sum(losses * weights)
        return tape.gradient(total, [past, future])

    expected = gradients()
    for gradient, wanted in zip(gradients(max_gradient_pairs=bound), expected, strict=True):
        np.testing.assert_allclose(gradient, wanted, atol=1e-5)
        assert np.abs(wanted).max() > 0.1


def test_pairs_beyond_the_bound_have_no_gradient():
    past, future = (tf.constant(vectors) for vectors in random_vectors())
    with tf.GradientTape() as tape:
        tape.watch(past)
        losses = seq2seq_loss(
            past, future, tf.ones([BATCH], bool), temperature=0.5, max_gradient_pairs=4
        )
    gradient = tape.gradient(losses, past).numpy().reshape(-1, DIM)

    assert (np.abs(gradient) > 0).any(axis=1).tolist() == [True] * 4 + [False] * 11


def test_every_user_keeps_as_many_of_her_own_pairs():
    """.5 of three pairs is one; of equal losses the earlier interest; none of a masked user."""
    losses = tf.constant([[9.0, 8.0, 9.5], [0.1, 0.1, 0.3], [0.2, 0.0, 0.1]])
    is_valid = tf.constant([True, True, False])
    chosen = select_confident_of_users(losses, is_valid, confident_fraction=0.5)
    assert chosen.numpy().tolist() == [
        [False, True, False],
        [True, False, False],
        [False, False, False],
    ]
    both = select_confident_of_users(losses, is_valid, confident_fraction=0.7)
    assert both.numpy().sum(axis=1).tolist() == [2, 2, 0]
