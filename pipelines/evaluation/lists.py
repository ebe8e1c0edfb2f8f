"""Ranking metrics of anything that ranks the whole catalogue for held-out users.

Knows no model: user vectors come from a function, item vectors as an array.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import gpu_ranking
from pipelines.evaluation.rankers import full_ranking
from pipelines.evaluation.rankers.full_ranking import Ranker
from pipelines.progress import tasks
from recall.metrics import diversity, ranking
from recall.metrics.debiased import compute_user_debiased
from recall.ragged import Ragged
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary

_BATCH_SIZE = 512
"""Users ranked at once: 512 x 16,384 scores are 32 MB."""


class EvaluationResult(NamedTuple):
    """What a model did on the users of one split.

    Attributes:
        metrics: Ranking metrics by name, for example `ndcg@10`.
        top_rows: `[num_users, max(ks)]` int32 vocabulary rows, best first, -1
            where fewer items were left.
        standard_errors: Standard error of each metric over users.
    """

    metrics: dict[str, float]
    top_rows: np.ndarray
    standard_errors: dict[str, float]


def evaluate_user_vectors(
    compute_user_vectors: Callable[[np.ndarray], np.ndarray],
    item_vectors: np.ndarray,
    held_out: HeldOutUsers,
    *,
    max_history_length: int,
    ks: Sequence[int],
    exclude_seen: bool,
    batch_size: int | None = None,
) -> EvaluationResult:
    """Ranks the whole catalogue for every held-out user, on a GPU if there is one.

    With `exclude_seen` every item of the user's full history is removed, also
    where it is a positive (a repeated click): that positive is then a miss.

    Args:
        compute_user_vectors: `[batch, max_history_length]` int64 dense ids,
            left-aligned, padded with 0 -> `[batch, num_interests, dim]`.
        item_vectors: `[num_items, dim]` float32, row r of the vocabulary.
        held_out: The users.
        max_history_length: Most recent events a user vector is made from.
        ks: Cut-offs of the metrics.
        exclude_seen: Whether items of the history are removed.
        batch_size: Users per call of `compute_user_vectors`; the last batch
            may be smaller. None: what suits the device.

    Returns:
        Metrics, the lists they were computed on, and standard errors.
    """
    rank = vector_ranker(compute_user_vectors, item_vectors, max_history_length, max(ks))
    return evaluate_lists(rank, held_out, ks=ks, exclude_seen=exclude_seen, batch_size=batch_size)


def vector_ranker(
    compute_user_vectors: Callable[[np.ndarray], np.ndarray],
    item_vectors: np.ndarray,
    max_history_length: int,
    k: int,
) -> Ranker:
    """Ranks by the vectors of a model, on a GPU if there is one.

    Args:
        compute_user_vectors: As in `evaluate_user_vectors`.
        item_vectors: The same.
        max_history_length: The same.
        k: Items of a list.
    """
    if _has_gpu():
        return gpu_ranking.device_ranker(compute_user_vectors, item_vectors, max_history_length, k)

    def rank(histories: Ragged, excluded: Ragged | None) -> np.ndarray:
        vectors = np.asarray(compute_user_vectors(histories.last_padded(max_history_length)))
        return full_ranking.rank_catalogue(vectors, item_vectors, k, excluded).rows

    return rank


def evaluate_lists(
    rank: Ranker,
    held_out: HeldOutUsers,
    *,
    ks: Sequence[int],
    exclude_seen: bool,
    batch_size: int | None = None,
) -> EvaluationResult:
    """Metrics of anything that ranks the catalogue.

    Args:
        rank: (histories, excluded rows or None) of a batch of users ->
            `[batch, max(ks)]` vocabulary rows, best first.
        held_out: The users.
        ks: Cut-offs of the metrics.
        exclude_seen: Whether items of the history are excluded.
        batch_size: Users per call of `rank`. None: what suits the device.

    Returns:
        Metrics, the lists they were computed on, and standard errors.
    """
    top_rows = rank_users(rank, held_out, max(ks), exclude_seen=exclude_seen, batch_size=batch_size)
    return measure_lists(top_rows, held_out, ks)


def measure_lists(
    top_rows: np.ndarray, held_out: HeldOutUsers, ks: Sequence[int]
) -> EvaluationResult:
    """Metrics of lists, however they were made; `[num_users, max(ks)]` vocabulary rows."""
    metrics = ranking.compute_ranking_metrics(top_rows, to_rows(held_out.positives), ks)
    return EvaluationResult(metrics.values, top_rows, metrics.standard_errors)


def rank_users(
    rank: Ranker,
    held_out: HeldOutUsers,
    k: int,
    *,
    exclude_seen: bool,
    batch_size: int | None = None,
) -> np.ndarray:
    """`[num_users, k]` vocabulary rows, best first; arguments as in `evaluate_lists`."""
    batch_size = batch_size or (gpu_ranking.USERS_AT_ONCE if _has_gpu() else _BATCH_SIZE)
    # Users of like history lengths share a batch: towers then pad less.
    order = np.argsort(held_out.histories.lengths, kind="stable")
    top_rows = np.empty((held_out.num_users, k), np.int32)
    with tasks.open_task("rank all items", total=held_out.num_users, unit="users") as task:
        for start in range(0, held_out.num_users, batch_size):
            users = order[start : start + batch_size]
            histories = held_out.histories.take(users)
            excluded = to_rows(histories) if exclude_seen else None
            top_rows[users] = rank(histories, excluded)
            task.advance(len(users))
    return top_rows


def describe(
    result: EvaluationResult, held_out: HeldOutUsers, vocabulary: ItemVocabulary, ks: Sequence[int]
) -> dict[str, Any]:
    """A section of report.json: all metrics of some lists, of how many clicks they are.

    Args:
        result: Of `evaluate_lists`.
        held_out: The users.
        vocabulary: The items.
        ks: Cut-offs, at most the width of the lists.
    """
    section: dict[str, Any] = result.metrics | diversity.compute_diversity_metrics(
        result.top_rows, vocabulary.counts, vocabulary.categories, ks
    )
    errors = result.standard_errors
    rows = to_rows(held_out.positives)
    if (rows.values >= 0).any():
        debiased = compute_user_debiased(result.top_rows, rows, vocabulary.counts, ks)
        section |= {name: metric.total() for name, metric in debiased.items()}
        if errors:  # Of one user there are none.
            errors = errors | {n: metric.standard_error() for n, metric in debiased.items()}
    return section | count_positives(held_out) | {"standard_errors": errors}


def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def to_rows(dense_ids: Ragged) -> Ragged:
    """Dense ids -> vocabulary rows; padding and unknown ids become negative."""
    return Ragged(dense_ids.values - FIRST_ITEM_ID, dense_ids.offsets)


def count_positives(held_out: HeldOutUsers) -> dict[str, int]:
    """Held-out events, and those that cannot be hit.

    `num_unknown_positives` are not in the vocabulary: always misses.
    `num_seen_positives` are in the user's history (repeated clicks): misses
    when seen items are excluded.
    """
    ids, histories = held_out.positives.values, held_out.histories
    stride = max(ids.max(initial=0), histories.values.max(initial=0)) + 1
    keys = held_out.positives.row_numbers() * stride + ids
    seen = np.isin(keys, histories.row_numbers() * stride + histories.values)
    known = ids >= FIRST_ITEM_ID
    return {
        "num_users": held_out.num_users,
        "num_positives": len(ids),
        "num_unknown_positives": int((~known).sum()),
        "num_seen_positives": int((seen & known).sum()),
    }
