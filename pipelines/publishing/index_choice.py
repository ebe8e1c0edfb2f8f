"""Which index a catalogue gets, and how far it looks: by measurement. Imports no TensorFlow."""

import logging
from typing import Any, NamedTuple

import numpy as np

from recall.config import IndexConfig
from serving.index import index_tuning
from serving.index.exact_index import ExactIndex, recall_against_exact
from serving.index.scann_index import ScannIndex

_LOGGER = logging.getLogger(__name__)

RECALL_K = 100
"""Depth at which an index is compared with exact search."""


_COST_QUERIES = 40
"""Vectors that exact search is timed with where nothing depends on it: ten users'."""


class TunedIndex(NamedTuple):
    """An index to serve.

    Attributes:
        index: ScaNN or exact.
        recall: recall@100 against exact search.
        facts: Why it is that one, in one line and in numbers; what exact search costs alone
            where ScaNN was not tried.
    """

    index: ExactIndex | ScannIndex
    recall: float
    facts: dict[str, Any]


def tune_index(
    index: ExactIndex | ScannIndex,
    exact: ExactIndex,
    query_vectors: np.ndarray,
    config: IndexConfig,
) -> TunedIndex:
    """Searches as far as recall@100 wants, then measures it.

    One half of the queries chooses how far, the other half gives the number
    that is reported. With `index.kind=auto` the result is exact search where
    that costs less, or where no setting of ScaNN has the wanted recall.

    Args:
        index: As built.
        exact: Over the same vectors.
        query_vectors: `[num_queries, dim]` float32 in random order.
        config: Where the wanted recall is.

    Returns:
        The index to serve, its recall@100 against exact search, and why.
    """
    k = min(RECALL_K, index.num_items)
    half = (len(query_vectors) + 1) // 2
    if isinstance(index, ScannIndex):
        wanted = max(config.target_recall, config.min_index_recall)
        index, facts = _choose(index, exact, query_vectors[:half], k, wanted, config.kind)
    else:
        cost_ms = index_tuning.measure_cost_ms(index, query_vectors[:_COST_QUERIES], k)
        facts = {"exact_cpu_ms_per_user": round(cost_ms, 4)}
    measured = query_vectors[half:] if len(query_vectors) > half else query_vectors
    return TunedIndex(index, recall_against_exact(index, exact, measured, k), facts)


def _choose(
    index: ScannIndex,
    exact: ExactIndex,
    query_vectors: np.ndarray,
    k: int,
    wanted: float,
    kind: str,
) -> tuple[ExactIndex | ScannIndex, dict[str, Any]]:
    """The index to serve and why; one of the kind that is asked for."""
    tuning = index_tuning.tune(index, exact, query_vectors, k=k, wanted=wanted)
    if kind == ScannIndex.kind and tuning.index is exact:
        index = index.with_setting(index.parameters.num_leaves, index.num_items)
        reason = f"ScaNN scores everything, as index.kind=scann; better is {tuning.reason}"
        tuning = tuning._replace(index=index, reason=reason)
    cheaper = index_tuning.prefer_cheaper(tuning, exact, query_vectors, k)
    if kind == ScannIndex.kind and cheaper.index is exact:
        reason = f"{tuning.reason}; index.kind=exact is cheaper: {cheaper.reason}"
        cheaper = cheaper._replace(index=tuning.index, reason=reason)
    _LOGGER.info("Index: %s.", cheaper.reason)
    middle = tuning.index if isinstance(tuning.index, ScannIndex) else index
    best_rows = exact.search(query_vectors, k).rows
    curve = index_tuning.measure_curve(middle, best_rows, query_vectors, k)
    return cheaper.index, {"reason": cheaper.reason, **cheaper.facts, "curve": curve}
