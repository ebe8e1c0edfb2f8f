"""Measures of a log and of what changed since an earlier one. Numpy only; opens no file."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Counts(NamedTuple):
    """Clicks by item.

    Attributes:
        item_ids: `[n]` text, each once.
        clicks: `[n]` int, what each has.
    """

    item_ids: Sequence[str]
    clicks: np.ndarray


def compare_items(now: Counts, before: Counts) -> dict[str, float]:
    """What changed in the catalogue and in what is clicked.

    Returns:
        `new_items`, share of the items of now; `gone_items`, share of those before;
        `unknown_clicks`, share of the clicks on new items; `popularity_jensen_shannon` and
        `popularity_l_infinity` of the distributions of the clicks over the items of both.
    """
    place = {item_id: row for row, item_id in enumerate(before.item_ids)}
    rows = np.fromiter(
        (place.get(item_id, -1) for item_id in now.item_ids), np.int64, len(now.item_ids)
    )
    known = rows >= 0
    here, there = _shares(now.clicks), _shares(before.clicks)
    gone = np.ones(len(there), bool)
    gone[rows[known]] = False
    joint = np.concatenate([here, np.zeros(int(gone.sum()))])
    earlier = np.concatenate([np.where(known, there[rows], 0.0), there[gone]])
    return {
        "new_items": float(np.mean(~known)),
        "gone_items": float(np.mean(gone)),
        "unknown_clicks": float(here[~known].sum()),
        "popularity_jensen_shannon": jensen_shannon(joint, earlier),
        "popularity_l_infinity": float(np.abs(joint - earlier).max()),
    }


def largest_changes(now: Counts, before: Counts, number: int) -> list[dict[str, Any]]:
    """The items whose share of the clicks changed most: `item_id`, `before`, `now`."""
    shares = [dict(zip(c.item_ids, _shares(c.clicks).tolist(), strict=True)) for c in (before, now)]
    changed = {
        item_id: (shares[0].get(item_id, 0.0), shares[1].get(item_id, 0.0))
        for item_id in {**shares[0], **shares[1]}
    }
    most = sorted(changed, key=lambda one: (-abs(changed[one][1] - changed[one][0]), one))
    return [
        {"item_id": one, "before": changed[one][0], "now": changed[one][1]} for one in most[:number]
    ]


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Jensen-Shannon divergence of two distributions over the same classes.

    With logarithms of base 2, so 0 for equal and 1 for disjoint ones, as TensorFlow Data
    Validation measures drift.

    Args:
        p: `[n]` shares that add up to 1.
        q: `[n]` the same.

    >>> jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]))
    1.0
    """
    middle = (p + q) / 2
    return float(min(1.0, max(0.0, (_divergence(p, middle) + _divergence(q, middle)) / 2)))


def compare_lengths(now: Sequence[Sequence[int]], before: Sequence[Sequence[int]]) -> float:
    """Jensen-Shannon divergence of the users by their clicks, in classes that double.

    Args:
        now: Pairs of a number of clicks and the users that have it.
        before: The same of the earlier log.
    """
    classes = [_doubling_classes(pairs) for pairs in (now, before)]
    size = max(map(len, classes))
    here, there = (np.pad(one, (0, size - len(one))) for one in classes)
    return jensen_shannon(here, there)


def count_missing_days(days: Sequence[Sequence[int]]) -> int:
    """Days without an event between the first and the last one.

    Args:
        days: Pairs of a day since 1970 and its events, ascending.

    >>> count_missing_days([[10, 3], [11, 1], [14, 2]])
    2
    """
    return int(days[-1][0] - days[0][0] + 1 - len(days)) if days else 0


def find_gaps(days: Sequence[Sequence[int]]) -> list[list[int]]:
    """Where `count_missing_days` finds them: first and last day of each gap, the longest first.

    >>> find_gaps([[10, 3], [12, 1], [15, 2]])
    [[13, 14], [11, 11]]
    """
    seen = [day for day, _ in days]
    gaps = [[one + 1, next_ - 1] for one, next_ in itertools.pairwise(seen) if next_ > one + 1]
    return sorted(gaps, key=lambda gap: (gap[0] - gap[1], gap[0]))


def count_new_days(now: Sequence[Sequence[int]], before: Sequence[Sequence[int]]) -> int:
    """Days with events after the last day of the earlier log; both as in `count_missing_days`."""
    return sum(day > before[-1][0] for day, _ in now)


def share(part: float, whole: float) -> float:
    """A share, 0 of nothing."""
    return part / whole if whole else 0.0


def show_measure(value: float) -> str:
    """A measure.

    >>> show_measure(12345), show_measure(0.123456), show_measure(0.0)
    ('12,345', '0.123', '0')
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def judge(measured: Mapping[str, float], limits: Mapping[str, float | None]) -> list[dict]:
    """Every measure beside its limit.

    Args:
        measured: Name -> value.
        limits: `max_<name>` or `min_<name>` -> limit; None for none.

    Returns:
        For each measure `name`, `value`, `limit` (`max` or `min` and a number, or None) and
        `holds`.
    """
    checks = []
    for name, value in measured.items():
        limit, holds = None, True
        for kind, sign in (("max", 1), ("min", -1)):
            bound = limits.get(f"{kind}_{name}")
            if bound is not None:
                limit, holds = [kind, bound], sign * value <= sign * bound
        checks.append({"name": name, "value": value, "limit": limit, "holds": holds})
    return checks


def _shares(clicks: np.ndarray) -> np.ndarray:
    clicks = np.asarray(clicks, np.float64)
    return clicks / max(clicks.sum(), 1.0)


def _divergence(p: np.ndarray, q: np.ndarray) -> float:
    """Kullback-Leibler divergence in bits; where `p` is 0 it adds nothing."""
    some = p > 0
    return float(np.sum(p[some] * np.log2(p[some] / q[some])))


def _doubling_classes(pairs: Sequence[Sequence[int]]) -> np.ndarray:
    """Shares of the users with 1, 2 to 3, 4 to 7, ... clicks."""
    lengths, users = np.array(pairs, np.int64).reshape(-1, 2).T
    return _shares(np.bincount(np.frexp(lengths)[1] - 1, weights=users))
