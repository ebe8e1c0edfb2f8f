"""Vectorised work on logs: shard, order, deduplicate, filter, count and split.

Pure functions over numpy and Arrow; knows neither Beam nor TensorFlow and
touches no files. An *ordered* log has the rows of one user next to each other,
users by id as text, events of a user oldest first.
"""

import enum
import zlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.ingestion.windows import Windows
from pipelines.sources.columns.id_checks import plain_ids
from pipelines.sources.columns.time_findings import DAY_S
from pipelines.sources.columns.time_units import FIRST_TIME_S
from recall.errors import InputError

LAST_TIME_S = 1e10
"""The year 2286; larger numbers are counters of something."""


class Part(enum.IntEnum):
    """What an event is used for."""

    TRAIN = 0
    VALID = 1
    TEST = 2
    CONTEXT = 3
    """Belongs to later histories; neither learnt from nor a target."""

    @property
    def label(self) -> str:
        """The name in a `split` column, in folder names and in reports."""
        return self.name.lower()


PART_LABELS = tuple(part.label for part in Part)


class HeldOutTasks(NamedTuple):
    """Prediction tasks, one per user: a history and its later events.

    Attributes:
        users: `[num_tasks]` row of the user among the users of the log.
        histories: Ranges of events, `[num_tasks]`, none empty.
        positives: `[num_targets]` positions of the targets, task by task.
        positive_offsets: `[num_tasks + 1]`; task i has
            `positives[positive_offsets[i]:positive_offsets[i + 1]]`.
    """

    users: np.ndarray
    histories: Windows
    positives: np.ndarray
    positive_offsets: np.ndarray


class Sequences(NamedTuple):
    """Events of the users of a shard: an ordered log in arrays.

    Attributes:
        user_ids: `[num_users]` string, ascending as text.
        offsets: `[num_users + 1]` int64; user u has events `offsets[u]:offsets[u + 1]`, at
            least one.
        items: `[num_events]` int32 numbers of the items, ascending with their ids as text.
        timestamps: `[num_events]` float64; None where they are not needed any more, and so
            are rows.
        rows: `[num_events]` int64, rows of the log.
        parts: `[num_events]` int8 of `Part`.
        kinds: `[num_events]` int8 numbers of the kinds of events, from 1; None where the
            log has no kinds.
        weights: `[num_events]` float32, how much each event counts; None where all are alike.
        values: `[num_events, num_features]` float32, of features of the log: numbers, NaN where
            there is none, and numbers of names, from 1, 0 where there is none; None where
            no feature has values in the log.
    """

    user_ids: pa.StringArray
    offsets: np.ndarray
    items: np.ndarray
    timestamps: np.ndarray | None
    rows: np.ndarray | None
    parts: np.ndarray
    kinds: np.ndarray | None = None
    weights: np.ndarray | None = None
    values: np.ndarray | None = None

    def filter(self, kept: np.ndarray) -> "Sequences":
        """The events where `kept`, `[num_events]` bool, and the users who have any."""
        if kept.all():
            return self
        offsets = np.concatenate([[0], np.cumsum(kept)])[self.offsets]
        has_events = np.diff(offsets) > 0
        return Sequences(
            self.user_ids.filter(pa.array(has_events)),
            np.concatenate([[0], offsets[1:][has_events]]),
            *(None if column is None else column[kept] for column in self[2:]),
        )

    @property
    def owners(self) -> np.ndarray:
        """`[num_events]`, the user of each event."""
        return np.repeat(np.arange(len(self.user_ids)), np.diff(self.offsets))


def user_shards(user_ids: pa.Array, num_shards: int) -> np.ndarray:
    """Assigns users to shards by a hash that is the same in every process.

    Ids that differ only by spaces or by the form of a number share a shard.

    Args:
        user_ids: `[n]` string.
        num_shards: Number of shards, >= 1.

    Returns:
        `[n]` int64 in [0, num_shards).

    >>> user_shards(pa.array(["7", "8", "7"]), 4)
    array([2, 3, 2])
    """
    names = plain_ids(user_ids).cast(pa.binary()).to_pylist()
    return np.fromiter(map(zlib.crc32, names), np.int64, len(names)) % num_shards


def count_items(items: np.ndarray, num_items: int) -> np.ndarray:
    """`[num_items]` int64, how often each item occurs."""
    return np.bincount(items, minlength=num_items).astype(np.int64)


