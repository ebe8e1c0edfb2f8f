"""Ranking by TensorFlow gives the lists of ranking by numpy. It runs on any device."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.evaluation import full_ranking, gpu_ranking
from recall.ragged import Ragged

NUM_USERS, NUM_ITEMS, K = 30, 400, 20


def rank(vectors, items, excluded):
    ranker = gpu_ranking.device_ranker(lambda histories: vectors, items, 5, K)
    return ranker(Ragged.from_rows([[2]] * len(vectors)), excluded)


@pytest.fixture
def vectors():
    rng = np.random.default_rng(0)
    users, items = rng.normal(size=[NUM_USERS, 3, 8]), rng.normal(size=[NUM_ITEMS, 8])
    return users.astype(np.float32), items.astype(np.float32)


@pytest.mark.parametrize("scores_at_once", [1 << 28, 30 * 3 * 64])
@pytest.mark.parametrize("has_excluded", [False, True])
def test_lists_are_those_of_numpy(vectors, scores_at_once, has_excluded, monkeypatch):
    monkeypatch.setattr(gpu_ranking, "_SCORES_AT_ONCE", scores_at_once)
    users, items = vectors
    rng = np.random.default_rng(1)
    # Rows outside of the catalogue stand for padding and unknown ids.
    rows = [rng.integers(-2, NUM_ITEMS + 3, rng.integers(0, 60)) for _ in range(NUM_USERS)]
    excluded = Ragged.from_rows(rows) if has_excluded else None

    expected = full_ranking.rank_catalogue(users, items, K, excluded).rows

    np.testing.assert_array_equal(rank(users, items, excluded), expected)


def test_equal_scores_have_the_order_of_numpy(vectors):
    users, items = (np.round(values) for values in vectors)  # Sums without rounding.
    items[:] = items[0]

    expected = full_ranking.rank_catalogue(users, items, K).rows

    np.testing.assert_array_equal(rank(users, items, None), expected)


def test_lists_end_where_no_item_is_left(vectors):
    users, items = vectors
    excluded = Ragged.from_rows([list(range(NUM_ITEMS - 3))] * NUM_USERS)

    found = rank(users, items, excluded)

    assert (found[:, 3:] == full_ranking.EMPTY_SLOT).all()
    assert {tuple(sorted(row)) for row in found[:, :3].tolist()} == {(397, 398, 399)}


def test_the_rounding_of_products_is_put_back(vectors):
    before = tf.config.experimental.tensor_float_32_execution_enabled()

    rank(*vectors, None)

    assert tf.config.experimental.tensor_float_32_execution_enabled() is before
