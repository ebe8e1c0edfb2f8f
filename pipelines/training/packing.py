"""Sequences laid end to end in rows of one width: batches that all have the same shapes.

No TensorFlow.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from recall.ragged import Ragged
from recall.vocabulary import PADDING_ID

_MOST_STEPS_AT_ONCE = 16
"""Steps of one call: the program's own time between two steps is a fraction of a
millisecond on a CPU, as much as a small step on a GPU."""

_MOST_SEQUENCES = 1024
"""Sequences of a step that take part in the seq2seq loss, at most: it compares all pairs
of their interests, 17 million with four each. In steps of more than some 6,000 slots those
of a random part take part, another one in every epoch."""

_SPARE = 1.02
"""Room for epochs whose order fills rows a little less well than the first one's."""

# Columns of a batch as in `recall.features`, which imports TensorFlow; a test compares the two.
_WEIGHTS, _SHOWN, _TIMES, _FUTURE_TIMES = "target_weights", "shown", "times", "future_times"
_USERS = "users"
_EVENTS, _FUTURES = ("event_slots", "event_numbers"), ("future_slots", "future_numbers")
_REQUESTS = ("request_slots", "request_numbers")

_TRIES = 100
"""Orders tried until the rows of an epoch fit."""


class PackedShape(NamedTuple):
    """The shapes of all batches of a job.

    Attributes:
        num_calls: Batches of several steps in an epoch, of each replica.
        num_steps: Steps of one of them.
        num_rows: Rows that a replica has in a step.
        width: Slots of a row.
        max_sequences: Sequences of them that take part in the seq2seq loss.
        num_replicas: Replicas that share a step.
    """

    num_calls: int
    num_steps: int
    num_rows: int
    width: int
    max_sequences: int
    num_replicas: int = 1


@dataclasses.dataclass(frozen=True, eq=False)
class PackedColumns:
    """What is known of the events of all sequences beside their items.

    Attributes:
        weights: `[num_values]` float, how much each event counts as a target; None: all alike.
        shown: `num_values` rows, items that were shown before each event; None: not known.
        times: `[num_values]` int32, seconds of each event, from 1 in its sequence; None: not
            read.
        users: `[num_values]` int32, row of the user of each event; None: not read.
        events: `[num_values, ...]` int32 slots and float32 numbers, features of each event;
            None: not read.
        requests: The same of the request that each event answers.
    """

    weights: np.ndarray | None = None
    shown: Ragged | None = None
    times: np.ndarray | None = None
    users: np.ndarray | None = None
    events: tuple[np.ndarray, np.ndarray] | None = None
    requests: tuple[np.ndarray, np.ndarray] | None = None

    @functools.cached_property
    def most_shown(self) -> int:
        """Items that were shown before one event, at most."""
        return int(self.shown.lengths.max(initial=1))

    @functools.cached_property
    def types(self) -> dict[str, tuple[list[int], type]]:
        """Column of a batch -> its axes behind that of the slots, and its type."""
        types = {}
        if self.weights is not None:
            types[_WEIGHTS] = [], np.float32
        if self.shown is not None:
            types[_SHOWN] = [self.most_shown], np.int32
        if self.times is not None:
            types[_TIMES] = types[_FUTURE_TIMES] = [2], np.int32
        if self.users is not None:
            types[_USERS] = [], np.int32
        for names, arrays in (
            (_EVENTS, self.events),
            (_FUTURES, self.events),
            (_REQUESTS, self.requests),
        ):
            for name, array in zip(names, arrays or (), strict=False):
                types[name] = [array.shape[1]], array.dtype.type
        return types

    def take(self, events: np.ndarray, mirrored: np.ndarray) -> dict[str, np.ndarray]:
        """The columns of some slots.

        Args:
            events: `[num_slots]`, the event that each predicts.
            mirrored: The event that each has in its sequence reversed.
        """
        columns = {}
        if self.weights is not None:
            columns[_WEIGHTS] = self.weights[events]
        if self.shown is not None:
            columns[_SHOWN] = self.shown.take(events).last_padded(self.most_shown)
        if self.times is not None:
            columns[_TIMES] = self.times[np.stack([events - 1, events], axis=1)]
            columns[_FUTURE_TIMES] = self.times[np.stack([mirrored, mirrored - 1], axis=1)]
        if self.users is not None:
            columns[_USERS] = self.users[events]
        for names, arrays, rows in (
            (_EVENTS, self.events, events - 1),
            (_FUTURES, self.events, mirrored),
            (_REQUESTS, self.requests, events),
        ):
            columns |= {n: array[rows] for n, array in zip(names, arrays or (), strict=False)}
        return columns


ITEMS_ONLY = PackedColumns()


