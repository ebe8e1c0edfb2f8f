"""Negatives of single clicks: by hand, against numpy, and at their edges."""

import numpy as np
import pytest
import tensorflow as tf

from recall.losses.full_softmax import full_softmax_loss
from recall.losses.own_negatives import logsumexp_of_own
from recall.losses.sampled_softmax import interest_softmax_loss, sampled_softmax_loss

BATCH, NUM_INTERESTS, DIM, NUM_OWN = 5, 3, 4, 6


def draw(seed=0):
    rng = np.random.default_rng(seed)
    users = rng.normal(size=[BATCH, NUM_INTERESTS, DIM]).astype(np.float32)
    own = rng.normal(size=[BATCH, NUM_OWN, DIM]).astype(np.float32)
    mask = rng.random([BATCH, NUM_OWN]) < 0.6
    mask[0] = False
    hidden = np.ones([BATCH, NUM_INTERESTS], bool)
    hidden[1, 0] = hidden[2, 1] = False
    return users, own, mask, hidden


@pytest.mark.parametrize("reduction", ["max", "sum"])
def test_is_that_of_numpy(reduction):
    users, own, mask, interest_mask = draw()
    expected = []
    for user in range(BATCH):
        terms = []
        for item in own[user][mask[user]]:
            logits = users[user][interest_mask[user]].astype(np.float64) @ item / 0.3
            terms += [logits.max()] if reduction == "max" else logits.tolist()
        expected.append(np.log(np.exp(terms).sum()) if terms else -1e9)
    found = logsumexp_of_own(
        users, own, mask, interest_mask, temperature=0.3, interest_reduction=reduction
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_masked_ones_are_as_good_as_deleted_and_gradients_finite():
    users, own, mask, _ = draw(1)
    mask[1:, 3:] = False
    variables = [tf.Variable(users * 50), tf.Variable(own)]
    with tf.GradientTape() as tape:
        found = logsumexp_of_own(*variables, mask, temperature=0.07)
        total = tf.reduce_sum(found)
    kept = logsumexp_of_own(users * 50, own[:, :3], mask[:, :3], temperature=0.07)
    np.testing.assert_allclose(found, kept, rtol=1e-6)
    for gradient in tape.gradient(total, variables):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("loss", [sampled_softmax_loss, full_softmax_loss])
def test_negatives_of_one_user_count_as_shared_ones_do(loss):
    rng = np.random.default_rng(2)
    users = rng.normal(size=[1, NUM_INTERESTS, DIM]).astype(np.float32)
    positive = rng.normal(size=[1, DIM]).astype(np.float32)
    shared = rng.normal(size=[7, DIM]).astype(np.float32)
    own = rng.normal(size=[1, NUM_OWN, DIM]).astype(np.float32)
    more = logsumexp_of_own(users, own, np.ones([1, NUM_OWN], bool), temperature=0.5)
    found = loss(users, positive, tf.constant(shared), temperature=0.5, own_logsumexp=more)
    together = tf.constant(np.concatenate([shared, own[0]]))
    expected = loss(users, positive, together, temperature=0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("has_static_shapes", [False, True])
def test_losses_within_interests_take_them_too(has_static_shapes):
    users, own, mask, _ = draw(3)
    rng = np.random.default_rng(4)
    positives = rng.normal(size=[BATCH, DIM]).astype(np.float32)
    negatives = rng.normal(size=[NUM_INTERESTS, 4, DIM]).astype(np.float32)
    interests = np.array([2, 0, 1, 0, 2])
    is_own = np.eye(NUM_INTERESTS, dtype=bool)[interests]
    more = logsumexp_of_own(users, own, mask, is_own, temperature=0.5)
    found = interest_softmax_loss(
        users,
        positives,
        tf.constant(negatives),
        tf.ones([NUM_INTERESTS, BATCH, 4], bool),
        interests,
        temperature=0.5,
        has_static_shapes=has_static_shapes,
        own_logsumexp=more,
    )
    expected = []
    for user, interest in enumerate(interests):
        vector = users[user, interest].astype(np.float64)
        logits = np.concatenate(
            [
                [vector @ positives[user]],
                negatives[interest] @ vector,
                own[user][mask[user]] @ vector,
            ]
        )
        expected.append(np.log(np.exp(logits / 0.5).sum()) - logits[0] / 0.5)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
