"""The result lists of a user's interests -> one list.

Pure numpy: no TensorFlow, no files, no sockets.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class MergedItems(NamedTuple):
    """Items of one user, best first, each once.

    Attributes:
        rows: `[n]` int64, rows of the index.
        scores: `[n]` float32, descending.
        interests: `[n]` int32, the interest that gave the score.
    """

    rows: np.ndarray
    scores: np.ndarray
    interests: np.ndarray

    def take(self, selection: np.ndarray) -> "MergedItems":
        """The items at positions or under a mask, in their order."""
        return MergedItems(*(column[selection] for column in self))


def merge_max_score(rows: Sequence[np.ndarray], scores: Sequence[np.ndarray]) -> MergedItems:
    """Merges by the largest score an item has under any interest.

    The score of an item is its largest inner product over the interests, so
    when every interest contributes its best n items, the first n items of the
    merged list are those of an exhaustive search. Equal scores are ordered by
    row number, which is by popularity; an item that two interests score alike
    belongs to the lower interest.

    Args:
        rows: One `[n_k]` integer array per interest.
        scores: One `[n_k]` float array per interest, of those rows.

    >>> merged = merge_max_score([np.array([7, 3]), np.array([3, 5])],
    ...                          [np.array([0.9, 0.2]), np.array([0.8, 0.1])])
    >>> merged.rows.tolist(), merged.interests.tolist()
    ([7, 3, 5], [0, 1, 1])
    """
    all_rows = np.concatenate([np.asarray(r, dtype=np.int64) for r in rows])
    all_scores = np.concatenate([np.asarray(s, dtype=np.float32) for s in scores])
    all_interests = np.repeat(np.arange(len(rows), dtype=np.int32), [len(r) for r in rows])
    order = np.lexsort((all_interests, all_rows, -all_scores))
    merged = MergedItems(all_rows[order], all_scores[order], all_interests[order])
    _, first_positions = np.unique(merged.rows, return_index=True)
    return merged.take(np.sort(first_positions))
