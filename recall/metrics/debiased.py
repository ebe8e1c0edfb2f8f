"""Hits as they would be had all items been shown alike. Pure numpy."""

from collections.abc import Sequence

import numpy as np

from recall.metrics.ranking import UserMetric, compute_ranks
from recall.ragged import Ragged

_FEWEST_CLICKS = 5
"""Items with fewer count as if they had so many: one click would outweigh hundreds else."""


def compute_user_debiased(
    retrieved_rows: np.ndarray, positives: Ragged, item_counts: np.ndarray, ks: Sequence[int]
) -> dict[str, UserMetric]:
    """The hit rate by inverse propensity, self-normalised.

    What was shown more was clicked more, and a plain hit rate counts such clicks again and
    again. Here a held-out click has the weight 1 / propensity, and the propensity of an item
    to be shown is taken to be that of its training clicks: the sum of the weights of the
    clicks that are found, divided by that of all.

    - It is an estimate: where users truly prefer what is clicked most, it says too little of
      it. Read it beside the plain metrics.
    - Clicks on items outside the vocabulary have no known propensity and are left out.

    Args:
        retrieved_rows: `[num_users, width]` int vocabulary rows, best first.
        positives: Vocabulary rows of the held-out clicks, negative for unknown items.
        item_counts: `[num_items]` training clicks.
        ks: Cut-offs, at most `width`.

    Returns:
        `debiased_hit_rate@k`.

    Reference:
        Yang et al., "Unbiased Offline Recommender Evaluation for Missing-Not-At-Random
        Implicit Feedback", RecSys 2018; Swaminathan and Joachims, "The Self-Normalized
        Estimator for Counterfactual Learning", NeurIPS 2015.
    """
    users, rows = positives.row_numbers(), positives.values
    clicks = np.maximum(item_counts[np.maximum(rows, 0)], _FEWEST_CLICKS)
    weights = np.where(rows >= 0, 1 / clicks, 0.0)
    totals = np.bincount(users, weights=weights, minlength=len(positives))
    ranks = compute_ranks(retrieved_rows, positives)
    return {
        f"debiased_hit_rate@{k}": UserMetric(
            np.bincount(users, weights=weights * (ranks < k), minlength=len(positives)), totals
        )
        for k in ks
    }
