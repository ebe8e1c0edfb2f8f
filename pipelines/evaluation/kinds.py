"""How a ranker does on the held-out events of each kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import lists
from recall.metrics import ranking
from recall.ragged import Ragged


def measure_all(
    top_rows: Mapping[str, np.ndarray],
    held_out: HeldOutUsers,
    names: Sequence[str],
    ks: Sequence[int],
) -> dict[str, dict[str, Any]]:
    """Ranker -> what `measure_kinds` says of its lists."""
    return {ranker: measure_kinds(rows, held_out, names, ks) for ranker, rows in top_rows.items()}


def measure_kinds(
    top_rows: np.ndarray, held_out: HeldOutUsers, names: Sequence[str], ks: Sequence[int]
) -> dict[str, Any]:
    """Ranking metrics with the events of one kind alone as positives.

    Args:
        top_rows: `[num_users, max(ks)]` vocabulary rows, best first.
        held_out: The users, with the kinds of their positives.
        names: Kinds by their numbers from 1.
        ks: Cut-offs.

    Returns:
        Kind -> `num_users`, `num_positives` and the metrics; kinds that are not held out are
        left out.
    """
    positives, measured = lists.to_rows(held_out.positives), {}
    for number, name in enumerate(names, start=1):
        is_of_kind = held_out.positive_kinds == number
        offsets = np.concatenate([[0], np.cumsum(is_of_kind)])[positives.offsets]
        users = np.flatnonzero(np.diff(offsets))
        if len(users) == 0:
            continue
        of_kind = Ragged(positives.values[is_of_kind], offsets).take(users)
        metrics = ranking.compute_ranking_metrics(top_rows[users], of_kind, ks)
        counts = {"num_users": len(users), "num_positives": len(of_kind.values)}
        measured[name] = {**counts, **metrics.values, "standard_errors": metrics.standard_errors}
    return measured
