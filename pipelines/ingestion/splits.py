"""Splits by one clock for everybody, and sequences that are sessions.

Under `ingest.protocol=temporal` what happened before `valid_from` is learnt,
the clicks from then on are targets for validation, and those from `test_from`
on for test. Pure functions over numpy and Arrow; knows neither Beam nor
TensorFlow and touches no files.
"""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingestion.sequences import LAST_TIME_S, Part, hold_out_marked, training_offsets
from pipelines.sources.columns.time_units import FIRST_TIME_S
from recall.errors import InputError
from recall.plain_values import parse_utc
from recall.settings.ingest import IngestConfig

HOUR_S, DAY_S = 3600, 86_400
HELD_OUT = (Part.VALID, Part.TEST)
NOT_LEARNT = (*HELD_OUT, Part.CONTEXT)
_MIN_HOURS = 3
"""Hours with clicks that a split by share needs: one for each part."""


class Clock(NamedTuple):
    """The times that part a log, in seconds since 1970.

    Attributes:
        valid_from: Of the first click that validation may ask for.
        test_from: Of the first click that the test may ask for.
        embargo_s: Clicks in so many seconds before either are history only.
    """

    valid_from: float
    test_from: float
    embargo_s: float = 0.0


def count_hours(timestamps: np.ndarray) -> dict[str, Any]:
    """Events by the hour, which a split by share is chosen from.

    Args:
        timestamps: `[n]` float, seconds since 1970.

    Returns:
        `hours`, pairs of an hour since 1970 and its events, ascending, and
        `without_time`, the events whose timestamp is too small or large for a time.

    >>> count_hours(np.array([1_700_000_000.0, 1_700_000_001.0, 3.0]))
    {'hours': [[472222, 2]], 'without_time': 1}
    """
    is_time = _is_time(timestamps)
    hours = (timestamps[is_time] // HOUR_S).astype(np.int64)
    first = hours.min() if len(hours) else 0
    counts = np.bincount(hours - first)
    seen = np.flatnonzero(counts)
    pairs = np.stack([seen + first, counts[seen]], axis=1).tolist()
    return {"hours": pairs, "without_time": int((~is_time).sum())}


def choose_clock(spec: str, config: IngestConfig, facts: Iterable[Mapping[str, Any]]) -> Clock:
    """The clock of a log: the times of the settings, else those that cut off their shares.

    A clock by share stands at a full hour (UTC): the one whose share of the
    events from then on is nearest to `test_share`, and the same for both parts.

    Args:
        spec: The log, for messages.
        config: The settings of ingest.
        facts: From `count_hours`, shard by shard.

    Raises:
        InputError: The log has no times, or too few hours for a split by share.
    """
    hours: dict[int, int] = {}
    without_time = 0
    for fact in facts:
        without_time += fact["without_time"]
        for hour, events in fact["hours"]:
            hours[hour] = hours.get(hour, 0) + events
    if without_time:
        raise InputError(
            f"{spec} has no times: {without_time:,} of its timestamps only give an order. "
            "ingest.protocol=temporal needs one clock for all users; choose another protocol."
        )
    embargo_s = config.embargo_days * DAY_S
    if config.valid_from is not None and config.test_from is not None:
        return Clock(parse_utc(config.valid_from), parse_utc(config.test_from), embargo_s)
    starts = np.array(sorted(hours), np.int64)
    if len(starts) < _MIN_HOURS:
        raise InputError(
            f"{spec} has clicks in {len(starts)} hours only, too few for a split by share. Name "
            "ingest.valid_from and ingest.test_from, or choose another ingest.protocol."
        )
    counts = np.array([hours[hour] for hour in starts.tolist()])
    share_from = counts[::-1].cumsum()[::-1] / counts.sum()
    test = 2 + int(np.argmin(np.abs(share_from[2:] - config.test_share)))
    both = config.valid_share + config.test_share
    valid = 1 + int(np.argmin(np.abs(share_from[1:test] - both)))
    return Clock(float(starts[valid] * HOUR_S), float(starts[test] * HOUR_S), embargo_s)


def hold_out_after(
    timestamps: np.ndarray, offsets: np.ndarray, clock: Clock, num_targets: int | None
) -> np.ndarray:
    """Splits events by the clock.

    The first event of a sequence is never a target: whoever comes after the clock
    is asked for what follows the first click.

    Args:
        timestamps: `[n]` float of an ordered log, seconds since 1970.
        offsets: `[num_users + 1]`.
        clock: The times.
        num_targets: Targets of a user in each part, the first ones; None for all.

    Returns:
        `[n]` int8 of `Part`. What is neither learnt nor a target is context.

    >>> hold_out_after(np.array([1.0, 5.0, 6.0, 9.0]), np.array([0, 4]), Clock(5, 9), 1)
    array([0, 1, 3, 2], dtype=int8)
    """
    valid_from, test_from, embargo_s = clock
    parts = np.full(len(timestamps), Part.TRAIN, np.int8)
    parts[timestamps >= valid_from - embargo_s] = Part.CONTEXT
    parts[timestamps >= valid_from] = Part.VALID
    parts[(timestamps >= test_from - embargo_s) & (timestamps >= valid_from)] = Part.CONTEXT
    parts[timestamps >= test_from] = Part.TEST
    first = offsets[:-1][np.diff(offsets) > 0]
    parts[first[parts[first] != Part.TRAIN]] = Part.CONTEXT
    if num_targets is not None:
        owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        for part in HELD_OUT:
            at = np.flatnonzero(parts == part)
            _, begins, inverse = np.unique(owners[at], return_index=True, return_inverse=True)
            parts[at[np.arange(len(at)) - begins[inverse] >= num_targets]] = Part.CONTEXT
    return parts


def cut_sessions(timestamps: np.ndarray, offsets: np.ndarray, max_gap_s: float) -> np.ndarray:
    """Offsets of the sessions of a log: a longer gap between two clicks begins another.

    Args:
        timestamps: `[n]` float of an ordered log, seconds.
        offsets: `[num_users + 1]`.
        max_gap_s: Of two clicks of a session.

    Returns:
        `[num_sessions + 1]` int64, with all of `offsets` in it.

    >>> cut_sessions(np.array([0.0, 5, 20, 21, 22]), np.array([0, 4, 5]), 10)
    array([0, 2, 4, 5])
    """
    gaps = np.flatnonzero(np.diff(timestamps) > max_gap_s) + 1
    return np.union1d(offsets, gaps).astype(np.int64)


def name_sessions(user_ids: pa.StringArray, offsets: np.ndarray, cut: np.ndarray) -> pa.Array:
    """Ids of sessions: the user's, `#`, and the session's number from 1.

    Args:
        user_ids: `[num_users]` string.
        offsets: `[num_users + 1]`.
        cut: `[num_sessions + 1]` from `cut_sessions`.

    Returns:
        `[num_sessions]` string.
    """
    owners = np.searchsorted(offsets, cut[:-1], side="right") - 1
    first = np.searchsorted(cut, offsets[owners])
    numbers = pa.array(np.arange(len(owners)) - first + 1).cast(pa.string())
    return pc.binary_join_element_wise(user_ids.take(pa.array(owners)), numbers, "#")


def find_leak(timestamps: np.ndarray, parts: np.ndarray, clock: Clock) -> int | None:
    """The first event on the wrong side of the clock, None where there is none.

    Nothing of anybody that is learnt may be later than the clock less its embargo, no
    target for validation of the time of the test, and no target before its clock.

    Args:
        timestamps: `[n]` float, seconds since 1970.
        parts: `[n]` int8 of `Part`.
        clock: The times.
    """
    valid_from, test_from, embargo_s = clock
    wrong = (parts == Part.TRAIN) & (timestamps >= valid_from - embargo_s)
    wrong |= (parts == Part.VALID) & (timestamps < valid_from)
    wrong |= (parts == Part.VALID) & (timestamps >= test_from - embargo_s)
    wrong |= (parts == Part.TEST) & (timestamps < test_from)
    return int(np.argmax(wrong)) if wrong.any() else None


def find_conflicts(events: pa.Table) -> dict[str, Any]:
    """Events that a split column puts into several parts, one of them held out.

    Args:
        events: With the columns `user_id`, `item_id`, `timestamp` and `split`.

    Returns:
        `events`, how many there are, and `first`, one with the names of its parts.
    """
    keys = ["user_id", "item_id", "timestamp"]
    grouped = events.select([*keys, "split"]).group_by(keys).aggregate([("split", "distinct")])
    several = grouped.filter(pc.greater(pc.list_value_length(grouped["split_distinct"]), 1))
    held_out = {part.label for part in HELD_OUT}
    rows = [row for row in several.to_pylist() if held_out.intersection(row["split_distinct"])]
    rows.sort(key=lambda row: (row["user_id"], row["item_id"], row["timestamp"]))
    first = [{**row, "split_distinct": sorted(row["split_distinct"])} for row in rows[:1]]
    return {"events": len(rows), "first": first}


def describe(timestamps: np.ndarray, offsets: np.ndarray, parts: np.ndarray) -> dict[str, Any]:
    """Facts of a shard after its split, for statistics and checks.

    Returns:
        Numbers of events, users and targets; `spans`, part -> first and last time, of events
        whose timestamps are times, and how many are at each; `cold_users`, held-out part -> users
        with targets and without a training event.
    """
    lengths, users = np.unique(np.diff(offsets), return_counts=True)
    learnt = training_offsets(offsets, parts)
    trained = np.diff(learnt)
    # The first target of each user that has any, and what is learnt after it.
    targets = np.flatnonzero((parts == Part.VALID) | (parts == Part.TEST))
    owners = np.searchsorted(offsets, targets, side="right") - 1
    is_first = np.diff(owners, prepend=-1) > 0
    first, held_out = targets[is_first], owners[is_first]
    late = learnt[1:][held_out] - training_offsets(first, parts)
    tasks = {part: hold_out_marked(offsets, parts, part) for part in HELD_OUT}
    return {
        "lengths": [[int(n), int(count)] for n, count in zip(lengths, users, strict=True)],
        "events": {part.label: int(np.count_nonzero(parts == part)) for part in Part},
        "targets": {part.label: len(task.positives) for part, task in tasks.items()},
        "training_only_users": len(trained) - len(held_out),
        "training_sequences": int((trained >= 2).sum()),
        "training_events_after_targets": int(late.sum()),
        "spans": _spans(timestamps, parts),
        "cold_users": {
            part.label: int((trained[task.users] == 0).sum()) for part, task in tasks.items()
        },
    }


def _spans(timestamps: np.ndarray, parts: np.ndarray) -> dict[str, list[float]]:
    is_time, spans = _is_time(timestamps), {}
    if not is_time.all():
        timestamps, parts = timestamps[is_time], parts[is_time]
    for part in Part:
        times = timestamps[parts == part]
        if len(times):
            ends = float(times.min()), float(times.max())
            spans[part.label] = [*ends, *(int(np.count_nonzero(times == end)) for end in ends)]
    return spans


def add_spans(facts: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Adds up the `spans` of shards: part -> first and last time."""
    total: dict[str, list[float]] = {}
    for part, (first, last, *_) in itertools.chain.from_iterable(f["spans"].items() for f in facts):
        known = total.get(part, [first, last])
        total[part] = [min(first, known[0]), max(last, known[1])]
    return {part.label: total[part.label] for part in Part if part.label in total}


def _is_time(timestamps: np.ndarray) -> np.ndarray:
    return (timestamps >= FIRST_TIME_S) & (timestamps < LAST_TIME_S)
