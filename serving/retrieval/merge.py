"""The result lists of a user's interests -> one list.

Imports no TensorFlow. Lists hold the best items of each interest, so what lies
beyond the end of a list is unknown; every function here says how far its
answer is certain.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from serving.index.catalogue import CategoryPairs


class MergedItems(NamedTuple):
    """Items of one user.

    Attributes:
        rows: `[n]` int64, rows of the catalogue.
        scores: `[n]` float32.
        interests: `[n]` int32, position of the interest that gave the score.
    """

    rows: np.ndarray
    scores: np.ndarray
    interests: np.ndarray

    def take(self, selection: np.ndarray | slice) -> "MergedItems":
        """The items at positions or under a mask, in their order."""
        return MergedItems(self.rows[selection], self.scores[selection], self.interests[selection])


class RankedLists(NamedTuple):
    """All entries of a user's lists, best first; an item may be there repeatedly.

    Attributes:
        entries: Ordered by score; equal scores by row, which is by popularity,
            then by interest.
        ends: `[num_lists]` int, position among the entries of the last one of
            each list, for lists that go on beyond their end; -1 where nothing
            of such a list is known; the number of entries for the others.
        owners: `[num_lists]` int, the interest of each list.
    """

    entries: MergedItems
    ends: np.ndarray
    owners: np.ndarray


class FoundList(NamedTuple):
    """Items found for one interest, best first.

    Attributes:
        rows: `[n]` integers.
        scores: `[n]` floats.
        interest: The number of the interest; several lists may be of one.
        goes_on: Whether there may be more beyond its end, with no larger scores.
    """

    rows: np.ndarray
    scores: np.ndarray
    interest: int
    goes_on: bool


NOTHING = MergedItems(np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int32))


def found_lists(
    rows: Sequence[np.ndarray], scores: Sequence[np.ndarray], num_asked: int | None = None
) -> list[FoundList]:
    """What a search found, one list for each interest.

    Args:
        rows: One `[n_k]` integer array per interest, best first.
        scores: One `[n_k]` float array per interest, of those rows.
        num_asked: Length that was asked for: a list of that length may go on.
            None means that no list does.
    """
    return [
        FoundList(*columns, interest, 0 < len(columns[0]) == num_asked)
        for interest, columns in enumerate(zip(rows, scores, strict=True))
    ]


def rank_lists(lists: Sequence[FoundList]) -> RankedLists:
    """Puts the entries of all lists into one order.

    Args:
        lists: Those of one interest share no item.
    """
    all_rows = np.concatenate([found.rows for found in lists])
    all_scores = np.concatenate([found.scores for found in lists])
    lengths = np.array([len(found.rows) for found in lists])
    owners = np.array([found.interest for found in lists], np.int32)
    goes_on = np.array([found.goes_on for found in lists])
    # Stable, so that equal entries stay in the order of the interests. Each list is
    # in order already, which makes this sort a merge.
    order = np.argsort(_order_keys(all_scores, all_rows), kind="stable")
    places = np.empty(len(order) + 1, dtype=np.int64)
    places[order] = np.arange(len(order))
    places[-1] = len(order)
    ends = places[np.where(goes_on, np.cumsum(lengths) - 1, -1)]
    ends[goes_on & (lengths == 0)] = -1
    interests = np.repeat(owners, lengths)[order]
    return RankedLists(MergedItems(all_rows[order], all_scores[order], interests), ends, owners)


def _order_keys(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`[n]` int64 that ascend by falling score, then by row.

    The bits of a positive float32 grow with its value, those of a negative
    one fall: all but the sign are turned round then. Adding 0 makes -0.0 0.0.

    >>> keys = _order_keys(np.array([-1, 2, 0, -0.0, 2], np.float32), np.array([9, 7, 5, 4, 6]))
    >>> np.argsort(keys).tolist()
    [4, 1, 3, 2, 0]
    """
    bits = np.add(scores, 0, dtype=np.float32).view(np.int32)
    ascending = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (~ascending).astype(np.int64) << 32 | rows


