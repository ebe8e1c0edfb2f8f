"""How well items are found that training never saw. Knows no model."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import lists
from pipelines.evaluation.rankers.full_ranking import EMPTY_SLOT, Ranker
from recall.ragged import Ragged
from recall.settings.evaluation import EvaluationConfig
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary

_METRICS = ("recall", "ndcg", "hit_rate")


class ColdRankers(NamedTuple):
    """Two ways in which something ranks.

    Attributes:
        among_all: The whole catalogue.
        alone: Items without training clicks alone, in the order of the vocabulary: rows of its
            answers, and of what is excluded, are places in that part.
    """

    among_all: Ranker
    alone: Ranker


def cold_rows(vocabulary: ItemVocabulary) -> np.ndarray:
    """`[n]` rows of the items without a training click, ascending."""
    return np.flatnonzero(vocabulary.counts == 0)


def cold_targets(held_out: HeldOutUsers, vocabulary: ItemVocabulary) -> HeldOutUsers:
    """The users with held-out clicks on such items, and these clicks alone."""
    positives = held_out.positives
    rows = positives.values - FIRST_ITEM_ID
    is_cold = (rows >= 0) & (vocabulary.counts[np.maximum(rows, 0)] == 0)
    kept = np.bincount(positives.row_numbers()[is_cold], minlength=len(positives))
    offsets = np.concatenate([[0], np.cumsum(kept)])
    users = np.flatnonzero(kept)
    of_cold = Ragged(positives.values[is_cold], offsets).take(users)
    return HeldOutUsers(
        held_out.user_ids[users],
        held_out.histories.take(users),
        of_cold,
        held_out.num_trained[users],
        starts_with_slot=held_out.starts_with_slot,
    )


def measure(
    rankers: Mapping[str, ColdRankers],
    held_out: HeldOutUsers,
    vocabulary: ItemVocabulary,
    config: EvaluationConfig,
) -> dict[str, Any] | None:
    """Metrics of the clicks on items without a training click, among all items and among these.

    Args:
        rankers: By name.
        held_out: Users of the test.
        vocabulary: The items.
        config: Cut-offs, and whether items of the history are removed.

    Returns:
        Sizes, `chance` (recall of a random order, by k) and the metrics of every ranker; None
        where no such item is clicked.
    """
    targets = cold_targets(held_out, vocabulary)
    if not targets.num_users:
        return None
    rows = cold_rows(vocabulary)
    among_all, alone = {}, {}
    for name, (rank_all, rank_cold) in rankers.items():
        among_all[name] = _metrics(rank_all, targets, config)
        alone[name] = _metrics(_in_vocabulary(rank_cold, rows, len(vocabulary)), targets, config)
    return {
        "num_items": len(rows),
        "num_users": targets.num_users,
        "num_clicks": len(targets.positives.values),
        "among_all": {"chance": _chance(len(vocabulary), config), **among_all},
        "alone": {"chance": _chance(len(rows), config), **alone},
    }


def _metrics(rank: Ranker, targets: HeldOutUsers, config: EvaluationConfig) -> dict[str, Any]:
    result = lists.evaluate_lists(rank, targets, ks=config.all_ks, exclude_seen=config.exclude_seen)
    names = [f"{metric}@{k}" for metric in _METRICS for k in config.all_ks]
    errors = {n: result.standard_errors[n] for n in names if n in result.standard_errors}
    return {**{n: result.metrics[n] for n in names}, "standard_errors": errors}


def _chance(num_items: int, config: EvaluationConfig) -> dict[str, float]:
    return {f"recall@{k}": min(1.0, k / num_items) for k in config.all_ks}


def _in_vocabulary(rank: Ranker, rows: np.ndarray, num_items: int) -> Ranker:
    """A ranker of some rows as one of the vocabulary."""
    place_of = np.full(num_items, EMPTY_SLOT)
    place_of[rows] = np.arange(len(rows))

    def rank_rows(histories: Ragged, excluded: Ragged | None) -> np.ndarray:
        if excluded is not None:
            known = (excluded.values >= 0) & (excluded.values < num_items)
            places = np.where(known, place_of[np.maximum(excluded.values, 0) * known], EMPTY_SLOT)
            excluded = Ragged(places, excluded.offsets)
        places = rank(histories, excluded)
        return np.where(places == EMPTY_SLOT, EMPTY_SLOT, rows[np.maximum(places, 0)])

    return rank_rows
