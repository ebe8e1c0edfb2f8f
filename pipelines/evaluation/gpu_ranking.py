"""The k best items of the whole catalogue by TensorFlow: what `full_ranking` does, for GPUs.

Products are rounded to TF32, which takes a fraction of the time, and only find candidates.
These are scored again in float32. A user whose list could still be another one, as the
rounding may have hidden an item, is ranked once more in whole float32. So the lists are
those of `full_ranking`, but for scores that differ by the rounding of float32.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.evaluation.rankers import full_ranking
from pipelines.evaluation.rankers.full_ranking import Ranker
from recall.ragged import Ragged

USERS_AT_ONCE = 2048
"""Users per call: a GPU takes as long for a quarter of them."""

_SCORES_AT_ONCE = 1 << 28
"""Scores of all interests that a block has: 1 GB."""

_MORE_CANDIDATES = 64
"""Beside the k best: their scores have to reach further down than the rounding does."""

_ROUNDING = 2.0**-9
"""Of a rounded product at most, as a part of the lengths of its vectors: TF32 has 10 bits
of a fraction, and cuts off those of both."""


class _Best(NamedTuple):
    """The best items of each user, best first.

    Attributes:
        scores: `[num_users, k]` float32; -inf where no item is left.
        places: `[num_users, k]` int64 places in the order of equal scores.
    """

    scores: tf.Tensor
    places: tf.Tensor


def device_ranker(
    compute_user_vectors: Callable[[np.ndarray], np.ndarray],
    item_vectors: np.ndarray,
    max_history_length: int,
    k: int,
) -> Ranker:
    """Ranks by the vectors of a model; arguments as in `lists.vector_ranker`."""
    row_at = full_ranking.tie_order(len(item_vectors))
    place_of = np.empty_like(row_at)
    place_of[row_at] = np.arange(len(row_at))
    items = tf.constant(item_vectors[row_at], tf.float32)
    longest = float(tf.reduce_max(tf.norm(items, axis=1)))

    def rank(histories: Ragged, excluded: Ragged | None) -> np.ndarray:
        vectors = compute_user_vectors(histories.last_padded(max_history_length))
        vectors = tf.constant(vectors, tf.float32)
        cells = np.zeros([0, 2], np.int64)
        if excluded is not None:
            users, rows = excluded.row_numbers(), excluded.values
            is_item = (rows >= 0) & (rows < len(row_at))
            cells = np.stack([users[is_item], place_of[rows[is_item]]], axis=1)
        best = _rank(vectors, items, cells, k, longest)
        is_empty = np.isneginf(best.scores.numpy())
        rows = row_at[best.places.numpy()]
        return np.where(is_empty, full_ranking.EMPTY_SLOT, rows).astype(np.int32)

    return rank


def _rank(
    user_vectors: tf.Tensor, items: tf.Tensor, excluded_cells: np.ndarray, k: int, longest: float
) -> _Best:
    """The best items by float32 scores; `longest` is the length of the longest item."""
    candidates = _find_best(user_vectors, items, excluded_cells, k + _MORE_CANDIDATES)
    best = _score_again(user_vectors, items, candidates, k)
    # An item that is no candidate has a rounded score of at most the last of them.
    lengths = tf.reduce_max(tf.norm(user_vectors, axis=2), axis=1)
    most_others = candidates.scores[:, -1] + _ROUNDING * longest * lengths
    is_sure = (best.scores[:, -1] > most_others) | np.isneginf(candidates.scores[:, -1])
    unsure = np.flatnonzero(~is_sure.numpy())
    if not len(unsure):
        return best
    is_cell = np.isin(excluded_cells[:, 0], unsure)
    cells = excluded_cells[is_cell].copy()
    cells[:, 0] = np.searchsorted(unsure, cells[:, 0])
    with _whole_float32():
        whole = _find_best(tf.gather(user_vectors, unsure), items, cells, k)
    where = unsure[:, np.newaxis]
    return _Best(
        tf.tensor_scatter_nd_update(best.scores, where, whole.scores),
        tf.tensor_scatter_nd_update(best.places, where, whole.places),
    )


def _find_best(
    user_vectors: tf.Tensor, items: tf.Tensor, excluded_cells: np.ndarray, k: int
) -> _Best:
    """The best items by the scores that the device gives.

    Args:
        user_vectors: `[num_users, num_interests, dim]` float32.
        items: `[num_items, dim]` float32; of equal scores the earlier place wins.
        excluded_cells: `[num_excluded, 2]` user and place.
        k: Items wanted per user; a score of -inf fills up what is not there.
    """
    num_users, num_interests = user_vectors.shape[:2]
    block_items = max(k, _SCORES_AT_ONCE // max(1, num_users * num_interests))
    scores = tf.fill([num_users, k], -np.inf)
    places = tf.zeros([num_users, k], tf.int64)
    for start in range(0, len(items), block_items):
        block = items[start : start + block_items]
        found = tf.reduce_max(_multiply(user_vectors, block), axis=1)
        place = excluded_cells[:, 1] - start
        inside = (place >= 0) & (place < len(block))
        cells = np.stack([excluded_cells[inside, 0], place[inside]], axis=1)
        found = tf.tensor_scatter_nd_update(found, cells, tf.fill([len(cells)], -np.inf))
        found, chosen = tf.math.top_k(found, min(k, len(block)))
        # What was found before comes first, as its places do.
        all_places = tf.concat([places, tf.cast(chosen, tf.int64) + start], axis=1)
        scores, chosen = tf.math.top_k(tf.concat([scores, found], axis=1), k)
        places = tf.gather(all_places, chosen, batch_dims=1)
    return _Best(scores, places)


def _multiply(user_vectors: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """`[num_users, num_interests, num_items]` products, on a GPU rounded to TF32."""
    return tf.einsum("ukd,id->uki", user_vectors, items)


def _score_again(user_vectors: tf.Tensor, items: tf.Tensor, candidates: _Best, k: int) -> _Best:
    """The k best of the candidates by their scores in float32."""
    # In the order of their places, so that of equal scores the earlier one wins.
    order = tf.argsort(candidates.places, axis=1)
    places = tf.gather(candidates.places, order, batch_dims=1)
    is_empty = tf.math.is_inf(tf.gather(candidates.scores, order, batch_dims=1))
    with _whole_float32():
        products = tf.einsum("ukd,ucd->ukc", user_vectors, tf.gather(items, places))
    scores = tf.where(is_empty, -np.inf, tf.reduce_max(products, axis=1))
    scores, chosen = tf.math.top_k(scores, k)
    return _Best(scores, tf.gather(places, chosen, batch_dims=1))


@contextlib.contextmanager
def _whole_float32() -> Iterator[None]:
    """Inside the block products are not rounded to TF32."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
