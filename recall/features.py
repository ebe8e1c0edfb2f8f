"""The features of an example and of a batch, named once.

Raw ids never reach the model: examples hold dense ids (see `vocabulary`).
"""

import enum
from typing import NamedTuple

import tensorflow as tf

from recall.vocabulary import PADDING_ID

ITEM_IDS = "item_ids"
"""Training window: int64 list, oldest first, 2 to max_history_length + 1 ids."""
EARLIER_IDS = "earlier_ids"
"""What precedes the training window, back to the start of the user's window before it:
int64 list, oldest first; empty or missing in a user's first window."""
SHIFT = "shift"
"""How training moves the window: int64, one value of `Shift`; missing means `NONE`."""
USER_ID = "user_id"
"""Raw user id of a held-out example: bytes, one value."""
HISTORY = "history"
"""All events before the held-out ones: int64 list, oldest first, not cut."""
POSITIVES = "positives"
"""The held-out events: int64 list."""

HISTORY_ITEM_IDS = "history_item_ids"
"""Raw ids of a request's history: string list, oldest first."""


class Shift(enum.IntEnum):
    """How training moves a window at random, anew in every epoch.

    A history that is longer than the model reads is cut into windows, and a click just
    after a cut has nearly no past. So the cuts move: by s clicks, uniform below the
    length of a window, towards the past. Every click is then predicted once an epoch in
    expectation, from another past every time (measured, table of trials in BUILD.md).
    """

    NONE = 0
    """The whole history of a user."""
    WINDOW = 1
    """One of several windows: ends s clicks earlier, and begins as many earlier."""
    TAIL = 2
    """The latest window once more: its last s clicks, which the shift cut off."""


class SequenceBatch(NamedTuple):
    """A batch of training sequences.

    Attributes:
        item_ids: `[batch, length + 1]` int64 dense ids, left-aligned, padded at
            the right with `PADDING_ID`. Slots 0..length-1 are the inputs, slots
            1..length the items to be predicted.
    """

    item_ids: tf.Tensor

    @property
    def history_ids(self) -> tf.Tensor:
        """`[batch, length]` int64, the inputs."""
        return self.item_ids[:, :-1]

    @property
    def positive_ids(self) -> tf.Tensor:
        """`[batch, length]` int64, the next item of every slot, or padding."""
        return self.item_ids[:, 1:]


def parse_sequences(
    serialized: tf.Tensor, max_history_length: int, seed: tf.Tensor | None = None
) -> SequenceBatch:
    """Parses a batch of training examples at once.

    Parsing whole batches is 7 to 14 times faster than one example at a time.

    Args:
        serialized: `[batch]` string, serialised `tf.train.Example`s.
        max_history_length: Inputs kept per sequence, the newest ones.
        seed: `[2]` int; windows of long histories are moved by `Shift`, a function
            of it. None moves nothing.

    Returns:
        `SequenceBatch` as long as the longest sequence of the batch, each of two items
        at least.
    """
    ids = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
    shift = tf.io.FixedLenFeature([], tf.int64, default_value=Shift.NONE)
    parsed = tf.io.parse_example(serialized, {ITEM_IDS: ids, EARLIER_IDS: ids, SHIFT: shift})
    item_ids = parsed[ITEM_IDS]
    if seed is not None:
        item_ids = _shift_windows(
            tf.concat([parsed[EARLIER_IDS], item_ids], axis=1),
            parsed[SHIFT],
            max_history_length,
            seed,
        )
    item_ids = item_ids[:, -(max_history_length + 1) :]
    return SequenceBatch(item_ids.to_tensor(default_value=PADDING_ID))


def _shift_windows(
    item_ids: tf.RaggedTensor, shift: tf.Tensor, max_shift: int, seed: tf.Tensor
) -> tf.RaggedTensor:
    """Moves the ends of windows and the starts of tails; at least two items remain."""
    lengths = item_ids.row_lengths()
    uniform = tf.random.stateless_uniform(tf.shape(lengths), seed)
    steps = tf.cast(uniform * max_shift, tf.int64)
    stops = lengths - tf.where(shift == Shift.WINDOW, tf.minimum(steps, lengths - 2), 0)
    tail_starts = tf.maximum(lengths - 1 - tf.maximum(steps, 1), 0)
    starts = tf.where(shift == Shift.TAIL, tail_starts, 0)
    rows = item_ids.row_starts()
    return tf.gather(item_ids.values, tf.ragged.range(rows + starts, rows + stops))
