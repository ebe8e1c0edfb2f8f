"""Rows of yesterday's tables for today's items: matched by raw id, new ones by category.

Imports no TensorFlow and reads no files.
"""

from collections.abc import Sequence

import numpy as np

from recall.categories import common_categories
from recall.feature_columns.fitting import FittedColumn
from recall.vocabulary import FIRST_ITEM_ID, PADDING_ID, UNKNOWN_ID, ItemVocabulary

NEW = -1
"""Stands for the row of what yesterday's model does not know."""

_PAIRS_AT_ONCE = 1 << 20
"""Rows gathered at once for their means: 512 MB at 128 dimensions."""


def match_items(before: ItemVocabulary, now: ItemVocabulary) -> np.ndarray:
    """Where the row of every dense id of today was yesterday.

    Returns:
        `[now.table_size]` int64 rows of yesterday's table, `NEW` for a new item.

    >>> match_items(ItemVocabulary(["a", "b"]), ItemVocabulary(["b", "c", "a"]))
    array([ 0,  1,  3, -1,  2])
    """
    dense = before.to_dense(now.item_ids)
    items = np.where(dense >= FIRST_ITEM_ID, dense, NEW)
    return np.concatenate([[PADDING_ID, UNKNOWN_ID], items])


def match_values(before: Sequence[FittedColumn], now: Sequence[FittedColumn]) -> np.ndarray:
    """As `match_items`, of the table of feature values (`recall.layers.feature_network`).

    Names follow themselves; hashed words and buckets of numbers their places.

    Args:
        before: Yesterday's features; of today's declaration, as a warm start wants it.
        now: Today's.
    """
    sources, first = [PADDING_ID], 1
    for old, new in zip(before, now, strict=True):
        if new.kind == "categorical":
            place_of = {name: first + place for place, name in enumerate(old.values, 1)}
            sources += [first, *(place_of.get(name, NEW) for name in new.values)]
        else:
            places = range(first, first + new.num_rows)
            sources += [place if place < first + old.num_rows else NEW for place in places]
        first += old.num_rows
    return np.array(sources)


def carry(table: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Yesterday's rows in today's order.

    Args:
        table: `[num_rows_before, dim]` float.
        sources: `[num_rows]` int, of `match_items` or `match_values`.

    Returns:
        `[num_rows, dim]`; new rows are 0.
    """
    carried = table[np.maximum(sources, 0)]
    carried[sources == NEW] = 0
    return carried


def fill_new_items(table: np.ndarray, sources: np.ndarray, now: ItemVocabulary) -> None:
    """Gives new items the mean row of their categories' items, in place.

    A new item gets the mean over its categories of the mean row of the carried items that
    have the category. A category that nearly all items have says nothing and does not
    count. An item of which no category is left gets the mean of all carried items.

    Args:
        table: `[now.table_size, dim]` of `carry`.
        sources: Of `match_items`.
        now: Today's vocabulary.
    """
    is_new = sources == NEW
    is_carried = ~is_new
    is_carried[:FIRST_ITEM_ID] = False
    if not is_new.any() or not is_carried.any():
        return
    table[is_new] = _mean_carried(table[FIRST_ITEM_ID:], is_carried.sum())
    items, categories = _pairs(now.categories, is_new[FIRST_ITEM_ID:])
    known = is_carried[items]
    num_categories = categories.max(initial=-1) + 1
    sums = _sum_rows(table, items[known], categories[known], num_categories)
    counts = np.bincount(categories[known], minlength=num_categories)
    means = sums / np.maximum(counts, 1)[:, np.newaxis]
    wanted = is_new[items] & (counts[categories] > 0)
    new_items, numbers = np.unique(items[wanted], return_inverse=True)
    totals = _sum_rows(means, categories[wanted], numbers, len(new_items))
    table[new_items] = totals / np.bincount(numbers, minlength=len(new_items))[:, np.newaxis]


def fill_new_values(table: np.ndarray, sources: np.ndarray) -> None:
    """Gives new values of features the mean row of those that are carried, in place.

    Args:
        table: `[num_rows, dim]` of `carry`; row 0 is that of no value.
        sources: Of `match_values`.
    """
    is_carried = sources > 0
    if is_carried.any():
        table[sources == NEW] = _mean_carried(table[1:], is_carried.sum())


def carry_ids(dense_ids: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Yesterday's dense ids as those of today, without items that are gone.

    Args:
        dense_ids: `[n]` int, in any order.
        sources: Of `match_items`.

    >>> carry_ids(np.array([3, 2, 3]), np.array([0, 1, 4, 3]))
    array([3, 3])
    """
    numbers = np.flatnonzero(sources != NEW)
    today = np.full(max(dense_ids.max(initial=0), sources.max()) + 1, NEW)
    today[sources[numbers]] = numbers
    found = today[dense_ids]
    return found[found != NEW]


def _mean_carried(rows: np.ndarray, num_carried: int) -> np.ndarray:
    """Mean of the rows that are carried, as the others are still 0: without a copy."""
    return rows.sum(axis=0, dtype=np.float64) / num_carried


def _pairs(
    item_categories: Sequence[Sequence[str]], is_new: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Dense ids and numbers of all (item, category) whose category a new item has."""
    common = set(common_categories(item_categories))
    wanted = {name for row in np.flatnonzero(is_new) for name in item_categories[row]} - common
    number_of = {name: number for number, name in enumerate(sorted(wanted))}
    pairs = [
        (row + FIRST_ITEM_ID, number_of[name])
        for row, names in enumerate(item_categories)
        for name in dict.fromkeys(names)
        if name in number_of
    ]
    items, categories = np.array(pairs, np.int64).reshape(-1, 2).T
    return items, categories


def _sum_rows(
    table: np.ndarray, rows: np.ndarray, groups: np.ndarray, num_groups: int
) -> np.ndarray:
    """`[num_groups, dim]` sums of the rows of each group, in bounded memory."""
    sums = np.zeros([num_groups, table.shape[1]], np.float64)
    order = np.argsort(groups, kind="stable")
    rows, groups = rows[order], groups[order]
    for start in range(0, len(rows), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        numbers, starts = np.unique(groups[part], return_index=True)
        sums[numbers] += np.add.reduceat(table[rows[part]], starts, axis=0)
    return sums
