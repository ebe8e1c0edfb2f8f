"""Groups of held-out clicks, and how a ranker does on each. Imports no TensorFlow."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pipelines.evaluation.exposure import NUM_DECILES, popularity_deciles
from pipelines.evaluation.intervals import Intervals, bootstrap
from pipelines.evaluation.user_results import NOT_FOUND, UserResults
from recall.categories import common_categories
from recall.metrics.ranking import UserMetric
from recall.vocabulary import ItemVocabulary

_LENGTH_ENDS = (2, 5, 10, 20, 50, 100)
"""Longest history of each group but the last."""

_MAX_CATEGORIES = 10

MIN_CLICKS = 20
"""Groups with fewer held-out clicks are left out: their share would be chance."""


class Slice(NamedTuple):
    """A group of held-out clicks.

    Attributes:
        name: What they have in common.
        is_member: `[num_positives]` bool.
    """

    name: str
    is_member: np.ndarray


class SliceResult(NamedTuple):
    """How the rankers do on a group.

    Attributes:
        name: Of the group.
        num_clicks: Held-out clicks in it.
        num_users: Users they are of.
        hit_rates: Ranker -> share of them in the first places of the lists, and the distance of
            the first ranker to the others.
    """

    name: str
    num_clicks: int
    num_users: int
    hit_rates: Intervals


def measure(results: UserResults, slices: Sequence[Slice], k: int) -> list[SliceResult]:
    """Hit rates of every group that has enough clicks.

    Args:
        results: The test users.
        slices: Groups of their held-out clicks.
        k: Places of a list that count.
    """
    owners = results.positives.row_numbers()
    found = {name: (places != NOT_FOUND) & (places <= k) for name, places in results.places.items()}
    measured = []
    for name, is_member in slices:
        if is_member.sum() < MIN_CLICKS:
            continue
        users, own = np.unique(owners[is_member], return_inverse=True)
        weights = np.bincount(own).astype(np.float64)
        metrics = {
            ranker: UserMetric(np.bincount(own, weights=hit[is_member]), weights)
            for ranker, hit in found.items()
        }
        rates = bootstrap(metrics)
        measured.append(SliceResult(name, int(is_member.sum()), len(users), rates))
    return measured


def by_history_length(results: UserResults) -> list[Slice]:
    """Groups by the number of clicks before the held-out ones."""
    lengths = results.history_lengths[results.positives.row_numbers()]
    slices, first = [], 1
    for last in _LENGTH_ENDS:
        slices.append(Slice(f"{first} to {last}", (lengths >= first) & (lengths <= last)))
        first = last + 1
    return [*slices, Slice(f"{first} or more", lengths >= first)]


def by_novelty(results: UserResults) -> list[Slice]:
    """Users whose clicks training has never seen, and those it learnt from."""
    trained = results.num_trained[results.positives.row_numbers()]
    return [Slice("new users", trained == 0), Slice("returning users", trained > 0)]


def by_kind(results: UserResults) -> list[Slice]:
    """Held-out events by their kind; nothing where the log has no kinds."""
    if results.kinds is None:
        return []
    names = sorted(set(results.kinds.tolist()))
    return [Slice(name, results.kinds == name) for name in names]


def by_popularity(results: UserResults, vocabulary: ItemVocabulary) -> list[Slice]:
    """Deciles of the catalogue by training clicks, and items without any."""
    rows = results.positives.values
    deciles, clicked = np.full(len(rows), -1), np.zeros(len(rows), bool)
    known = rows >= 0
    deciles[known] = popularity_deciles(vocabulary.counts)[rows[known]]
    clicked[known] = vocabulary.counts[rows[known]] > 0
    slices = [
        Slice(decile_name(decile), (deciles == decile) & clicked) for decile in range(NUM_DECILES)
    ]
    return [*slices, Slice("not in training", ~clicked)]


def decile_name(decile: int) -> str:
    """What to call a decile of popularity.

    >>> decile_name(0), decile_name(3), decile_name(9)
    ('top 10 %', '30-40 %', 'last 10 %')
    """
    if decile in (0, NUM_DECILES - 1):
        return "last 10 %" if decile else "top 10 %"
    return f"{10 * decile}-{10 * decile + 10} %"


def by_category(results: UserResults, vocabulary: ItemVocabulary) -> list[Slice]:
    """The categories that most held-out clicks have; a click may have several."""
    left_out = {*common_categories(vocabulary.categories)}
    rows = results.positives.values
    of_click = [
        {*vocabulary.categories[row]} - left_out if row >= 0 else set() for row in rows.tolist()
    ]
    counts = Counter(name for names in of_click for name in names)
    most = sorted(counts, key=lambda name: (-counts[name], name))[:_MAX_CATEGORIES]
    return [Slice(name, np.array([name in names for names in of_click])) for name in most]
