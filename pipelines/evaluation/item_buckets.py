"""How held-out clicks are found by how often, and how long, their items were clicked before."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipelines.artifacts.held_out import HeldOutUsers
from pipelines.evaluation import lists
from recall.metrics import ranking
from recall.ragged import Histories
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary

_DAY_S = 86_400

_CLICKS = (1, 5, 20, 100, 1000)
"""Fewest training clicks of each bucket but the first, which has none."""

_DAYS = (1, 7, 30, 90, 365)
"""Days since the first click of an item, at least, of each bucket but the first."""

NO_TIMES = "the examples have no times of clicks (model.time_bias keeps them)"


class Bucket(NamedTuple):
    """Held-out clicks on items of one kind.

    Attributes:
        name: Of the bucket.
        is_member: `[num_clicks]` bool.
    """

    name: str
    is_member: np.ndarray


def by_clicks(held_out: HeldOutUsers, vocabulary: ItemVocabulary) -> list[Bucket]:
    """Buckets by the training clicks of the item; one that is not in the vocabulary has none."""
    rows = held_out.positives.values - FIRST_ITEM_ID
    counts = np.where(rows >= 0, vocabulary.counts[np.maximum(rows, 0)], 0)
    last = [f"to {end - 1:,}" for end in _CLICKS[1:]]
    names = ["none", *(f"{n:,} {to}" for n, to in zip(_CLICKS, [*last, "or more"], strict=True))]
    return _cut(counts, _CLICKS, names)


def by_age(held_out: HeldOutUsers) -> list[Bucket] | None:
    """Buckets by the time since the item was first clicked, when the list is asked for.

    The first click is that of the held-out users; None where examples have no times.
    """
    histories = held_out.histories
    if not isinstance(histories, Histories) or not histories.times.any():
        return None
    ids = np.concatenate([histories.values, held_out.positives.values])
    # A history is followed by the request, which is at the time of the first held-out click.
    asked = histories.next_times[histories.offsets[1:] - 1]
    asked = asked[held_out.positives.row_numbers()]
    times = np.concatenate([histories.times, asked])
    first = np.full(ids.max() + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, ids[times > 0], times[times > 0])
    age_s = asked - first[held_out.positives.values]
    names = [
        f"less than {_DAYS[0]} day",
        *(f"{a} to {b} days" for a, b in itertools.pairwise(_DAYS)),
    ]
    return _cut(age_s, [days * _DAY_S for days in _DAYS], [*names, f"{_DAYS[-1]} days or more"])


def measure_all(
    top_rows: Mapping[str, np.ndarray],
    held_out: HeldOutUsers,
    vocabulary: ItemVocabulary,
    ks: Sequence[int],
) -> dict[str, dict[str, Any]]:
    """`by_clicks` and `by_age`, or why it is `missing`; see `measure`."""
    clicks, age = by_clicks(held_out, vocabulary), by_age(held_out)
    return {
        "by_clicks": measure(top_rows, held_out, clicks, ks),
        "by_age": {"missing": NO_TIMES} if age is None else measure(top_rows, held_out, age, ks),
    }


def measure(
    top_rows: Mapping[str, np.ndarray],
    held_out: HeldOutUsers,
    buckets: Sequence[Bucket],
    ks: Sequence[int],
) -> dict[str, dict[str, Any]]:
    """Bucket -> `num_clicks` and, ranker by ranker, the share of them that is found.

    Args:
        top_rows: Ranker -> `[num_users, max(ks)]` vocabulary rows, best first.
        held_out: The users.
        buckets: Of their held-out clicks; empty ones are left out.
        ks: Places of a list that count.
    """
    positives = lists.to_rows(held_out.positives)
    ranks = {name: ranking.compute_ranks(rows, positives) for name, rows in top_rows.items()}
    measured = {}
    for bucket in buckets:
        if bucket.is_member.any():
            found = {
                name: {f"recall@{k}": float((of[bucket.is_member] < k).mean()) for k in ks}
                for name, of in ranks.items()
            }
            measured[bucket.name] = {"num_clicks": int(bucket.is_member.sum()), **found}
    return measured


def _cut(values: np.ndarray, starts: Sequence[int], names: Sequence[str]) -> list[Bucket]:
    """A bucket below the first start, one from each start on."""
    places = np.searchsorted(starts, values, side="right")
    return [Bucket(name, places == place) for place, name in enumerate(names)]
