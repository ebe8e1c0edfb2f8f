"""Categories that nearly all items have, and that therefore tell no two items apart.

Imports no TensorFlow. The root of a tree of categories is on every item. Two
items then always have a category in common: the diversity of a list is 0
whatever it holds, and a limit per category limits the whole list. Evaluation
and serving leave such categories out by the one rule below.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

COMMON_SHARE = (9, 10)
"""A category is common from more than this share (numerator, denominator) of the items that
have categories: at nine in ten, four in five pairs of items have it in common, so
what such pairs share is no sign that they are alike."""


def is_common(counts: np.ndarray, num_categorised: int) -> np.ndarray:
    """Whether each category is on nearly all items that have categories.

    Args:
        counts: `[num_categories]` int, items with the category.
        num_categorised: Items with at least one category.

    Returns:
        `[num_categories]` bool.

    >>> is_common(np.array([91, 90, 5]), 100)
    array([ True, False, False])
    """
    share, whole = COMMON_SHARE
    return np.asarray(counts, np.int64) * whole > share * num_categorised


def common_categories(item_categories: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Names of the categories that nearly all categorised items have, sorted.

    Args:
        item_categories: Category names of each item, possibly empty.

    >>> common_categories([("root", "shoes"), ("root", "hats"), ()])
    ('root',)
    """
    sets = [set(names) for names in item_categories if names]
    counts = Counter(name for names in sets for name in names)
    names = sorted(counts)
    mask = is_common(np.array([counts[name] for name in names]), len(sets))
    return tuple(name for name, common in zip(names, mask, strict=True) if common)
