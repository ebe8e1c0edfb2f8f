"""How varied the retrieved lists are, over all users and within each list.

Pure numpy over vocabulary rows; a negative row is an empty slot. None of these
metrics looks at what users chose: read them beside the ranking metrics, since
a random list is the most diverse of all.
"""

from collections.abc import Sequence

import numpy as np

from recall.categories import common_categories
from recall.metrics.ranking import UserMetric

_PAIRS_AT_ONCE = 512 * 50 * 50
"""Pairs of slots that are compared at once, words of 8 bytes: 10 MB."""

_WORD_BITS = 64


def compute_diversity_metrics(
    retrieved_rows: np.ndarray,
    item_counts: np.ndarray,
    item_categories: Sequence[Sequence[str]],
    ks: Sequence[int],
) -> dict[str, float]:
    """Diversity of the first k slots of every list, for each k.

    - `coverage@k`: share of the catalogue that at least one user gets.
    - `aggregated_diversity@k`: number of those items.
    - `gini@k`: inequality of exposure over the whole catalogue, 0 = every
      item equally often, towards 1 = one item only.
    - `popularity_percentile@k`: mean over all slots of the share of the
      catalogue that has fewer training clicks than the item (ties count
      half); 0.5 is what a random list gets.
    - `category_diversity@k`: share of the pairs within a list that have no
      category in common, mean over users. Categories that nearly all items
      have do not count (`recall.categories`). Pairs with an item that has no
      other category are left out; absent when no list has a pair to judge.

    Args:
        retrieved_rows: `[num_users, width]` int, best first.
        item_counts: `[num_items]` training clicks.
        item_categories: Category names of each item, possibly empty.
        ks: Cut-offs, each in [1, width].

    Returns:
        Metrics by name, for example `coverage@10`.

    Raises:
        ValueError: A cut-off is out of range.
    """
    if min(ks) < 1 or max(ks) > retrieved_rows.shape[1]:
        raise ValueError(
            f"`ks` must be in [1, {retrieved_rows.shape[1]}] (the width of the lists), "
            f"received {list(ks)}."
        )
    num_items = len(item_counts)
    percentiles = compute_popularity_percentiles(item_counts)
    packed = pack_categories(item_categories, common_categories(item_categories))
    categories = compute_category_diversity(retrieved_rows, packed, ks)
    metrics: dict[str, float] = {}
    for k in ks:
        shown = retrieved_rows[:, :k]
        shown = shown[shown >= 0]
        exposure = np.bincount(shown, minlength=num_items)
        distinct = int(np.count_nonzero(exposure))
        metrics[f"coverage@{k}"] = distinct / num_items
        metrics[f"aggregated_diversity@{k}"] = distinct
        metrics[f"gini@{k}"] = compute_gini(exposure)
        if len(shown):
            metrics[f"popularity_percentile@{k}"] = float(percentiles[shown].mean())
        if k in categories:
            metrics[f"category_diversity@{k}"] = categories[k]
    return metrics


def compute_gini(exposure: np.ndarray) -> float:
    """Gini coefficient of non-negative numbers; 0 when all are equal.

    Args:
        exposure: `[num_items]`, how often each item is shown, zeros included.

    >>> compute_gini(np.array([0, 0, 0, 4]))
    0.75
    """
    total, size = exposure.sum(), len(exposure)
    if total == 0:
        return 0.0
    weights = 2 * np.arange(1, size + 1) - size - 1
    return float((weights * np.sort(exposure).astype(np.float64)).sum() / (size * total))


def compute_popularity_percentiles(item_counts: np.ndarray) -> np.ndarray:
    """Share of the catalogue below each item by clicks; ties count half.

    >>> compute_popularity_percentiles(np.array([9, 1, 1, 0]))
    array([0.875, 0.5  , 0.5  , 0.125])
    """
    ordered = np.sort(item_counts)
    below = np.searchsorted(ordered, item_counts, side="left")
    not_above = np.searchsorted(ordered, item_counts, side="right")
    return (below + not_above) / (2 * len(item_counts))


def pack_categories(
    item_categories: Sequence[Sequence[str]], left_out: Sequence[str] = ()
) -> np.ndarray:
    """Category names per item -> `[num_items, words]` uint64, one bit each.

    Args:
        item_categories: Category names of each item, possibly empty.
        left_out: Names without a bit.
    """
    names = sorted({name for categories in item_categories for name in categories} - {*left_out})
    bit_of = {name: bit for bit, name in enumerate(names)}
    packed = np.zeros((len(item_categories), -(-len(names) // _WORD_BITS)), np.uint64)
    for row, categories in enumerate(item_categories):
        for name in bit_of.keys() & categories:
            word, bit = divmod(bit_of[name], _WORD_BITS)
            packed[row, word] |= np.uint64(1 << bit)
    return packed


def compute_category_diversity(
    retrieved_rows: np.ndarray, packed_categories: np.ndarray, ks: Sequence[int]
) -> dict[int, float]:
    """Share of pairs without a common category, by k.

    Args:
        retrieved_rows: `[num_users, width]` int, best first.
        packed_categories: Of `pack_categories`.
        ks: Cut-offs.

    Returns:
        Mean over the users who have a pair to judge in their first k slots;
        a k at which nobody has one is left out.
    """
    by_user = compute_user_category_diversity(retrieved_rows, packed_categories, ks)
    return {k: metric.total() for k, metric in by_user.items() if metric.weights.any()}


def compute_user_category_diversity(
    retrieved_rows: np.ndarray, packed_categories: np.ndarray, ks: Sequence[int]
) -> dict[int, UserMetric]:
    """Category diversity of every list, by k; arguments as in `compute_category_diversity`.

    Returns:
        The share of a list's pairs, with the weight 0 where it has no pair to judge.
    """
    if packed_categories.shape[1] == 0:
        return {}
    num_users = len(retrieved_rows)
    metrics = {k: UserMetric(np.zeros(num_users), np.zeros(num_users)) for k in ks}
    has_category = packed_categories.any(axis=1)
    batch_size = max(1, _PAIRS_AT_ONCE // max(ks) ** 2)
    for start in range(0, num_users, batch_size):
        users = slice(start, start + batch_size)
        rows = retrieved_rows[users, : max(ks)]
        judged = (rows >= 0) & has_category[rows]
        judged = judged[:, :, None] & judged[:, None, :]
        judged &= np.tri(rows.shape[1], k=-1, dtype=bool)
        differ = judged & ~_shares_category(packed_categories[rows])
        for k, metric in metrics.items():
            pairs = judged[:, :k, :k].sum(axis=(1, 2))
            metric.gains[users] = differ[:, :k, :k].sum(axis=(1, 2)) / np.maximum(pairs, 1)
            metric.weights[users] = pairs > 0
    return metrics


def _shares_category(packed: np.ndarray) -> np.ndarray:
    """`[users, width, words]` -> whether two slots share a bit, `[users, width, width]`."""
    shares = np.zeros((packed.shape[0], packed.shape[1], packed.shape[1]), bool)
    for word in range(packed.shape[2]):
        bits = packed[:, :, word]
        if bits.any():
            shares |= (bits[:, :, None] & bits[:, None, :]) != 0
    return shares
