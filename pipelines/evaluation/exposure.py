"""Who is shown: list slots by popularity of the items. Imports no TensorFlow."""

from collections.abc import Mapping
from typing import Any

import numpy as np

NUM_DECILES = 10
"""Deciles of the catalogue."""


def popularity_deciles(item_counts: np.ndarray) -> np.ndarray:
    """Decile of each item by training clicks, 0 the most clicked tenth of the catalogue.

    Equal counts go by the order of the catalogue. With fewer than ten items some are empty.

    >>> popularity_deciles(np.array([5, 9, 7, 1])).tolist()
    [5, 0, 2, 7]
    """
    order = np.argsort(-item_counts, kind="stable")
    deciles = np.empty(len(item_counts), np.int64)
    deciles[order] = np.arange(len(item_counts)) * NUM_DECILES // max(1, len(item_counts))
    return deciles


def measure_exposure(
    lists: Mapping[str, np.ndarray], positive_rows: np.ndarray, item_counts: np.ndarray, k: int
) -> dict[str, Any]:
    """What falls on each decile of popularity.

    Args:
        lists: Ranker -> `[num_users, width]` vocabulary rows, negative in empty slots.
        positive_rows: `[num_positives]` rows of the held-out clicks; negative ones do not count.
        item_counts: `[num_items]` training clicks.
        k: Slots of a list that count.

    Returns:
        Ten numbers each: `items`, `clicks` (training), `targets` (held out) and, under
        `slots`, those of each ranker's lists.
    """
    deciles = popularity_deciles(item_counts)

    def count(rows: np.ndarray) -> list[int]:
        return np.bincount(deciles[rows[rows >= 0]], minlength=NUM_DECILES).tolist()

    clicks = np.bincount(deciles, weights=item_counts, minlength=NUM_DECILES)
    return {
        "k": k,
        "items": np.bincount(deciles, minlength=NUM_DECILES).tolist(),
        "clicks": clicks.astype(np.int64).tolist(),
        "targets": count(positive_rows),
        "slots": {name: count(rows[:, :k]) for name, rows in lists.items()},
    }
