"""The features of an example and of a batch, named once.

Raw ids never reach the model: examples hold dense ids (see `vocabulary`).
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from recall.feature_columns.encoder import Encoded, FeatureEncoder
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.times import pair_with_before
from recall.vocabulary import PADDING_ID

ITEM_IDS = "item_ids"
"""Training window: int64 list, oldest first, 2 to max_history_length + 1 ids."""
USER_ID = "user_id"
"""Raw user id of a held-out example: bytes, one value."""
HISTORY = "history"
"""All events before the held-out ones: int64 list, oldest first, not cut."""
POSITIVES = "positives"
"""The held-out events: int64 list."""
NUM_TRAINED = "num_trained"
"""Events of the user that training learns from: int64, one value; 0 for a user who is new to
the model. Examples of earlier versions lack it."""

EVENT_KINDS = "event_kinds"
"""Numbers of the kinds of the events of a training window: int64 list, from 1."""
EVENT_WEIGHTS = "event_weights"
"""How much each event of a training window counts: float list."""
SHOWN_COUNTS = "shown_counts"
"""Items shown, and not clicked, before the second event of a training window, the third and so
on: int64 list."""
SHOWN_IDS = "shown_ids"
"""Those items: int64 list of dense ids."""
TIMESTAMPS = "timestamps"
"""When the events of a training window were: int64 list, seconds."""
HISTORY_TIMESTAMPS = "history_timestamps"
"""When the events before the held-out ones were: int64 list, seconds. Of a request: the times
of `HISTORY_ITEM_IDS`, 0 where they are not known."""
POSITIVE_TIMESTAMPS = "positive_timestamps"
"""When the held-out events were: int64 list, seconds."""
REQUEST_TIMESTAMP = "request_timestamp"
"""When a request was made: int64, seconds; 0: at the time of the last click."""
POSITIVE_KINDS = "positive_kinds"
"""Numbers of the kinds of the held-out events: int64 list."""

TARGET_WEIGHTS = "target_weights"
"""Column of a batch, `[batch, length]` float: how much the next click of each slot counts."""
SHOWN = "shown"
"""Column of a batch, `[batch, length, most]` int dense ids, padded: shown before the next click
of each slot and not clicked."""

USER_ROW = "user_row"
"""Row of the user in the users file, from 1: int64, one value; 0 where she is not in it."""

ROWS_OF_USERS = "users"
"""Column of a batch, `[batch, length]` int: the same for each slot."""
TIMES = "times"
"""Column of a batch, `[batch, length, 2]` int: seconds of the click of each slot and of the next
one, counted from 1 at the first click of a sequence; 0 where there is none."""
FUTURE_TIMES = "future_times"
"""Column of a packed batch: the same of every sequence reversed."""

EVENT_VALUES = "event_value:"
"""Before the name of a feature of events or requests, of a training window: int64 list, numbers
of categories (`FeatureEncoder`), or float list, NaN where there is none."""
HISTORY_VALUES = "history_value:"
"""The same of a feature of events, of the events before the held-out ones."""
POSITIVE_VALUES = "positive_value:"
"""The same of a feature of events, of the held-out events. Examples of earlier versions lack it."""
REQUEST_VALUES = "request_value:"
"""The same of a feature of requests, of the first held-out event: one value."""

EVENT_SLOTS, EVENT_NUMBERS = "event_slots", "event_numbers"
"""Columns of a batch, `[batch, length + 1, ...]`: features of each event (`Encoded`); of a packed
one `[rows, width, ...]`, of the click of each slot."""
FUTURE_SLOTS, FUTURE_NUMBERS = "future_slots", "future_numbers"
"""Columns of a packed batch: the same of every sequence reversed."""
REQUEST_SLOTS, REQUEST_NUMBERS = "request_slots", "request_numbers"
"""Columns of a batch: features of the request that the next click of each slot answers."""

HISTORY_ITEM_IDS = "history_item_ids"
"""Raw ids of a request's history: string list, oldest first."""


_NO_COLUMNS: dict[str, tf.Tensor] = {}


class SequenceBatch(NamedTuple):
    """A batch of training sequences.

    Attributes:
        item_ids: `[batch, length + 1]` int64 dense ids, left-aligned, padded at
            the right with `PADDING_ID`. Slots 0..length-1 are the inputs, slots
            1..length the items to be predicted.
        columns: What else is known of the events: `TARGET_WEIGHTS`, `SHOWN`.
    """

    item_ids: tf.Tensor
    columns: dict[str, tf.Tensor] = _NO_COLUMNS

    @property
    def history_ids(self) -> tf.Tensor:
        """`[batch, length]` int64, the inputs."""
        return self.item_ids[:, :-1]

    @property
    def positive_ids(self) -> tf.Tensor:
        """`[batch, length]` int64, the next item of every slot, or padding."""
        return self.item_ids[:, 1:]


