"""How far a ScaNN index looks, and whether it is worth having: measured, never assumed.

Imports no TensorFlow. More leaves need not find more, so several settings are tried, also
smaller ones than the first; where none finds enough, or exact search costs less, exact
search is what remains.
"""

import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from serving.item_index import ExactIndex, ItemIndex, recall_of_rows
from serving.scann_index import ScannIndex

_STEP = 2**0.5
"""Between numbers of leaves that are tried: at most 41 % more than needed are searched."""

_USER_VECTORS = 4
"""Queries of a call whose cost is measured: the interests of a user."""

_COST_CALLS = 50
_COST_RUNS = 3
"""The cheapest run counts: others are at work on the machine, too."""


class Tuning(NamedTuple):
    """What was chosen.

    Attributes:
        index: To be served.
        recall: Of it, on the queries it was chosen by.
        reason: Why it is that one, in one line.
        facts: The reason in numbers: `recalls` by setting, and CPU milliseconds per user.
    """

    index: ExactIndex | ScannIndex
    recall: float
    reason: str
    facts: dict[str, object]


def tune(
    index: ScannIndex,
    exact: ExactIndex,
    query_vectors: np.ndarray,
    *,
    k: int,
    wanted: float,
) -> Tuning:
    """Finds the cheapest setting of an index with the wanted recall.

    Args:
        index: As built; its own setting is tried first.
        exact: Over the same vectors.
        query_vectors: `[num_queries, dim]` float32.
        k: Depth of the comparison, 1 <= k <= `num_items`.
        wanted: Share of the exact top `k` to be found.

    Returns:
        The index, or `exact` where no setting short of everything finds enough.
    """
    best_rows = exact.search(query_vectors, k).rows
    recalls: dict[str, float] = {}
    for candidate in _candidates(index):
        if candidate.is_exhaustive:
            continue
        recall = recall_of_rows(candidate.search(query_vectors, k).rows, best_rows)
        leaves, reorder = candidate.parameters[1:3]
        recalls[f"{leaves} leaves, {reorder} reordered"] = round(recall, 4)
        if recall >= wanted:
            reason = (
                f"ScaNN finds {recall:.4f} of the exact top {k} with {leaves} of "
                f"{index.parameters.num_leaves} leaves and {reorder} reordered"
            )
            return Tuning(candidate, recall, reason, {"recalls": recalls})
    most = max(recalls.values(), default=0.0)
    reason = (
        f"exact search: ScaNN finds at most {most:.4f} of the exact top {k}, "
        f"less than {wanted:.4f}, short of scoring everything"
    )
    return Tuning(exact, 1.0, reason, {"recalls": recalls})


def prefer_cheaper(tuning: Tuning, exact: ExactIndex, query_vectors: np.ndarray, k: int) -> Tuning:
    """The tuning, or exact search where that takes less processor time on this machine.

    Counts the time of the whole process: for a process that does nothing else.

    Args:
        tuning: What `tune` chose.
        exact: Over the same vectors.
        query_vectors: `[num_queries, dim]` float32, at least one.
        k: Items asked for.
    """
    scann_ms = measure_cost_ms(tuning.index, query_vectors, k)
    exact_ms = measure_cost_ms(exact, query_vectors, k)
    facts = {
        **tuning.facts,
        "cpu_ms_per_user": round(scann_ms, 4),
        "exact_cpu_ms_per_user": round(exact_ms, 4),
    }
    costs = f"exact search takes {exact_ms:.3g} CPU-ms per user, ScaNN {scann_ms:.3g}"
    if tuning.index is exact or exact_ms > scann_ms:
        return tuning._replace(facts=facts, reason=f"{tuning.reason}; {costs}")
    return Tuning(exact, 1.0, costs, facts)


def measure_cost_ms(index: ItemIndex, query_vectors: np.ndarray, k: int) -> float:
    """CPU milliseconds of one user's search, at its cheapest.

    Args:
        index: Is searched.
        query_vectors: `[num_queries, dim]` float32, at least one.
        k: Items asked for.
    """
    starts = range(0, min(len(query_vectors), _COST_CALLS * _USER_VECTORS), _USER_VECTORS)
    users = [query_vectors[start : start + _USER_VECTORS] for start in starts]
    costs_s = []
    for _ in range(_COST_RUNS):
        started_s = time.process_time()
        for user in users:
            index.search(user, k)
        costs_s.append(time.process_time() - started_s)
    return 1e3 * min(costs_s) / len(users)


def _candidates(index: ScannIndex) -> Iterator[ScannIndex]:
    """Settings to try: from the index's own to all leaves, then fewer leaves, then more reordering.

    A setting costs more than those before it, but for the fewer leaves: these
    come after, as they find less on vectors that are as they should be.
    """
    num_leaves, first, reorder, _ = index.parameters
    more, fewer = _ladder(first, num_leaves), _ladder(1, first - 1)[::-1]
    for leaves in [*more, *fewer]:
        yield index.with_setting(leaves, reorder)
    while reorder < index.num_items:
        reorder = min(2 * reorder, index.num_items)
        for leaves in more:
            yield index.with_setting(leaves, reorder)


def _ladder(low: int, high: int) -> list[int]:
    """Whole numbers from `low` to `high`, both ends too, in steps of `_STEP`."""
    steps: list[int] = []
    value = float(low)
    while round(value) < high:
        steps.append(round(value))
        value = max(value * _STEP, round(value) + 1)
    return [*steps, high] if high >= low else []
