"""What varied lists cost: recall against diversity, by the merges that servers offer.

Imports no TensorFlow.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from recall.categories import common_categories
from recall.metrics import diversity, ranking
from recall.ragged import Ragged
from serving.api.recall_request import MERGE_DIVERSITY, MERGE_NEW_CATEGORIES
from serving.index.catalogue import CategoryPairs
from serving.retrieval.merge import MergedItems, diversify, prefer_new_categories

POOL = 4
"""Items to choose from per item wanted, as the server does."""

_STEPS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Weights that are tried, in units of the usual distance from the first to the last score of
a pool: with the last of them a difference of categories outweighs any score."""


MERGES = {MERGE_DIVERSITY: diversify, MERGE_NEW_CATEGORIES: prefer_new_categories}
"""Those that trade scores for difference of categories."""


def measure_trade_off(
    rows: np.ndarray,
    scores: np.ndarray,
    positives: Ragged,
    categories: Sequence[Sequence[str]],
    k: int,
) -> list[dict[str, Any]]:
    """Recall and diversity of lists picked with a growing weight of diversity.

    Args:
        rows: `[num_users, width]` vocabulary rows, best first, negative in empty slots; the
            pool of a user. `width` is best `POOL` * k.
        scores: `[num_users, width]` float, of those rows.
        positives: Vocabulary rows of each user's held-out clicks.
        categories: Category names of each item of the catalogue.
        k: Items of a list.

    Returns:
        For each `merge` and weight `diversity_weight`, `recall` and `category_diversity` at k.
        Empty where lists cannot differ in categories.
    """
    left_out = common_categories(categories)
    packed = diversity.pack_categories(categories, left_out)
    if packed.shape[1] == 0 or rows.shape[1] <= k:
        return []
    pools = []
    for row, score in zip(rows, scores, strict=True):
        real = row >= 0
        pools.append(MergedItems(row[real], score[real], np.zeros(real.sum(), np.int32)))
    pairs = find_pairs(pools, categories, {*left_out})
    width = float(np.median([np.ptp(pool.scores) for pool in pools if len(pool.scores)]))
    points = []
    for merge, step in itertools.product(MERGES, _STEPS):
        picked = np.full((len(rows), k), -1)
        for user, pool in enumerate(pools):
            chosen = MERGES[merge](pool, pairs[user], k, step * width).rows
            picked[user, : len(chosen)] = chosen
        metrics = ranking.compute_ranking_metrics(picked, positives, [k]).values
        varied = diversity.compute_category_diversity(picked, packed, [k])
        points.append(
            {
                "merge": merge,
                "diversity_weight": round(step * width, 6),
                "recall": metrics[f"recall@{k}"],
                "category_diversity": varied.get(k, 0.0),
            }
        )
    return points


def find_pairs(
    pools: Sequence[MergedItems], categories: Sequence[Sequence[str]], left_out: set[str]
) -> list[CategoryPairs]:
    """The categories of each pool's items, as numbers."""
    codes: dict[str, int] = {}
    found = []
    for pool in pools:
        pairs = [
            (position, codes.setdefault(name, len(codes)))
            for position, row in enumerate(pool.rows.tolist())
            for name in dict.fromkeys(categories[row])
            if name not in left_out
        ]
        positions, numbers = np.array(pairs, np.int64).reshape(-1, 2).T
        found.append(CategoryPairs(positions, numbers))
    return found