class PackedBatch(NamedTuple):
    """Training sequences laid end to end in rows: every batch has the same shapes.

    A compiled step is compiled again for every shape it meets, and takes no
    `tf.boolean_mask`. Here no shape depends on the sequences, and little is padding.
    A slot attends to those from its `first_slots` on, so that sequences of one row do
    not see each other. A leading axis, if there is one, is that of several steps.

    Attributes:
        history_ids: `[rows, width]` int32 dense ids, the inputs, `PADDING_ID` behind
            the last sequence of a row.
        positive_ids: `[rows, width]` int32, the next item of every slot, or padding.
        future_ids: `[rows, width]` int32, `positive_ids` with every sequence reversed.
        first_slots: `[rows, width]` int32, where in its row the sequence of a slot
            begins; of padding, the slot itself.
        starts: `[max_sequences]` int32, first slots of the sequences, counted through
            all rows.
        lengths: `[max_sequences]` int32, slots of each of them, 0 where there is none.
            Sequences beyond `max_sequences` are in the rows alone.
        columns: As those of `SequenceBatch`, `[rows, width, ...]`.
    """

    history_ids: tf.Tensor
    positive_ids: tf.Tensor
    future_ids: tf.Tensor
    first_slots: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor
    columns: dict[str, tf.Tensor] = _NO_COLUMNS

    def step(self, number: tf.Tensor) -> "PackedBatch":
        """One of the steps of the leading axis."""
        return tf.nest.map_structure(lambda tensor: tensor[number], self)


class ReadColumns(NamedTuple):
    """What is read of the events of training windows beside their items.

    Attributes:
        kind_weights: How much a target counts by the number of its kind, of 0 first;
            () leaves kinds out.
        weights: Whether events have weights of their own.
        shown: Whether items that were shown are read.
        times: Whether times are read.
        users: Whether the rows of users are read.
        log_columns: Features of events and of requests.
    """

    kind_weights: tuple[float, ...] = ()
    weights: bool = False
    shown: bool = False
    times: bool = False
    users: bool = False
    log_columns: tuple[FittedColumn, ...] = ()

    @property
    def needs_times(self) -> bool:
        """Whether times are read, for themselves or for features."""
        return self.times or any(c.kind == "timestamp" for c in self.log_columns)


ITEMS_ALONE = ReadColumns()


def parse_sequences(serialized: tf.Tensor, read: ReadColumns = ITEMS_ALONE) -> SequenceBatch:
    """Parses a batch of training examples at once.

    Parsing whole batches is 7 to 14 times faster than one example at a time.

    Args:
        serialized: `[batch]` string, serialised `tf.train.Example`s.
        read: What is read beside the items.

    Returns:
        `SequenceBatch` as long as the longest sequence of the batch.
    """
    windows = parse_windows(serialized, read)
    columns = {}
    if TARGET_WEIGHTS in windows:
        columns[TARGET_WEIGHTS] = windows[TARGET_WEIGHTS].to_tensor()[:, 1:]
    if SHOWN in windows:
        columns[SHOWN] = windows[SHOWN].to_tensor(PADDING_ID)
    if ROWS_OF_USERS in windows:
        columns[ROWS_OF_USERS] = windows[ROWS_OF_USERS].to_tensor(0)[:, 1:]
    if TIMES in windows:
        times = windows[TIMES].to_tensor(0)
        pairs = tf.stack([times[:, :-1], times[:, 1:]], axis=2)
        # Behind the last click there is no slot.
        columns[TIMES] = pairs * tf.cast(pairs[..., 1:] > 0, pairs.dtype)
    for name in (EVENT_SLOTS, EVENT_NUMBERS):
        if name in windows:
            columns[name] = windows[name].to_tensor(0)
    for name in (REQUEST_SLOTS, REQUEST_NUMBERS):
        if name in windows:
            columns[name] = windows[name].to_tensor(0)[:, 1:]
    return SequenceBatch(windows[ITEM_IDS].to_tensor(default_value=PADDING_ID), columns)


