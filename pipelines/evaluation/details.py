"""What a report needs beside the metrics: each user's places, exposure, interests, examples.

Stored by the evaluation, which has the vectors, so that a report loads no model. Costs a few
seconds: all but the exposure is taken from a sample of the test users.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.artifacts import records
from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import interest_profiles, lists, trade_off
from pipelines.evaluation.exposure import measure_exposure
from pipelines.evaluation.rankers import full_ranking
from pipelines.evaluation.user_results import MAX_USERS, UserResults
from pipelines.evaluation.vectors import measure_interest_usage
from recall.metrics import ranking
from recall.ragged import Ragged
from recall.settings.evaluation import EvaluationConfig
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary

_SEED = 20_260_101
"""Of the samples; any fixed number serves."""

_MAX_SAMPLE, _MIN_SAMPLE = 5_000, 1_000
"""Users whose interests are looked at: a share has then a standard error below .008 to .016."""

_SAMPLE_SCORES = 30_000_000
"""Scores that ranking a sample may take, for each interest."""

_DIVERSITY_USERS = 500
"""Users whose lists are picked again with other weights; the same ones for each weight."""

_BATCH_SIZE = 512

_NUM_EXAMPLES = 12
_SHOWN_CLICKS = 10
_LIST_OF_AN_INTEREST = 5


def collect_user_results(
    held_out: HeldOutUsers, top_rows: Mapping[str, np.ndarray], kinds: Sequence[str] = ()
) -> UserResults:
    """The places of the held-out clicks in every ranker's lists.

    Args:
        held_out: The test users.
        top_rows: Ranker -> `[num_users, width]` vocabulary rows, best first.
        kinds: Kinds of events by their numbers from 1.
    """
    rng = np.random.default_rng(_SEED)
    chosen = np.sort(rng.permutation(held_out.num_users)[:MAX_USERS])
    users = held_out.take(chosen)
    positives = lists.to_rows(users.positives)
    depth = next(iter(top_rows.values())).shape[1]
    places = {}
    for name, rows in top_rows.items():
        places[name] = (ranking.compute_ranks(rows[chosen], positives) + 1) % (depth + 1)
    return UserResults(
        np.array([user_id.decode() for user_id in users.user_ids], object),
        users.history_lengths,
        users.num_trained,
        positives,
        places,
        depth,
        held_out.num_users,
        np.array(["", *kinds], object)[users.positive_kinds] if kinds else None,
    )


def describe(
    held_out: HeldOutUsers,
    top_rows: Mapping[str, np.ndarray],
    compute_user_vectors: Callable[[np.ndarray], np.ndarray],
    item_vectors: np.ndarray,
    vocabulary: ItemVocabulary,
    config: EvaluationConfig,
    max_history_length: int,
) -> dict[str, Any]:
    """The content of details.json.

    Args:
        held_out: The test users.
        top_rows: Ranker -> `[num_users, width]` vocabulary rows, best first; `model` is one.
        compute_user_vectors: `[batch, length]` dense ids -> `[batch, num_interests, dim]`.
        item_vectors: `[num_items, dim]`.
        vocabulary: The items, in the order of the rows.
        config: The settings of the evaluation.
        max_history_length: Clicks a user vector is made of.
    """
    k = min(config.all_ks, key=lambda k: (abs(k - 10), k))
    chosen = _choose_sample(held_out, vocabulary.num_items)
    users = held_out.take(chosen)
    vectors = np.concatenate(
        [
            np.asarray(compute_user_vectors(part.last_padded(max_history_length)))
            for start in range(0, len(chosen), _BATCH_SIZE)
            for part in [users.histories.slice(start, start + _BATCH_SIZE)]
        ]
    )
    rows = top_rows["model"][chosen]
    sample = _Sample(users, vectors, item_vectors, rows, vocabulary, config.exclude_seen, k)
    return {
        "format": records.DETAILS_FORMAT,
        "k": k,
        "num_users": len(chosen),
        "recall": sample.recall,
        "exposure": measure_exposure(
            top_rows, lists.to_rows(held_out.positives).values, vocabulary.counts, k
        ),
        "interests": sample.describe_interests(),
        "trade_off": sample.measure_trade_off(),
        "trade_off_users": min(_DIVERSITY_USERS, len(chosen)),
        "users": sample.show_users(),
    }


def _choose_sample(held_out: HeldOutUsers, num_items: int) -> np.ndarray:
    """Rows of the users whose interests are looked at, by the length of their histories."""
    size = int(np.clip(_SAMPLE_SCORES // num_items, _MIN_SAMPLE, _MAX_SAMPLE))
    chosen = np.random.default_rng(_SEED).permutation(held_out.num_users)[:size]
    return chosen[np.argsort(held_out.histories.lengths[chosen], kind="stable")]


class _Sample:
    """Users with their vectors and lists."""

    def __init__(
        self,
        users: HeldOutUsers,
        vectors: np.ndarray,
        item_vectors: np.ndarray,
        rows: np.ndarray,
        vocabulary: ItemVocabulary,
        exclude_seen: bool,
        k: int,
    ):
        self._users, self._vectors, self._item_vectors = users, vectors, item_vectors
        self._rows, self._vocabulary, self._k = rows, vocabulary, k
        self._excluded = lists.to_rows(users.histories) if exclude_seen else None
        self._interests, self._scores = interest_profiles.find_interests(
            vectors, item_vectors, rows
        )

    @property
    def recall(self) -> float:
        """Recall at k of the lists that all interests make together."""
        return self._recall_of(self._rows)

    def describe_interests(self) -> list[dict[str, Any]]:
        """What each interest wins, fills, finds alone and stands for."""
        num_interests, k = self._vectors.shape[1], self._k
        clicks = measure_interest_usage(self._vectors, self._item_vectors, self._users.positives)
        profiles = interest_profiles.describe_slots(
            self._rows[:, :k],
            self._interests[:, :k],
            num_interests,
            self._vocabulary.categories,
        )
        return [
            {
                "share_of_clicks": float(clicks[interest]),
                "recall_alone": self._measure_alone(interest),
                **profiles[interest],
            }
            for interest in range(num_interests)
        ]

    def _measure_alone(self, interest: int) -> float:
        """Recall at k of lists that one interest makes by itself."""
        return self._recall_of(self._rank(slice(None), interest, self._k))

    def _recall_of(self, rows: np.ndarray) -> float:
        positives = lists.to_rows(self._users.positives)
        metrics = ranking.compute_ranking_metrics(rows, positives, [self._k])
        return metrics.values[f"recall@{self._k}"]

    def _rank(self, users: slice | np.ndarray, interest: int, k: int) -> np.ndarray:
        """The k best rows of some users by one interest."""
        rows = np.arange(self._users.num_users)[users]
        parts = []
        for start in range(0, len(rows), _BATCH_SIZE):
            batch = rows[start : start + _BATCH_SIZE]
            excluded = None if self._excluded is None else self._excluded.take(batch)
            vectors = self._vectors[batch, interest : interest + 1]
            ranked = full_ranking.rank_catalogue(vectors, self._item_vectors, k, excluded)
            parts.append(ranked.rows)
        return np.concatenate(parts)

    def measure_trade_off(self) -> list[dict[str, Any]]:
        """Recall against diversity, on some of the users."""
        width = min(self._rows.shape[1], trade_off.POOL * self._k)
        chosen = np.unique(np.linspace(0, self._users.num_users - 1, _DIVERSITY_USERS).astype(int))
        return trade_off.measure_trade_off(
            self._rows[chosen, :width],
            self._scores[chosen, :width],
            lists.to_rows(self._users.positives.take(chosen)),
            self._vocabulary.categories,
            self._k,
        )

    def show_users(self) -> list[dict[str, Any]]:
        """Some users, evenly spaced by the length of their histories."""
        chosen = np.unique(np.linspace(0, self._users.num_users - 1, _NUM_EXAMPLES).astype(int))
        alone = [
            self._rank(chosen, interest, min(_LIST_OF_AN_INTEREST, self._vocabulary.num_items))
            for interest in range(self._vectors.shape[1])
        ]
        return [
            {
                "user_id": self._users.user_ids[user].decode(),
                "history_length": int(self._users.history_lengths[user]),
                "history": _known_rows(self._users.histories, user)[-_SHOWN_CLICKS:],
                "positives": (self._users.positives[user] - FIRST_ITEM_ID).tolist(),
                "items": [
                    {"row": int(row), "interest": int(interest)}
                    for row, interest in zip(
                        self._rows[user, : self._k], self._interests[user, : self._k], strict=True
                    )
                    if row >= 0
                ],
                "by_interest": [_real(rows[place]) for rows in alone],
            }
            for place, user in enumerate(chosen.tolist())
        ]


def _known_rows(histories: Ragged, user: int) -> list[int]:
    return _real(histories[user] - FIRST_ITEM_ID)


def _real(rows: np.ndarray) -> list[int]:
    return rows[rows >= 0].tolist()
