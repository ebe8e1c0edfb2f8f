"""What each interest is used for and stands for. Imports no TensorFlow, reads no files."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from recall.categories import common_categories

_SHOWN = 8
"""Categories and items of a profile."""

_PRIOR = 10
"""Slots that a share is shrunk by: an item that one interest found once tells little."""

_MIN_LIFT = 1.05
"""A category or item below that is no mark of an interest."""


def find_interests(
    user_vectors: np.ndarray, item_vectors: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which interest found each slot of a list, and its score.

    Args:
        user_vectors: `[num_users, num_interests, dim]` float.
        item_vectors: `[num_items, dim]` float.
        rows: `[num_users, k]` vocabulary rows, negative in empty slots.

    Returns:
        `[num_users, k]` int interests, -1 in empty slots, and `[num_users, k]` float scores,
        -inf there.
    """
    interests = np.full(rows.shape, -1)
    best = np.full(rows.shape, -np.inf)
    for user, (vectors, row) in enumerate(zip(user_vectors, rows, strict=True)):
        real = row >= 0
        scores = vectors @ item_vectors[row[real]].T
        interests[user, real] = scores.argmax(axis=0)
        best[user, real] = scores.max(axis=0)
    return interests, best


def describe_slots(
    rows: np.ndarray,
    interests: np.ndarray,
    num_interests: int,
    categories: Sequence[Sequence[str]],
) -> list[dict[str, Any]]:
    """What the lists of each interest have more of than those of all.

    The lift of a category or item is its share of the interest's slots divided by its share
    of all slots. What is listed is ordered by lift, shrunk towards 1 where slots are few.

    Args:
        rows: `[num_users, k]` vocabulary rows of the lists, negative in empty slots.
        interests: The interest of each slot.
        num_interests: Interests of a user.
        categories: Category names of each item of the catalogue.

    Returns:
        For each interest `share_of_slots` and, best first, `categories` and `items`: name or
        row, `lift`, `count` (slots of the interest) and `total` (slots of all).
    """
    real = rows >= 0
    rows, interests = rows[real], interests[real]
    sizes = np.bincount(interests, minlength=num_interests)
    left_out = {*common_categories(categories)}
    of_items: list[Counter] = [Counter() for _ in range(num_interests)]
    of_categories: list[Counter] = [Counter() for _ in range(num_interests)]
    pairs, counts = np.unique(np.stack([interests, rows]), axis=1, return_counts=True)
    for interest, row, number in zip(*pairs.tolist(), counts.tolist(), strict=True):
        of_items[interest][row] += number
        for name in {*categories[row]} - left_out:
            of_categories[interest][name] += number
    return [
        {
            "share_of_slots": float(sizes[interest] / max(1, sizes.sum())),
            "categories": _find_marks(of_categories, interest, sizes),
            "items": _find_marks(of_items, interest, sizes),
        }
        for interest in range(num_interests)
    ]


def _find_marks(
    counts: Sequence[Counter], interest: int, sizes: np.ndarray
) -> list[dict[str, Any]]:
    """The names with the largest lift for one interest."""
    if not sizes[interest]:
        return []
    part = float(sizes[interest] / sizes.sum())
    total: Counter = sum(counts, Counter())
    found = []
    for name, number in counts[interest].items():
        shrunk = (number + _PRIOR * part) / (total[name] + _PRIOR) / part
        lift = number / total[name] / part
        if shrunk >= _MIN_LIFT:
            found.append(
                (shrunk, {"name": name, "lift": lift, "count": number, "total": total[name]})
            )
    found.sort(key=lambda mark: (-mark[0], str(mark[1]["name"])))
    return [mark for _, mark in found[:_SHOWN]]
