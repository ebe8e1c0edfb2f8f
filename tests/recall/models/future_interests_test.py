"""Which interests of past and future are compared."""

import numpy as np
import pytest
import tensorflow as tf

from recall.models.future_interests import compute_seq2seq, find_common_interests
from recall.models.prefixes import Prefixes
from recall.settings.loss import LossConfig
from recall.towers import UserTowerOutput

PAST = np.array([[0.5, 0.4, 0.1, 0.0], [0.25, 0.25, 0.25, 0.25]], np.float32)
FUTURE = np.array([[0.4, 0.05, 0.5, 0.05], [0.7, 0.3, 0.0, 0.0]], np.float32)


@pytest.mark.parametrize(
    ("least", "expected"),
    [
        (0.0, [[True, True, True, False], [True, True, False, False]]),
        (0.1, [[True, False, True, False], [True, True, False, False]]),
        (0.3, [[True, False, False, False], [False, False, False, False]]),
    ],
)
def test_an_interest_is_common_if_both_hold_the_least_share(least, expected):
    config = LossConfig(min_pair_weight=least)
    assert find_common_interests(PAST, FUTURE, config).numpy().tolist() == expected


def prefixes_of(vectors, weights, futures, future_weights, is_active=None):
    """Two sequences of one slot, so that the anchors are known."""
    return Prefixes(
        tf.constant(vectors),
        tf.constant([2, 3]),
        is_real=None,
        starts=tf.constant([0, 1]),
        lengths=tf.constant([1, 1]),
        interest_weights=tf.constant(weights),
        encode_future=lambda _: UserTowerOutput(tf.constant(futures), tf.constant(future_weights)),
        is_active=is_active,
    )


def test_only_common_interests_are_compared():
    rng = np.random.default_rng(4)
    past, future = (rng.normal(size=[2, 4, 5]).astype(np.float32) for _ in range(2))
    config = LossConfig(temperature=1.0, min_pair_weight=0.1, confident_fraction=1.0)

    found = compute_seq2seq(prefixes_of(past, PAST, future, FUTURE), tf.constant([1, 2]), 4, config)

    pairs = [(0, 0), (0, 2), (1, 0), (1, 1)]
    losses = []
    for pair in pairs:
        scores = [past[pair] @ future[other] for other in pairs]
        losses.append(np.log(np.sum(np.exp(scores))) - past[pair] @ future[pair])
    assert float(found.loss) == pytest.approx(np.mean(losses), rel=1e-5)


def test_interests_that_are_switched_off_are_not_compared():
    """Their weight is 0, in the past or in the future."""
    rng = np.random.default_rng(4)
    past, future = (rng.normal(size=[2, 4, 5]).astype(np.float32) for _ in range(2))
    config = LossConfig(temperature=1.0, confident_fraction=1.0)
    prefixes = prefixes_of(past, PAST, future, FUTURE, is_active=tf.constant(PAST > 0))

    found = compute_seq2seq(prefixes, tf.constant([1, 2]), 4, config)

    pairs = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    losses = []
    for pair in pairs:
        scores = [past[pair] @ future[other] for other in pairs]
        losses.append(np.log(np.sum(np.exp(scores))) - past[pair] @ future[pair])
    assert float(found.loss) == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(
    ("settings", "is_active", "kept"),
    [
        ({}, None, np.ones([2, 4], bool)),
        ({"min_pair_weight": 0.1}, None, FUTURE >= 0.1),
        ({}, PAST > 0, FUTURE > 0),
    ],
)
def test_what_a_future_does_not_hold_is_no_negative_of_later_steps(settings, is_active, kept):
    """Zeros of a queue stand for no future."""
    rng = np.random.default_rng(4)
    past, future = (rng.normal(size=[2, 4, 5]).astype(np.float32) for _ in range(2))
    prefixes = prefixes_of(past, PAST, future, FUTURE, is_active)

    found = compute_seq2seq(prefixes, tf.constant([1, 2]), 4, LossConfig(**settings))

    np.testing.assert_array_equal(found.vectors, np.where(kept[:, :, np.newaxis], future, 0))


def test_without_a_common_interest_the_loss_is_zero_and_moves_nothing():
    past = tf.Variable(tf.ones([2, 4, 5]))
    nowhere = np.zeros([2, 4], np.float32)
    config = LossConfig(min_pair_weight=0.1)
    with tf.GradientTape() as tape:
        prefixes = prefixes_of(past.numpy(), PAST, past.numpy(), nowhere)
        loss = compute_seq2seq(
            prefixes._replace(user_vectors=past.read_value()), tf.constant([1, 2]), 4, config
        ).loss

    assert float(loss) == 0
    gradient = tf.convert_to_tensor(tape.gradient(loss, past))
    assert np.isfinite(gradient).all()
    assert not np.any(gradient)
