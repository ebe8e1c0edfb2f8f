"""How a ranker does on the held-out events of each kind."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import lists
from recall.metrics import ranking


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
    measured = {}
    for number, name in enumerate(names, start=1):
        rows, users = held_out.of_kinds([number])
        if len(rows) == 0:
            continue
        of_kind = lists.to_rows(users.positives)
        metrics = ranking.compute_ranking_metrics(top_rows[rows], of_kind, ks)
        counts = {"num_users": len(rows), "num_positives": len(of_kind.values)}
        measured[name] = {**counts, **metrics.values, "standard_errors": metrics.standard_errors}
    return measured
