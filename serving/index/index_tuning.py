"""How far a ScaNN index looks, and whether it is worth having: measured, never assumed.

Imports no TensorFlow. More leaves need not find more, so several settings are tried, also
smaller ones than the first; where none finds enough, or exact search costs less, exact
search is what remains.
"""

import time
from typing import NamedTuple

import numpy as np

from serving.index.exact_index import ExactIndex, recall_of_rows
from serving.index.item_index import ItemIndex
from serving.index.scann_index import ScannIndex

_STEP = 2**0.5
"""Between numbers of leaves that are tried: at most 41 % more than needed are searched."""

_REORDER_COST = 4
"""As in `item_index`: to fetch a vector out of the table costs as much as to score four in
place, so exact search is cheaper than to reorder more than a quarter of the items."""

_USER_VECTORS = 4
"""Queries of a call whose cost is measured: the interests of a user."""

_CURVE = (0.125, 0.25, 0.5, 1, 2, 4)
"""Of the leaves of the index that is served: where less and more is too little and too much."""

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
    trial = _Trial(exact.search(query_vectors, k).rows, query_vectors, k, wanted)
    found = _find_leaves(index, trial) or _reorder_more(index, trial)
    facts: dict[str, object] = {"recalls": trial.recalls}
    if found is not None:
        num_leaves, leaves, reorder, _ = found.parameters
        reason = (
            f"ScaNN finds {trial.recall:.4f} of the exact top {k} with {leaves} of "
            f"{num_leaves} leaves and {reorder} reordered"
        )
        return Tuning(found, trial.recall, reason, facts)
    reason = (
        f"exact search: ScaNN finds at most {trial.most:.4f} of the exact top {k}, "
        f"less than {wanted:.4f}, short of scoring everything"
    )
    return Tuning(exact, 1.0, reason, facts)


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


def measure_curve(
    index: ScannIndex, best_rows: list[np.ndarray], query_vectors: np.ndarray, k: int
) -> list[dict[str, float]]:
    """Recall and cost from a fraction to a multiple of an index's leaves, for people to look at.

    Args:
        index: The setting in the middle.
        best_rows: Exact top `k` of every query.
        query_vectors: `[num_queries, dim]` float32, at least one.
        k: Items asked for.

    Returns:
        For each setting `leaves`, `reorder`, `recall` and `cpu_ms_per_user`.
    """
    num_leaves, chosen, reorder, _ = index.parameters
    points = []
    for leaves in sorted({min(num_leaves, max(1, round(chosen * f))) for f in _CURVE}):
        candidate = index.with_setting(leaves, reorder)
        rows = candidate.search(query_vectors, k).rows
        points.append(
            {
                "leaves": leaves,
                "reorder": reorder,
                "recall": round(recall_of_rows(rows, best_rows), 4),
                "cpu_ms_per_user": round(measure_cost_ms(candidate, query_vectors, k), 4),
            }
        )
    return points


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


class _Trial:
    """Searches with one setting after the other, and remembers what each found.

    Attributes:
        recalls: By setting.
        recall: Of the last one.
        most: The largest one.
        best_leaves: Leaves of the first setting that had it.
    """

    def __init__(
        self, best_rows: list[np.ndarray], query_vectors: np.ndarray, k: int, wanted: float
    ):
        self.recalls: dict[str, float] = {}
        self.recall = self.most = 0.0
        self.best_leaves = 1
        self._best_rows, self._query_vectors = best_rows, query_vectors
        self._k, self._wanted = k, wanted

    def finds_enough(self, candidate: ScannIndex) -> bool:
        """Whether a setting has the wanted recall; to score everything is no setting."""
        if candidate.is_exhaustive:
            return False
        rows = candidate.search(self._query_vectors, self._k).rows
        self.recall = recall_of_rows(rows, self._best_rows)
        leaves, reorder = candidate.parameters[1:3]
        self.recalls[f"{leaves} leaves, {reorder} reordered"] = round(self.recall, 4)
        if self.recall > self.most:
            self.most, self.best_leaves = self.recall, leaves
        return self.recall >= self._wanted


def _find_leaves(index: ScannIndex, trial: _Trial) -> ScannIndex | None:
    """From the index's own number of leaves to all of them, then fewer.

    Each costs more than those before it, but for the fewer ones: they come last
    as they find less, where vectors are as they should be.
    """
    num_leaves, first, reorder, _ = index.parameters
    for leaves in [*_ladder(first, num_leaves), *reversed(_ladder(1, first - 1))]:
        candidate = index.with_setting(leaves, reorder)
        if trial.finds_enough(candidate):
            return candidate
    return None


def _reorder_more(index: ScannIndex, trial: _Trial) -> ScannIndex | None:
    """The least reordering with which some number of leaves finds enough, and then the fewest."""
    num_leaves, first, reorder, _ = index.parameters
    leaves_to_try = dict.fromkeys([trial.best_leaves, num_leaves])
    while (reorder := 2 * reorder) * _REORDER_COST <= index.num_items:
        candidates = [index.with_setting(leaves, reorder) for leaves in leaves_to_try]
        if any(trial.finds_enough(candidate) for candidate in candidates):
            return _find_leaves(index.with_setting(first, reorder), trial)
    return None


def _ladder(low: int, high: int) -> list[int]:
    """Whole numbers from `low` to `high`, both ends too, in steps of `_STEP`."""
    steps: list[int] = []
    value = float(low)
    while round(value) < high:
        steps.append(round(value))
        value = max(value * _STEP, round(value) + 1)
    return [*steps, high] if high >= low else []
