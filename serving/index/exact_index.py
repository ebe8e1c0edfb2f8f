"""The index that scores every item, and how much of its answers another one finds.

Imports no TensorFlow.
"""

from collections.abc import Sequence

import numpy as np

from serving.index.item_index import (
    DEFAULT_PARAMETERS,
    ItemIndex,
    SearchParameters,
    SearchResult,
    check_item_vectors,
    check_queries,
)

_BLOCK_SCORES = 1 << 23
"""Scores held at a time by exact search: 32 MB of float32."""

_FEW_QUERIES = 8
"""Queries up to which a table is scored in pieces; measured on 10^6 x 64 with 4 queries
and 2 busy cores: 20 CPU-ms against 72. With 32, whole products win."""

_PIECE_PRODUCTS = 1 << 19
"""Multiplications in a piece: as many as OpenBLAS leaves to one thread."""

_BLOCK_COLUMNS = 64
"""Columns whose maximum is taken together: few enough that there are more blocks than
`k` in a catalogue where it matters, many enough that their maxima are few."""

_SORTED_PER_RESULT = 4
"""Candidates per result that are sorted without looking for a better bound."""

_COPY_COST = 2.5
"""Measured on 400,000 x 64 with 4 queries: to copy a vector out of the table and score it costs
as much as to score so many in place (`take`; by an array of indices it was twice as much)."""


class ExactIndex:
    """Scores every item; ties go to the lower row number."""

    kind = "exact"

    def __init__(self, item_vectors: np.ndarray):
        """Creates an index over `[num_items, dim]` float32 (may be a memory map).

        Raises:
            InputError: The vectors are not a finite table.
        """
        self._item_vectors = np.asarray(check_item_vectors(item_vectors))
        self.num_items, self.dim = self._item_vectors.shape

    def search(
        self, query_vectors: np.ndarray, k: int, parameters: SearchParameters = DEFAULT_PARAMETERS
    ) -> SearchResult:
        """Finds the items with the largest inner product for every query.

        Args:
            query_vectors: `[num_queries, dim]` float32; may have no rows.
            k: Items wanted per query, 1 <= k <= `num_items`.
            parameters: Not used: nothing can be looked at beyond every item.

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
        found = _search_table(queries, k, self._item_vectors.take(rows, axis=0), None)
        return SearchResult([rows[positions] for positions in found.rows], found.scores)


def _search_table(
    queries: np.ndarray, k: int, item_vectors: np.ndarray, only: np.ndarray | None
) -> SearchResult:
    """Scores a whole table, block by block of queries; only some rows may be found."""
    result = SearchResult([], [])
    block = max(1, _BLOCK_SCORES // len(item_vectors))
    for start in range(0, len(queries), block):
        scores = _inner_products(queries[start : start + block], item_vectors)
        if only is not None:
            scores = scores.take(only, axis=1)
        for row_scores, columns in zip(scores, top_rows(scores, k), strict=True):
            result.rows.append(columns if only is None else only[columns])
            result.scores.append(row_scores[columns])
    return result


def _inner_products(queries: np.ndarray, item_vectors: np.ndarray) -> np.ndarray:
    """`[num_queries, num_items]` float32.

    Few queries against a large table are slow as one product: OpenBLAS first
    copies the table, and its threads wait for each other. In pieces that one
    core's cache holds, it does neither.
    """
    num_items, dim = item_vectors.shape
    if num_items <= _PIECE_PRODUCTS // dim or len(queries) > _FEW_QUERIES:
        return queries @ item_vectors.T
    scores = np.empty((len(queries), num_items), dtype=np.float32)
    columns = np.ascontiguousarray(queries.T)
    piece = _PIECE_PRODUCTS // (dim * len(queries))
    for start in range(0, num_items, piece):
        rows = slice(start, start + piece)
        scores[:, rows] = (item_vectors[rows] @ columns).T
    return scores


def top_rows(scores: np.ndarray, k: int) -> list[np.ndarray]:
    """Columns of the `k` largest scores of each row, ties to the lower column.

    Args:
        scores: `[num_queries, num_items]` float.
        k: Columns per row, 1 <= k <= num_items.
    """
    return [_top_of_row(row, k) for row in scores]


def _top_of_row(scores: np.ndarray, k: int) -> np.ndarray:
    """The `k` best columns of one row.

    Few columns can be among them, which two cheap passes over the row find:
    the k-th largest of the maxima of blocks is a bound that at least k scores
    reach, one in each of k blocks.
    """
    num_blocks = len(scores) // _BLOCK_COLUMNS
    if num_blocks <= k:
        columns = np.arange(len(scores))
    else:
        blocks = scores[: num_blocks * _BLOCK_COLUMNS].reshape(num_blocks, _BLOCK_COLUMNS)
        bound = np.partition(blocks.max(axis=1), num_blocks - k)[num_blocks - k]
        columns = np.flatnonzero(scores >= bound)
    if len(columns) > _SORTED_PER_RESULT * k:
        candidates = scores[columns]
        bound = np.partition(candidates, len(columns) - k)[len(columns) - k]
        columns = columns[candidates >= bound]
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
