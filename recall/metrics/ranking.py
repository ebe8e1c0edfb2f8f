"""How well retrieved lists hold the items users really chose next.

Pure numpy over ids; knows nothing of models, files or how the lists arose. An
id is any number >= 0. A negative retrieved id is an empty slot and hits
nothing; a negative positive is an item outside the catalogue, which no list
can hold: it counts as a miss, and two of them count as two items.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from recall.ragged import Ragged


class RankingMetrics(NamedTuple):
    """Metrics by name, for example `recall@10`.

    Attributes:
        values: The metrics, each in [0, 1].
        standard_errors: Standard error of each over users; empty for one user.
    """

    values: dict[str, float]
    standard_errors: dict[str, float]


def compute_ranking_metrics(
    retrieved_ids: np.ndarray, positives: Ragged, ks: Sequence[int]
) -> RankingMetrics:
    """Recall, NDCG, MRR and hit rate at each k.

    - `recall@k`: distinct positives in the top k / distinct positives, mean
      over users.
    - `ndcg@k`: sum of 1 / log2(rank + 1) over the positives in the top k,
      divided by its largest possible value for min(positives, k); mean over
      users.
    - `mrr@k`: 1 / rank of the first positive, 0 beyond k; mean over users.
    - `hit_rate@k`: share of all held-out events found in the top k, not an
      average of users (HitRate@50 of the next five clicks is this at k = 50).
      With one positive per user it equals `recall@k`.

    Args:
        retrieved_ids: `[num_users, width]` int, best first, distinct per user.
        positives: Held-out ids of each user, at least one per user.
        ks: Cut-offs, each in [1, width].

    Returns:
        The metrics and their standard errors.

    Raises:
        ValueError: A user has no positives, or a cut-off is out of range.
    """
    _check(retrieved_ids, positives, ks)
    per_user = compute_user_metrics(compute_ranks(retrieved_ids, positives), positives, ks)
    values = {name: metric.total() for name, metric in per_user.items()}
    errors = {name: metric.standard_error() for name, metric in per_user.items()}
    return RankingMetrics(values, errors if len(positives) > 1 else {})


class UserMetric(NamedTuple):
    """A metric by user: over users it is the sum of `gains` divided by that of `weights`.

    Attributes:
        gains: `[num_users]` float.
        weights: `[num_users]` float, 1 where the metric is a mean over users.
    """

    gains: np.ndarray
    weights: np.ndarray

    def total(self) -> float:
        """The metric over all users."""
        return float(self.gains.sum() / self.weights.sum())

    def standard_error(self) -> float:
        """Standard error of `total`; of a ratio of sums linearised (delta method)."""
        return _standard_error((self.gains - self.total() * self.weights) / self.weights.mean())


def compute_user_metrics(
    ranks: np.ndarray, positives: Ragged, ks: Sequence[int]
) -> dict[str, UserMetric]:
    """The metrics of `compute_ranking_metrics` before they are summed over users.

    Args:
        ranks: `[num_events]` int from 0, place of every held-out event in its user's list; at
            least the largest of `ks` where it is not in it.
        positives: Held-out ids of each user, at least one per user.
        ks: Cut-offs.
    """
    users, num_events = positives.row_numbers(), positives.lengths.astype(np.float64)
    distinct = _first_occurrences(users, positives.values)
    num_distinct = _sum_by_user(distinct, users, len(positives))
    best_rank = np.minimum.reduceat(ranks, positives.offsets[:-1])
    ones = np.ones(len(positives))
    metrics = {}
    for k in ks:
        found = ranks < k
        events_found = _sum_by_user(found, users, len(positives))
        found &= distinct
        gains = _sum_by_user(np.where(found, 1 / np.log2(ranks + 2.0), 0.0), users, len(positives))
        recalls = _sum_by_user(found, users, len(positives)) / num_distinct
        first_hits = np.where(best_rank < k, 1 / (best_rank + 1.0), 0.0)
        metrics[f"recall@{k}"] = UserMetric(recalls, ones)
        metrics[f"ndcg@{k}"] = UserMetric(gains / _ideal(num_distinct, k), ones)
        metrics[f"mrr@{k}"] = UserMetric(first_hits, ones)
        metrics[f"hit_rate@{k}"] = UserMetric(events_found, num_events)
    return metrics


def compute_ranks(retrieved_ids: np.ndarray, positives: Ragged) -> np.ndarray:
    """Place of every held-out event in its user's list.

    Args:
        retrieved_ids: `[num_users, width]` int, best first.
        positives: Held-out ids of each user.

    Returns:
        `[num_events]` int64 from 0; `width` when it is not in the list.
    """
    num_users, width = retrieved_ids.shape
    highest = max(retrieved_ids.max(initial=-1), positives.values.max(initial=-1))
    stride = int(highest) + 2  # id -1 becomes key 0 of its user
    ids = np.maximum(retrieved_ids.astype(np.int64), -1) + 1
    keys = (np.arange(num_users)[:, None] * stride + ids).ravel()
    order = np.argsort(keys, kind="stable")
    known = positives.values >= 0
    wanted = (positives.row_numbers() * stride + positives.values + 1)[known]
    places = np.searchsorted(keys, wanted, sorter=order)
    hits = order[np.minimum(places, len(order) - 1)]
    ranks = np.full(len(positives.values), width, np.int64)
    ranks[known] = np.where(keys[hits] == wanted, hits % width, width)
    return ranks


def _check(retrieved_ids: np.ndarray, positives: Ragged, ks: Sequence[int]) -> None:
    if len(retrieved_ids) != len(positives) or len(positives) == 0:
        raise ValueError(
            "`retrieved_ids` and `positives` must have the same number of users, at least one, "
            f"received {len(retrieved_ids)} and {len(positives)}."
        )
    if (positives.lengths == 0).any():
        raise ValueError("`positives` has a user without positives; leave such users out.")
    if min(ks) < 1 or max(ks) > retrieved_ids.shape[1]:
        raise ValueError(
            f"`ks` must be in [1, {retrieved_ids.shape[1]}] (the width of the lists), "
            f"received {list(ks)}."
        )


def _first_occurrences(users: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """False where an id >= 0 repeats within its user."""
    order = np.lexsort((ids, users))
    repeats = np.zeros(len(ids), bool)
    same = (np.diff(users[order]) == 0) & (np.diff(ids[order]) == 0) & (ids[order][1:] >= 0)
    repeats[order[1:]] = same
    return ~repeats


def _sum_by_user(values: np.ndarray, users: np.ndarray, num_users: int) -> np.ndarray:
    return np.bincount(users, weights=values, minlength=num_users)


def _ideal(num_positives: np.ndarray, k: int) -> np.ndarray:
    """DCG of a list that starts with all positives."""
    gains = np.cumsum(1 / np.log2(np.arange(k) + 2.0))
    return gains[np.minimum(num_positives.astype(np.int64), k) - 1]


def _standard_error(residuals: np.ndarray) -> float:
    """Standard error of a mean from the deviations of its users."""
    num_users = len(residuals)
    return float(np.sqrt(np.square(residuals).sum() / max(num_users - 1, 1) / num_users))
