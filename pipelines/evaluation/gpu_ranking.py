"""The k best items of the whole catalogue by TensorFlow: what `full_ranking` does, for GPUs.

Every item is scored in float32 and equal scores have the same fixed order, so the lists
are those of `full_ranking` but for scores that differ by rounding.
"""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from pipelines.evaluation import full_ranking
from pipelines.evaluation.full_ranking import Ranker
from recall.ragged import Ragged

USERS_AT_ONCE = 2048
"""Users per call: a GPU takes as long for a quarter of them."""

_SCORES_AT_ONCE = 1 << 28
"""Scores of all interests that a block has: 1 GB."""


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

    def rank(histories: Ragged, excluded: Ragged | None) -> np.ndarray:
        vectors = np.asarray(compute_user_vectors(histories.last_padded(max_history_length)))
        cells = np.zeros([0, 2], np.int64)
        if excluded is not None:
            users, rows = excluded.row_numbers(), excluded.values
            is_item = (rows >= 0) & (rows < len(row_at))
            cells = np.stack([users[is_item], place_of[rows[is_item]]], axis=1)
        with _whole_float32():
            scores, places = _find_best(tf.constant(vectors, tf.float32), items, cells, k)
        is_empty = np.isneginf(scores)
        return np.where(is_empty, full_ranking.EMPTY_SLOT, row_at[places]).astype(np.int32)

    return rank


def _find_best(
    user_vectors: tf.Tensor, items: tf.Tensor, excluded_cells: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Scores `[num_users, k]` and places of the best items, best first.

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
        found = tf.reduce_max(tf.einsum("ukd,id->uki", user_vectors, block), axis=1)
        place = excluded_cells[:, 1] - start
        inside = (place >= 0) & (place < len(block))
        cells = np.stack([excluded_cells[inside, 0], place[inside]], axis=1)
        found = tf.tensor_scatter_nd_update(found, cells, tf.fill([len(cells)], -np.inf))
        # What was found before comes first, as its places do.
        found = tf.concat([scores, found], axis=1)
        scores, chosen = tf.math.top_k(found, k)
        before = tf.gather(places, tf.minimum(chosen, k - 1), batch_dims=1)
        places = tf.where(chosen < k, before, tf.cast(chosen, tf.int64) + start - k)
    return scores.numpy(), places.numpy()


@contextlib.contextmanager
def _whole_float32() -> Iterator[None]:
    """Inside the block products are not rounded to TF32."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
