"""What is measured of the lists of a run: for every user where that makes sense.

Numbers of users can be paired with those of another run. What only a whole set of lists has,
as coverage, is one number of a run. Imports no TensorFlow.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipelines.evaluation.exposure import NUM_DECILES, popularity_deciles
from recall.categories import common_categories
from recall.metrics import diversity, ranking
from recall.metrics.debiased import compute_user_debiased
from recall.metrics.ranking import UserMetric
from recall.ragged import Ragged
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary

LIST_K, HIT_K = 10, 50
"""Slots of a list that are judged for diversity, and for held-out clicks outside a category."""

DECILE = "exposure_decile_"
"""Before the number of a decile of the items by training clicks, 0 the most clicked ones: its
share of the slots."""

DOMINATED = 0.6
"""Share of a history in one category from which on the category dominates it."""

_SHORTEST = 5
"""Clicks with a category that a history needs, so that a share says something."""


class Measured(NamedTuple):
    """What was measured of one run.

    Attributes:
        users: Metrics that every user has, by name.
        values: Metrics of the run as a whole.
    """

    users: dict[str, UserMetric]
    values: dict[str, float]


def measure_lists(
    top_rows: np.ndarray,
    positives: Ragged,
    histories: Ragged,
    vocabulary: ItemVocabulary,
    ks: Sequence[int],
) -> Measured:
    """Everything that lists say.

    Args:
        top_rows: `[num_users, width]` vocabulary rows, best first, -1 in empty slots.
        positives: Vocabulary rows of the held-out clicks, negative for unknown items.
        histories: Dense ids of the clicks before them.
        vocabulary: The items.
        ks: Cut-offs of the ranking metrics, at most `width`.
    """
    ranks = ranking.compute_ranks(top_rows, positives)
    users = ranking.compute_user_metrics(ranks, positives, ks)
    users |= compute_user_debiased(top_rows, positives, vocabulary.counts, ks)
    shown = top_rows[:, :LIST_K]
    users[f"popularity@{LIST_K}"] = _popularity(shown, vocabulary.counts)
    left_out = common_categories(vocabulary.categories)
    packed = diversity.pack_categories(vocabulary.categories, left_out)
    for k, metric in diversity.compute_user_category_diversity(shown, packed, [LIST_K]).items():
        users[f"diversity@{k}"] = metric
    if packed.shape[1]:
        dominating = find_dominating(histories, vocabulary.categories, left_out)
        users |= measure_outside(top_rows, ranks, positives, vocabulary.categories, dominating)
    exposure = np.bincount(shown[shown >= 0], minlength=vocabulary.num_items)
    values = {
        f"coverage@{LIST_K}": float(np.count_nonzero(exposure) / vocabulary.num_items),
        f"gini@{LIST_K}": diversity.compute_gini(exposure),
    }
    deciles = np.bincount(
        popularity_deciles(vocabulary.counts), weights=exposure, minlength=NUM_DECILES
    )
    shares = deciles / max(1, exposure.sum())
    values |= {f"{DECILE}{number}": float(share) for number, share in enumerate(shares)}
    return Measured(users, values)


def find_dominating(
    histories: Ragged, categories: Sequence[Sequence[str]], left_out: Sequence[str] = ()
) -> list[str | None]:
    """The category that at least `DOMINATED` of a history has, for every user.

    Args:
        histories: Dense ids.
        categories: Category names of each item.
        left_out: Categories that nearly all items have.

    Returns:
        A name for each user; None where no category does so, or few clicks have any.
    """
    names = [frozenset(of_item).difference(left_out) for of_item in categories]
    found: list[str | None] = []
    for user in range(len(histories)):
        rows = histories[user] - FIRST_ITEM_ID
        clicks = [names[row] for row in rows[rows >= 0].tolist() if names[row]]
        counts: dict[str, int] = {}
        for of_item in clicks:
            for name in of_item:
                counts[name] = counts.get(name, 0) + 1
        best = min(counts, key=lambda name: (-counts[name], name), default=None)
        is_long = len(clicks) >= _SHORTEST
        dominates = is_long and best is not None and counts[best] >= DOMINATED * len(clicks)
        found.append(best if dominates else None)
    return found


def measure_outside(
    top_rows: np.ndarray,
    ranks: np.ndarray,
    positives: Ragged,
    categories: Sequence[Sequence[str]],
    dominating: Sequence[str | None],
) -> dict[str, UserMetric]:
    """How far lists look beyond the category that dominates a history.

    Users without such a category have the weight 0.

    Args:
        top_rows: `[num_users, width]` vocabulary rows, best first.
        ranks: `[num_positives]` places from 0; the width where an item is not in its list.
        positives: Vocabulary rows of the held-out clicks.
        categories: Category names of each item.
        dominating: Of `find_dominating`.

    Returns:
        `outside@k`, the share of the first slots without the category, and
        `outside_hit_rate@k`, the held-out clicks without it that the list has, of all of them.
    """
    num_users = len(top_rows)
    slots, slots_outside = np.zeros(num_users), np.zeros(num_users)
    events, hits = np.zeros(num_users), np.zeros(num_users)
    has = {name: np.array([name in c for c in categories]) for name in {*dominating} - {None}}
    for user, name in enumerate(dominating):
        if name is None:
            continue
        rows = top_rows[user, :LIST_K]
        rows = rows[rows >= 0]
        slots[user], slots_outside[user] = len(rows), (~has[name][rows]).sum()
        known = positives[user] >= 0
        is_outside = np.zeros(len(known), bool)
        is_outside[known] = ~has[name][positives[user][known]]
        own = ranks[positives.offsets[user] : positives.offsets[user + 1]]
        events[user], hits[user] = is_outside.sum(), (own[is_outside] < HIT_K).sum()
    return {
        f"outside@{LIST_K}": UserMetric(slots_outside, slots),
        f"outside_hit_rate@{HIT_K}": UserMetric(hits, events),
    }


def _popularity(shown: np.ndarray, item_counts: np.ndarray) -> UserMetric:
    """Mean popularity percentile of the slots of each list."""
    percentiles = diversity.compute_popularity_percentiles(item_counts)
    is_item = shown >= 0
    sums = np.where(is_item, percentiles[np.maximum(shown, 0)], 0.0).sum(axis=1)
    return UserMetric(sums, is_item.sum(axis=1).astype(np.float64))
