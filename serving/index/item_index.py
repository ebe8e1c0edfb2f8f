"""The contract of an item index.

Imports no TensorFlow. Every index is immutable and may be searched from several
threads. Indexes know row numbers; the bundle knows which item a row is.
"""

from typing import NamedTuple, Protocol

import numpy as np

from recall.errors import InputError


class SearchResult(NamedTuple):
    """Rows of the best items per query, best first.

    Attributes:
        rows: One int64 array per query; at most `k` rows, never padded.
        scores: One float32 array per query, the inner products, descending.
    """

    rows: list[np.ndarray]
    scores: list[np.ndarray]

    @classmethod
    def nothing(cls, num_queries: int) -> "SearchResult":
        """What is found where there are no items."""
        no_rows, no_scores = np.empty(0, np.int64), np.empty(0, np.float32)
        return cls([no_rows] * num_queries, [no_scores] * num_queries)


class SearchParameters(NamedTuple):
    """How far a search looks; an index ignores what it has no use for.

    Attributes:
        leaves_to_search: Leaves of the tree, None for the index's own number.
        reorder: Candidates whose score is recomputed, None for the index's own
            number.
        effort: Factor on both numbers.
    """

    leaves_to_search: int | None = None
    reorder: int | None = None
    effort: int = 1


DEFAULT_PARAMETERS = SearchParameters()


class ItemIndex(Protocol):
    """What the recall service needs from an index."""

    kind: str
    num_items: int
    dim: int

    def search(
        self, query_vectors: np.ndarray, k: int, parameters: SearchParameters = DEFAULT_PARAMETERS
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
