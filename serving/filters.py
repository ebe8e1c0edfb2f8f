"""Which items must not be in an answer, and how many more to fetch for it.

Pure numpy: no TensorFlow, no files, no sockets. The index cannot filter, so
the recall service over-fetches and removes afterwards.
"""

from collections.abc import Iterable

import numpy as np

from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary


def rows_of(items: ItemVocabulary, item_ids: Iterable[str]) -> np.ndarray:
    """Rows of those ids that are items: int64, sorted, each once.

    >>> rows_of(ItemVocabulary(["b", "a"]), ["a", "zebra", "a", ""]).tolist()
    [1]
    """
    rows = items.to_dense(item_ids) - FIRST_ITEM_ID
    return np.unique(rows[rows >= 0])


def num_to_fetch(k: int, num_removed: int, num_items: int) -> int:
    """Items to ask each interest for, so that `k` are left after the removal.

    At worst all removed items are among the best of one interest.

    >>> num_to_fetch(20, 5, 1000), num_to_fetch(20, 5, 22)
    (25, 22)
    """
    return min(k + num_removed, num_items)


def num_available(k: int, num_removed: int, num_items: int) -> int:
    """Length an answer must have: `k`, or all items that are not removed.

    >>> num_available(20, 5, 1000), num_available(20, 5, 22)
    (20, 17)
    """
    return min(k, num_items - num_removed)


def keep_mask(rows: np.ndarray, removed_rows: np.ndarray) -> np.ndarray:
    """`[n]` bool, False where a row is among the removed ones."""
    return np.isin(rows, removed_rows, invert=True)