def choose_shape(
    sequences: Ragged,
    batch_slots: int,
    max_slots: int,
    seed: int,
    *,
    num_replicas: int = 1,
) -> PackedShape:
    """Shapes for steps of about `batch_slots` slots, padding included.

    Args:
        sequences: Items of every sequence, at least two each.
        batch_slots: Wanted slots per step, those of all replicas.
        max_slots: Slots of the longest sequence there may be.
        seed: Of the job.
        num_replicas: Replicas that share a step.
    """
    slots = sequences.lengths - 1
    order = _order(len(slots), seed, epoch=0, attempt=0)
    width = _choose_width(slots[order], max_slots)
    starts = _row_starts(slots[order], width)
    num_rows = int(len(starts) * _SPARE) + 1
    rows_wanted = max(1, round(batch_slots / width / num_replicas))
    steps = max(1, round(num_rows / (rows_wanted * num_replicas)))
    num_calls = -(-steps // _MOST_STEPS_AT_ONCE)
    num_steps = -(-steps // num_calls)
    rows_of_step = -(-num_rows // (num_calls * num_steps * num_replicas))
    sequences_of_row = np.diff([*starts, len(slots)])
    # By chance a step has more than its share of short sequences.
    mean = float(sequences_of_row.mean()) * rows_of_step
    deviation = float(sequences_of_row.std()) * rows_of_step**0.5
    bound = min(mean + 3 * deviation + 1, rows_of_step * width, len(slots), _MOST_SEQUENCES)
    max_sequences = -(-int(bound) // 8) * 8
    return PackedShape(num_calls, num_steps, rows_of_step, width, max_sequences, num_replicas)


def pack_epoch(
    sequences: Ragged,
    shape: PackedShape,
    seed: int,
    epoch: int,
    replicas: Sequence[int] = (0,),
    first_call: int = 0,
    columns: PackedColumns = ITEMS_ONLY,
) -> Iterator[dict[str, np.ndarray]]:
    """The batches of an epoch: every sequence once, in an order of (seed, epoch).

    Args:
        sequences: Items of every sequence, at least two each.
        shape: That of `choose_shape` for them.
        seed: Of the job.
        epoch: Counted from 0.
        replicas: Numbers of those whose batches are wanted.
        first_call: Batches of each replica that are left out.
        columns: What is known of their events.

    Yields:
        Fields and columns of a `PackedBatch` of `num_steps` steps for each of the replicas,
        `num_calls` times.
    """
    slots = sequences.lengths - 1
    num_parts = shape.num_calls * shape.num_steps * shape.num_replicas
    for attempt in range(_TRIES):
        order = _order(len(slots), seed, epoch, attempt)
        starts = _row_starts(slots[order], shape.width)
        if len(starts) <= num_parts * shape.num_rows:
            break
    else:
        raise RuntimeError(f"{len(slots)} sequences do not fit into {shape}.")
    # Rows are shared out evenly, so that all steps of an epoch weigh about the same.
    first_rows = np.linspace(0, len(starts), num_parts + 1).astype(np.int64)
    first_sequences = np.append(starts, len(slots))[first_rows]
    for call, replica in itertools.product(range(first_call, shape.num_calls), replicas):
        first_step = call * shape.num_steps
        steps = []
        for step in range(first_step, first_step + shape.num_steps):
            part = step * shape.num_replicas + replica
            chosen = order[first_sequences[part] : first_sequences[part + 1]]
            steps.append(_pack_step(sequences, slots[chosen], chosen, shape, columns))
        yield {name: np.stack([step[name] for step in steps]) for name in steps[0]}


def _order(num_sequences: int, seed: int, epoch: int, attempt: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch, attempt]).permutation(num_sequences)


def _choose_width(slots: np.ndarray, max_slots: int) -> int:
    """The narrowest row of which six sevenths are filled, or else the one filled best.

    A slot attends to its whole row, so wide ones cost more. Multiples of 8 suit the
    matrix units of GPUs.
    """
    best = (0.0, 0)
    for factor in (1, 1.25, 2):
        width = -(-int(max_slots * factor) // 8) * 8
        share = slots.sum() / (len(_row_starts(slots, width)) * width)
        if share > 6 / 7:
            return width
        best = max(best, (share, width))
    return best[1]


def _row_starts(slots: np.ndarray, width: int) -> np.ndarray:
    """The first sequence of every row: a row takes sequences while they fit (next fit)."""
    ends = np.cumsum(slots)
    after = np.searchsorted(ends, ends - slots + width, side="right")
    starts, start = [], 0
    while start < len(after):
        starts.append(start)
        start = after.item(start)
    return np.array(starts, np.int64)


def _pack_step(
    sequences: Ragged,
    slots: np.ndarray,
    chosen: np.ndarray,
    shape: PackedShape,
    columns: PackedColumns,
) -> dict[str, np.ndarray]:
    """The fields of one step of the `chosen` sequences of `slots` slots, in their order."""
    row_starts = _row_starts(slots, shape.width)
    num_of_row = np.diff([*row_starts, len(chosen)])
    row = np.repeat(np.arange(len(row_starts)), num_of_row)
    ends = np.cumsum(slots)
    first_of_row = np.repeat((ends - slots)[row_starts], num_of_row)
    starts = row * shape.width + (ends - slots - first_of_row)  # Of each sequence.
    size = shape.num_rows * shape.width
    # Of each slot: its sequence, and its place there.
    place = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - slots, slots)
    target = np.repeat(starts, slots) + place
    source = np.repeat(sequences.offsets[chosen], slots)
    last = np.repeat(slots, slots)

    def lay(values: np.ndarray, dtype: type = np.int32) -> np.ndarray:
        flat = np.full([size, *values.shape[1:]], PADDING_ID, dtype)
        flat[target] = values
        return flat.reshape(shape.num_rows, shape.width, *values.shape[1:])

    first_slots = np.tile(np.arange(shape.width, dtype=np.int32), shape.num_rows)
    first_slots[target] = np.repeat(starts % shape.width, slots)
    kept = min(len(chosen), shape.max_sequences)
    spans = np.zeros([2, shape.max_sequences], np.int32)
    spans[:, :kept] = starts[:kept], slots[:kept]
    return {
        "history_ids": lay(sequences.values[source + place]),
        "positive_ids": lay(sequences.values[source + place + 1]),
        "future_ids": lay(sequences.values[source + last - place]),
        "first_slots": first_slots.reshape(shape.num_rows, shape.width),
        "starts": spans[0],
        "lengths": spans[1],
        **{
            name: lay(values, columns.types[name][1])
            for name, values in columns.take(source + place + 1, source + last - place).items()
        },
    }
