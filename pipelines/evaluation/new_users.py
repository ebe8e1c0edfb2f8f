"""Users whom training never saw, answered from their features alone. Knows no model."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import lists
from pipelines.evaluation.rankers.full_ranking import Ranker
from recall.ragged import Histories
from recall.settings.evaluation import EvaluationConfig
from recall.vocabulary import UNKNOWN_ID

_METRICS = ("recall", "ndcg", "hit_rate")
_FIRST_COLUMN = 3
"""Of `Histories.last_padded`: what is known of the user; before it, ids and times of clicks."""

CLICKS = "clicks"
"""Name of the ranker that sees the clicks of the users."""

NO_FEATURES = "the model knows no features of users (owner user of features.columns)"
NO_USERS = (
    "every test user with features has clicks that training learnt from (ingest.new_user_share "
    "keeps users out, and under protocol temporal some come later)"
)


def without_clicks(
    compute_user_vectors: Callable[[np.ndarray], np.ndarray],
) -> Callable[[np.ndarray], np.ndarray]:
    """The vectors of the same users where none of their clicks is known.

    Args:
        compute_user_vectors: As in `lists.evaluate_user_vectors`, of `Histories`.
    """

    def compute(histories: np.ndarray) -> np.ndarray:
        start = histories[:, :1].copy()
        start[..., :_FIRST_COLUMN] = 0
        start[..., 0] = UNKNOWN_ID  # The slot before the first click.
        return compute_user_vectors(start)

    return compute


def choose(held_out: HeldOutUsers) -> HeldOutUsers:
    """Those with features, of whose clicks training has learnt nothing."""
    if not isinstance(held_out.histories, Histories):
        return held_out.take(np.zeros(0, np.int64))
    is_new = (held_out.num_trained == 0) & (held_out.histories.user_rows > 0)
    return held_out.take(np.flatnonzero(is_new))


def measure(
    rankers: Mapping[str, Ranker], users: HeldOutUsers, config: EvaluationConfig
) -> dict[str, Any]:
    """Metrics of their held-out clicks, one section for each ranker, and how many they are.

    What a user has clicked is in no list of the ranker `CLICKS`, where the settings say so. The
    others know no click, and so of none to leave out.
    """
    measured = {}
    for name, rank in rankers.items():
        exclude_seen = config.exclude_seen and name == CLICKS
        result = lists.evaluate_lists(rank, users, ks=config.all_ks, exclude_seen=exclude_seen)
        wanted = [f"{metric}@{k}" for metric in _METRICS for k in config.all_ks]
        errors = {n: result.standard_errors[n] for n in wanted if n in result.standard_errors}
        values = {n: result.metrics[n] for n in wanted}
        measured[name] = {**values, "standard_errors": errors}
    sizes = {"num_users": users.num_users, "num_clicks": len(users.positives.values)}
    return {**sizes, "rankers": measured}
