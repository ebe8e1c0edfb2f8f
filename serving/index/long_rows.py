"""Item vectors much longer than the others, which an approximate index must not hold.

Imports no TensorFlow. Under the inner product vectors have lengths. The clusters of
ScaNN's tree follow the longest ones, and so does the range of its lookup tables, which are
rounded to 8 bits: with some vectors 1,000 times as long as the others it finds little of what
is wanted (`findings/scann_one_long_vector.sh`). They are few, and scored exactly beside it.
"""

from typing import NamedTuple

import numpy as np

LONG = 2.0
"""A row is long when it has more than so many times the median length. Measured on vectors
of MovieLens 100k and Beauty (inner product): the longest trained ones have 1.6 and 1.9 times
the median; 20 rows of 6 times lower recall at a tenth of the leaves from .90 to .74."""

LONG_SHARE = 100
"""At most one row of so many is kept out: as much as a delta may have before its items
become part of the index (`live.catalogue.REBUILD_SHARE`)."""


class LongRows(NamedTuple):
    """The long rows of a table.

    Attributes:
        rows: `[n]` int64, ascending.
        vectors: `[n, dim]` float32, theirs.
        others: `[num_items - n]` int64, ascending: the rows of the index.
    """

    rows: np.ndarray
    vectors: np.ndarray
    others: np.ndarray

    @classmethod
    def of(cls, item_vectors: np.ndarray, rows: np.ndarray) -> "LongRows":
        """Given rows of `[num_items, dim]`."""
        others = np.delete(np.arange(len(item_vectors)), rows)
        return cls(rows, np.ascontiguousarray(item_vectors[rows]), others)

    def merge(
        self, queries: np.ndarray, k: int, rows: list[np.ndarray], scores: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """What the index found, by its own rows, with the long rows among it.

        Args:
            queries: `[num_queries, dim]` float32.
            k: Items wanted per query.
            rows: Rows of the index per query.
            scores: Their scores.

        Returns:
            Rows of the table and scores, the best `k` per query, ties to the lower row.
        """
        own_scores = queries @ self.vectors.T
        merged_rows, merged_scores = [], []
        for found, values, own in zip(rows, scores, own_scores, strict=True):
            all_rows = np.concatenate([self.others[found], self.rows])
            all_scores = np.concatenate([values, own])
            best = np.lexsort((all_rows, -all_scores))[:k]
            merged_rows.append(all_rows[best])
            merged_scores.append(all_scores[best])
        return merged_rows, merged_scores


def find_long_rows(item_vectors: np.ndarray) -> np.ndarray:
    """`[n]` int64, ascending: the rows an approximate index should not hold, often none.

    Args:
        item_vectors: `[num_items, dim]` float32.
    """
    lengths = lengths_of(item_vectors)
    num_items, most = len(lengths), len(lengths) // LONG_SHARE
    if not most:
        return np.empty(0, np.int64)
    # `partition` puts the longest row that has to stay in its place.
    bound = max(
        LONG * float(np.median(lengths)),
        float(np.partition(lengths, num_items - 1 - most)[num_items - 1 - most]),
    )
    return np.flatnonzero(lengths > bound)


def lengths_of(item_vectors: np.ndarray) -> np.ndarray:
    """`[num_items]` float32, the Euclidean length of every row; no copy of the table is made."""
    return np.sqrt(np.einsum("nd,nd->n", item_vectors, item_vectors))
