"""Item-kNN and EASE, against numpy on dense matrices."""

import numpy as np
import pytest
from scipy import sparse

from pipelines.evaluation.rankers import item_models
from recall.errors import InputError
from recall.ragged import Ragged
from recall.vocabulary import FIRST_ITEM_ID, UNKNOWN_ID

NUM_ITEMS = 4


def dense(*rows):
    return Ragged.from_rows([np.asarray(row, np.int64) + FIRST_ITEM_ID for row in rows])


WINDOWS = [dense([0, 1, 1], [0, 1, 2]), dense([2, 3])]
TOGETHER = np.array([[2, 2, 1, 0], [2, 2, 1, 0], [1, 1, 2, 1], [0, 0, 1, 1]])


def test_windows_that_hold_both_items_are_counted():
    assert item_models.count_together(WINDOWS, NUM_ITEMS).toarray().tolist() == TOGETHER.tolist()


def test_unknown_items_are_together_with_nothing():
    windows = [Ragged.from_rows([[UNKNOWN_ID, FIRST_ITEM_ID]])]
    expected = np.zeros((NUM_ITEMS, NUM_ITEMS))
    expected[0, 0] = 1
    assert item_models.count_together(windows, NUM_ITEMS).toarray().tolist() == expected.tolist()


def test_item_knn_ranks_by_cosines():
    rank = item_models.item_knn_ranker(item_models.count_together(WINDOWS, NUM_ITEMS), 4)
    cosines = TOGETHER / np.sqrt(np.outer(np.diag(TOGETHER), np.diag(TOGETHER)))
    np.fill_diagonal(cosines, 0)
    scores = cosines[:, [2]].sum(axis=1)
    assert scores == pytest.approx([0.5, 0.5, 0, 2**-0.5])
    (rows,) = rank(dense([2, 2]), Ragged.from_rows([[2]]))
    assert rows[0] == 3
    assert set(rows[1:3]) == {0, 1}
    assert rows[3] == -1


def test_only_the_nearest_items_vote(monkeypatch):
    monkeypatch.setattr(item_models, "_NEIGHBOURS", 1)
    rank = item_models.item_knn_ranker(item_models.count_together(WINDOWS, NUM_ITEMS), 1)
    # The nearest of item 0 is 1, not 2: a history of 2 votes for 3 alone, whose nearest it is.
    assert rank(dense([2]), None)[0, 0] == 3


def test_ease_is_the_ridge_regression_of_every_item():
    """Weights without a diagonal that fit X from X, by solving for each item alone."""
    clicks = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1]], float)
    penalty = item_models._EASE_PENALTY
    weights = np.zeros((4, 4))
    for item in range(4):
        others = [i for i in range(4) if i != item]
        x = clicks[:, others]
        weights[others, item] = np.linalg.solve(
            x.T @ x + penalty * np.eye(3), x.T @ clicks[:, item]
        )
    rank = item_models.ease_ranker(item_models.count_together(WINDOWS, NUM_ITEMS), 4)
    for history in ([0], [2], [0, 3], [1, 2]):
        scores = clicks_of(history) @ weights
        expected = [i for i in np.argsort(-scores) if i not in history]
        found = rank(dense(history), Ragged.from_rows([history]))[0]
        assert scores[found[: len(expected)]] == pytest.approx(scores[expected], rel=1e-3)


def clicks_of(history):
    return np.bincount(history, minlength=NUM_ITEMS).astype(float)


def test_a_catalogue_that_is_too_large_for_ease_is_said():
    together = sparse.csr_matrix((20_001, 20_001), dtype=np.float32)
    with pytest.raises(InputError, match=r"20,001 here; it is made for at most 20,000"):
        item_models.ease_ranker(together, 5)