def best_items(
    ranked: RankedLists, k: int, keep: Callable[[np.ndarray], np.ndarray], *, certain: bool = True
) -> MergedItems:
    """The `k` items with the largest score under any interest.

    Args:
        ranked: The lists.
        k: Items wanted.
        keep: Rows -> `[n]` bool, whether they may be in the answer.
        certain: Whether to stop where a list ends that goes on: an item found
            by no list yet could have its place after that.

    Returns:
        At most `k` items. Those of an exhaustive search, if `certain`; an
        item has the score and the interest of its first entry.

    >>> lists = found_lists([np.array([7, 3]), np.array([3, 5])],
    ...                     [np.array([0.9, 0.2]), np.array([0.8, 0.1])])
    >>> merged = best_items(rank_lists(lists), 10, lambda rows: rows != 5)
    >>> merged.rows.tolist(), merged.interests.tolist()
    ([7, 3], [0, 1])
    """
    entries = ranked.entries
    if certain and len(ranked.ends):
        entries = entries.take(slice(int(ranked.ends.min()) + 1))
    positions = np.flatnonzero(keep(entries.rows))
    rows = entries.rows[positions]
    by_row = np.argsort(rows, kind="stable")
    is_repeated = np.zeros(len(rows), dtype=np.bool_)
    is_repeated[by_row[1:]] = rows[by_row[1:]] == rows[by_row[:-1]]
    return entries.take(positions[~is_repeated][:k])


def quotas(k: int, shares: np.ndarray) -> np.ndarray:
    """Places of each interest: `k` in proportion to the shares.

    Rounded by largest remainder, so that the sum is `k`; equal remainders
    favour the lower interest.

    Args:
        k: Places in all.
        shares: `[num_interests]` float >= 0, with a positive sum.

    >>> quotas(10, np.array([2.0, 1.0, 1.0])).tolist()
    [5, 3, 2]
    """
    exact = shares.astype(np.float64) * (k / shares.sum(dtype=np.float64))
    places = np.floor(exact).astype(np.int64)
    remainders = np.argsort(places - exact, kind="stable")
    places[remainders[: k - places.sum()]] += 1
    return places


def diversify(
    pool: MergedItems, categories: CategoryPairs, k: int, diversity_weight: float
) -> MergedItems:
    """Picks `k` items of a pool, balancing score and difference of categories.

    The next item is always the one with the largest score + weight * (number
    of picked items that share no category with it); the first of the pool
    among equals. An item without categories shares none.

    Args:
        pool: Best first.
        categories: Of the pool's rows.
        k: Items wanted.
        diversity_weight: Lambda of the paper, >= 0.

    Returns:
        The items in the order in which they were picked.

    Reference:
        Cen et al., "Controllable Multi-Interest Framework for Recommendation"
        (ComiRec), KDD 2020, equations 9 and 10, algorithm 2.
    """
    members = _Members(categories, len(pool.rows))
    values = pool.scores.astype(np.float64)
    picked = np.empty(min(k, len(values)), dtype=np.int64)
    for place in range(len(picked)):
        picked[place] = item = int(values.argmax())
        bonus = np.full(len(values), diversity_weight)
        bonus[members.that_share_with(item)] = 0
        values += bonus
        values[item] = -np.inf
    return pool.take(picked)


def prefer_new_categories(
    pool: MergedItems, categories: CategoryPairs, k: int, diversity_weight: float
) -> MergedItems:
    """Picks `k` items of a pool; one that shares no category with those before it counts more.

    The next item is always the one with the largest score + weight, or just its score
    where it shares a category with an item that is picked: the bonus does not grow with
    the list. As diverse lists lose less recall than by `diversify` (measured).

    Args:
        pool: Best first.
        categories: Of the pool's rows.
        k: Items wanted.
        diversity_weight: >= 0.

    Returns:
        The items in the order in which they were picked.
    """
    members = _Members(categories, len(pool.rows))
    values = pool.scores.astype(np.float64)
    has_bonus = np.ones(len(values), dtype=np.bool_)
    picked = np.empty(min(k, len(values)), dtype=np.int64)
    for place in range(len(picked)):
        picked[place] = item = int(np.argmax(values + diversity_weight * has_bonus))
        has_bonus[members.that_share_with(item)] = False
        values[item] = -np.inf
    return pool.take(picked)


class _Members:
    """Which items of a pool share a category with one of them."""

    def __init__(self, categories: CategoryPairs, num_items: int):
        positions, self._codes = categories
        self._of_code = {code: positions[self._codes == code] for code in set(self._codes.tolist())}
        self._bounds = np.searchsorted(positions, np.arange(num_items + 1)).tolist()

    def that_share_with(self, item: int) -> np.ndarray:
        """Positions in the pool, the item's own among them if it has a category."""
        codes = self._codes[self._bounds[item] : self._bounds[item + 1]].tolist()
        parts = [self._of_code[code] for code in codes]
        return np.concatenate(parts) if parts else np.empty(0, np.int64)