def parse_windows(serialized: tf.Tensor, read: ReadColumns) -> dict[str, tf.RaggedTensor]:
    """Parses a batch of training examples, each as long as it is.

    Returns:
        `ITEM_IDS`, `TARGET_WEIGHTS`, `TIMES` and `ROWS_OF_USERS`, `[batch, (length + 1)]`, of
        which the first weight is of no target, and `SHOWN`, `[batch, (length), (number)]`; all
        but the first as far as they are read. Times are seconds from 1, the first event of a
        window. Of features of the log there are `EVENT_SLOTS` and so on, of each event.
    """
    names = {ITEM_IDS: tf.int64}
    names |= {EVENT_KINDS: tf.int64} if read.kind_weights else {}
    names |= {EVENT_WEIGHTS: tf.float32} if read.weights else {}
    names |= {SHOWN_COUNTS: tf.int64, SHOWN_IDS: tf.int64} if read.shown else {}
    names |= {TIMESTAMPS: tf.int64} if read.needs_times else {}
    names |= {EVENT_VALUES + name: dtype for name, dtype in value_types(read.log_columns).items()}
    features = {
        name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64) for name, dtype in names.items()
    }
    if read.users:
        features[USER_ROW] = tf.io.FixedLenFeature([], tf.int64)
    parsed = tf.io.parse_example(serialized, features)
    windows = {ITEM_IDS: parsed[ITEM_IDS]}
    if read.users:
        of_event = tf.gather(tf.cast(parsed[USER_ROW], tf.int32), parsed[ITEM_IDS].value_rowids())
        windows[ROWS_OF_USERS] = parsed[ITEM_IDS].with_values(of_event)
    factors = [parsed[EVENT_WEIGHTS].values] if read.weights else []
    if read.kind_weights:
        factors.append(tf.gather(tf.constant(read.kind_weights), parsed[EVENT_KINDS].values))
    if factors:
        windows[TARGET_WEIGHTS] = parsed[ITEM_IDS].with_values(
            functools.reduce(tf.multiply, factors)
        )
    if read.shown:
        counts = parsed[SHOWN_COUNTS]
        shown = tf.RaggedTensor.from_row_lengths(parsed[SHOWN_IDS].values, counts.values)
        windows[SHOWN] = counts.with_values(shown)
    if read.times:
        timestamps = parsed[TIMESTAMPS]
        first = tf.gather(timestamps.values, timestamps.row_starts())
        of_event = tf.gather(first, timestamps.value_rowids())
        windows[TIMES] = timestamps.with_values(tf.cast(timestamps.values - of_event + 1, tf.int32))
    if read.log_columns:
        windows |= _log_features(parsed, read.log_columns)
    return windows


def value_types(columns: Sequence[FittedColumn]) -> dict[str, tf.DType]:
    """Name of a feature of the log -> the type of its values in examples.

    Features that are made of times have no values there.
    """
    return {
        c.name: tf.int64 if c.kind == "categorical" else tf.float32
        for c in columns
        if c.kind != "timestamp"
    }


def encode_values(
    columns: Sequence[FittedColumn], values: Mapping[str, tf.Tensor], times: tf.Tensor | None
) -> Encoded:
    """Values of examples as the networks read them.

    Args:
        columns: Features of one owner.
        values: Name -> `[n]`, see `value_types`.
        times: `[n, 2]` int64 seconds, of each event and of the one before it; None where no
            feature is made of them.
    """
    of_times = {c.name: times for c in columns if c.kind == "timestamp"}
    return FeatureEncoder(columns, reads_names=False)({**values, **of_times}).encoded


def _log_features(
    parsed: Mapping[str, tf.RaggedTensor], columns: Sequence[FittedColumn]
) -> dict[str, tf.RaggedTensor]:
    """The features of events and of requests, of every event of windows."""
    item_ids, times, windows = parsed[ITEM_IDS], None, {}
    if TIMESTAMPS in parsed:
        times = pair_with_before(parsed[TIMESTAMPS].values, parsed[TIMESTAMPS].value_rowids())
    for owner, names in (
        ("event", (EVENT_SLOTS, EVENT_NUMBERS)),
        ("request", (REQUEST_SLOTS, REQUEST_NUMBERS)),
    ):
        own = [column for column in columns if column.column.owner == owner]
        if own:
            values = {name: parsed[EVENT_VALUES + name].values for name in value_types(own)}
            encoded = encode_values(own, values, times)
            windows |= {n: item_ids.with_values(v) for n, v in zip(names, encoded, strict=True)}
    return windows
