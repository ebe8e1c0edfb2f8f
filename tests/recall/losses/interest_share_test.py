"""Interests that win too many clicks: which are hidden, how often, and never all."""

import numpy as np
import pytest
import tensorflow as tf

from recall.losses.interest_share import draw_interest_mask

SEED = tf.constant([1, 2], tf.int64)


def draw(winners, num_interests, max_share, seed=SEED):
    """The mask for clicks whose best interests are `winners`."""
    users = np.tile(np.eye(num_interests, dtype=np.float32), [len(winners), 1, 1])
    positives = np.eye(num_interests, dtype=np.float32)[winners]
    return draw_interest_mask(tf.constant(users), tf.constant(positives), max_share, seed).numpy()


def test_an_interest_above_the_limit_gives_up_what_is_above():
    winners = np.repeat([0, 1, 2], [90_000, 7_000, 3_000])

    mask = draw(winners, 3, max_share=0.6)

    # Interest 0 wins 90 % and is to keep 60 %: a third of its clicks is hidden.
    # Four standard errors of a share of 90,000 are .0063.
    assert abs((~mask[:90_000, 0]).mean() - 1 / 3) < 0.0063
    # Interests under the limit, and those that do not win a click, are never hidden.
    assert mask[:, 1:].all()
    assert mask[90_000:].all()


@pytest.mark.parametrize("max_share", [0.5, 0.8, 1.0])
def test_nothing_is_hidden_up_to_the_limit(max_share):
    assert draw(np.repeat([0, 1], 500), 2, max_share).all()


def test_the_only_interest_is_never_hidden():
    assert draw(np.zeros(100, int), 1, max_share=0.1).all()


def test_a_batch_without_clicks():
    assert draw(np.zeros(0, int), 3, max_share=0.5).shape == (0, 3)


def test_the_seed_decides():
    winners = np.zeros(1000, int)
    first, again = draw(winners, 2, 0.5), draw(winners, 2, 0.5)
    np.testing.assert_array_equal(first, again)
    assert (draw(winners, 2, 0.5, SEED + 2) != first).any()
