"""The contract of an item index, and the index that scores every item.

Imports no TensorFlow. Every index is immutable and may be searched from several
threads. Indexes know row numbers; the bundle knows which item a row is.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from recall.errors import InputError

_BLOCK_SCORES = 1 << 23
"""Scores held at a time by exact search: 32 MB of float32."""

_COPY_COST = 4
"""Measured: to copy a vector out of the table costs as much as to score four in place."""


class SearchResult(NamedTuple):
    """Rows of the best items per query, best first.

    Attributes:
        rows: One int64 array per query; at most `k` rows, never padded.
        scores: One float32 array per query, the inner products, descending.
    """

    rows: list[np.ndarray]
    scores: list[np.ndarray]


class SearchKnobs(NamedTuple):
    """How far a search looks; an index ignores what it has no use for.

    Attributes:
        leaves_to_search: Leaves of the tree, None for the index's own number.
        reorder: Candidates whose score is recomputed, None for the index's own
            number.
    """

    leaves_to_search: int | None = None
    reorder: int | None = None


DEFAULT_KNOBS = SearchKnobs()


class ItemIndex(Protocol):
    """What the recall service needs from an index."""

    kind: str
    num_items: int
    dim: int

    def search(
        self, query_vectors: np.ndarray, k: int, knobs: SearchKnobs = DEFAULT_KNOBS
    ) -> SearchResult:
        """Finds the items with the largest inner product for every query."""


def check_item_vectors(item_vectors: np.ndarray) -> np.ndarray:
    """`[num_items, dim]` finite float32, unchanged where it already is.

    Raises:
        InputError: The shape is not such, or a value is not finite.
    """
    if item_vectors.ndim != 2 or not item_vectors.size:
        raise InputError(
            f"Item vectors must be a table [num_items, dim], received shape {item_vectors.shape}."
        )
    vectors = np.ascontiguousarray(item_vectors, dtype=np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise InputError(
            f"The vector of item row {int(np.argmin(finite))} is not finite. Train the model again."
        )
    return vectors


def check_queries(query_vectors: np.ndarray, k: int, num_items: int, dim: int) -> np.ndarray:
    """The queries as contiguous float32.

    Raises:
        InputError: `k` is out of range, the shape is not [num_queries, dim],
            or a value is not finite.
    """
    if not 1 <= k <= num_items:
        raise InputError(f"`k` must be in [1, {num_items}], received {k}. Change `k`.")
    if query_vectors.ndim != 2 or query_vectors.shape[1] != dim:
        raise InputError(
            f"`query_vectors` must have shape [num_queries, {dim}], received "
            f"{list(query_vectors.shape)}. Use the user tower exported with this index."
        )
    queries = np.ascontiguousarray(query_vectors, dtype=np.float32)
    finite = np.isfinite(queries).all(axis=1)
    if not finite.all():
        raise InputError(f"`query_vectors` row {int(np.argmin(finite))} is not finite.")
    return queries


class ExactIndex:
    """Scores every item; ties go to the lower row number."""

    kind = "exact"

    def __init__(self, item_vectors: np.ndarray):
        """Creates an index over `[num_items, dim]` float32 (may be a memory map).

        Raises:
            InputError: The vectors are not a finite table.
        """
        self._item_vectors = check_item_vectors(item_vectors)
        self.num_items, self.dim = self._item_vectors.shape

    def search(
        self, query_vectors: np.ndarray, k: int, knobs: SearchKnobs = DEFAULT_KNOBS
    ) -> SearchResult:
        """Finds the items with the largest inner product for every query.

        Args:
            query_vectors: `[num_queries, dim]` float32; may have no rows.
            k: Items wanted per query, 1 <= k <= `num_items`.
            knobs: Not used: nothing can be looked at beyond every item.

        Returns:
            `SearchResult` of `num_queries` rows, each of `k` items.

        Raises:
            InputError: `k` or the shape is out of range, or a value not finite.
        """
        return _search_table(
            check_queries(query_vectors, k, self.num_items, self.dim), k, self._item_vectors, None
        )

    def search_rows(self, query_vectors: np.ndarray, k: int, rows: np.ndarray) -> SearchResult:
        """Finds the best items among some rows.

        Args:
            query_vectors: `[num_queries, dim]` float32; may have no rows.
            k: Items wanted per query, 1 <= k <= `len(rows)`.
            rows: `[n]` int64, ascending, each once.

        Returns:
            `SearchResult` of `num_queries` rows, each of `k` of the rows given.

        Raises:
            InputError: `k` or the shape is out of range, or a value not finite.
        """
        queries = check_queries(query_vectors, k, len(rows), self.dim)
        if len(rows) * _COPY_COST > self.num_items:
            return _search_table(queries, k, self._item_vectors, rows)
        found = _search_table(queries, k, self._item_vectors[rows], None)
        return SearchResult([rows[positions] for positions in found.rows], found.scores)


def _search_table(
    queries: np.ndarray, k: int, item_vectors: np.ndarray, only: np.ndarray | None
) -> SearchResult:
    """Scores a whole table, block by block of queries; `only` keeps some of its rows."""
    result = SearchResult([], [])
    block = max(1, _BLOCK_SCORES // len(item_vectors))
    for start in range(0, len(queries), block):
        scores = queries[start : start + block] @ item_vectors.T
        if only is not None:
            scores = scores[:, only]
        for row_scores, columns in zip(scores, top_rows(scores, k), strict=True):
            result.rows.append(columns if only is None else only[columns])
            result.scores.append(row_scores[columns])
    return result


def top_rows(scores: np.ndarray, k: int) -> list[np.ndarray]:
    """Columns of the `k` largest scores of each row, ties to the lower column.

    Args:
        scores: `[num_queries, num_items]` float.
        k: Columns per row, 1 <= k <= num_items.
    """
    num_items = scores.shape[1]
    if k == num_items:
        return list(np.argsort(-scores, axis=1, kind="stable"))
    candidates = np.argpartition(scores, num_items - k, axis=1)[:, num_items - k :]
    thresholds = np.take_along_axis(scores, candidates[:, :1], axis=1)
    return [_top_of_row(row, t, k) for row, t in zip(scores, thresholds[:, 0], strict=True)]


def _top_of_row(scores: np.ndarray, threshold: float, k: int) -> np.ndarray:
    """The `k` best columns of one row whose k-th largest score is `threshold`."""
    columns = np.flatnonzero(scores >= threshold)
    return columns[np.argsort(-scores[columns], kind="stable")[:k]]


def recall_against_exact(
    index: ItemIndex, exact: ItemIndex, query_vectors: np.ndarray, k: int
) -> float:
    """Share of the exact top `k` that `index` finds, averaged over the queries."""
    wanted = exact.search(query_vectors, k).rows
    return recall_of_rows(index.search(query_vectors, k).rows, wanted)


def recall_of_rows(found: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> float:
    """Share of the rows in `wanted` that are in `found`, averaged over the queries."""
    hits = [np.isin(best, rows).mean() for best, rows in zip(wanted, found, strict=True)]
    return float(np.mean(hits))