def count_days(timestamps: np.ndarray) -> list[list[int]]:
    """Events per day, for those whose timestamps are times.

    Args:
        timestamps: `[n]` float, seconds since 1970, or numbers too small to be times.

    Returns:
        Pairs of a day (UTC, since 1970) and the number of its events, ascending.

    >>> count_days(np.array([1_700_000_000.0, 1_700_000_001.0, 3.0]))
    [[19675, 2]]
    """
    is_time = (timestamps >= FIRST_TIME_S) & (timestamps < LAST_TIME_S)
    if not is_time.all():
        timestamps = timestamps[is_time]
    if len(timestamps) == 0:
        return []
    days = (timestamps / DAY_S).astype(np.int64)
    first = int(days.min())
    counts = np.bincount(days - first)
    found = np.flatnonzero(counts)
    return np.stack([found + first, counts[found]], axis=1).tolist()


def long_enough(offsets: np.ndarray, min_user_events: int) -> np.ndarray:
    """`[num_events]` bool, whether the event's user has enough events."""
    lengths = np.diff(offsets)
    return np.repeat(lengths >= min_user_events, lengths)


def events_needed(num_targets: int) -> int:
    """Events a user needs to be held out: both sets of targets and a history."""
    return 2 * num_targets + 1


def hold_out_last(offsets: np.ndarray, num_targets: int) -> np.ndarray:
    """Splits each sequence by position: training, then validation, then test.

    `leave_one_out` is `num_targets` = 1, `next_n` is n. Users with fewer than
    `events_needed` events go to training whole.

    Args:
        offsets: `[num_users + 1]` of an ordered log.
        num_targets: Held-out events per user in validation and in test.

    Returns:
        `[num_events]` int8 of `Part`.

    >>> hold_out_last(np.array([0, 2, 6]), 1)
    array([0, 0, 0, 0, 1, 2], dtype=int8)
    """
    parts = np.full(offsets[-1], Part.TRAIN, np.int8)
    ends = offsets[1:][np.diff(offsets) >= events_needed(num_targets)]
    for from_end in range(1, num_targets + 1):
        parts[ends - from_end] = Part.TEST
        parts[ends - from_end - num_targets] = Part.VALID
    return parts


def mark_beyond_latest(offsets: np.ndarray, parts: np.ndarray, max_events: int) -> np.ndarray:
    """Marks the training events that a user has besides the latest `max_events`.

    Args:
        offsets: `[num_users + 1]` of an ordered log.
        parts: `[num_events]` int8 of `Part`.
        max_events: Training events that a user may have.

    Returns:
        `[num_events]` bool.

    >>> mark_beyond_latest(np.array([0, 4]), np.array([0, 0, 0, 2]), 2)
    array([ True, False, False, False])
    """
    trained = np.cumsum(parts == Part.TRAIN)
    last = np.concatenate([[0], trained])[offsets[1:]]
    from_end = np.repeat(last, np.diff(offsets)) - trained
    return (parts == Part.TRAIN) & (from_end >= max_events)


def parse_parts(events: pa.RecordBatch) -> np.ndarray:
    """Reads the `split` column of protocol `provided`.

    Returns:
        `[num_events]` int8 of `Part`.

    Raises:
        InputError: A value is missing or not the label of a part.
    """
    split = events.column("split")
    parts = pc.index_in(split, value_set=pa.array(PART_LABELS))
    if parts.null_count:
        bad = int(np.flatnonzero(parts.is_null().to_numpy(zero_copy_only=False))[0])
        raise InputError(
            f"Row {events.column('row')[bad].as_py()} of the log has split "
            f"{split[bad].as_py()!r}. Use one of {', '.join(PART_LABELS)}."
        )
    return parts.to_numpy().astype(np.int8)


def hold_out_marked(offsets: np.ndarray, parts: np.ndarray, part: Part) -> HeldOutTasks:
    """Collects the targets of one part with the history before the first.

    The history holds every earlier event of the user, whatever its part: at
    test it includes validation and context events. Events after the first
    target are in no history, and a user without an earlier event is left out.

    Args:
        offsets: `[num_users + 1]` of an ordered log.
        parts: `[num_events]` int8 of `Part`.
        part: Whose events are the targets.
    """
    positions = np.flatnonzero(parts == part)
    owners = np.searchsorted(offsets, positions, side="right") - 1
    has_history = _has_history(offsets, positions, owners)
    positions, owners = positions[has_history], owners[has_history]
    users, first, counts = np.unique(owners, return_index=True, return_counts=True)
    return HeldOutTasks(
        users,
        Windows(offsets[users], positions[first]),
        positions,
        np.concatenate([[0], np.cumsum(counts)]),
    )


def _has_history(offsets: np.ndarray, positions: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """`[num_targets]` bool, whether an event lies before the owner's first target."""
    _, first, inverse = np.unique(owners, return_index=True, return_inverse=True)
    return (positions[first] > offsets[owners[first]])[inverse]


def training_offsets(offsets: np.ndarray, parts: np.ndarray) -> np.ndarray:
    """Offsets of the users in the array of training events alone."""
    # Most events are: the few others are looked for.
    others = np.flatnonzero(parts != Part.TRAIN)
    return offsets - np.searchsorted(others, offsets)
