"""The features of an example and of a batch, named once.

Raw ids never reach the model: examples hold dense ids (see `vocabulary`).
"""

from typing import NamedTuple

import tensorflow as tf

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

HISTORY_ITEM_IDS = "history_item_ids"
"""Raw ids of a request's history: string list, oldest first."""


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
    """

    history_ids: tf.Tensor
    positive_ids: tf.Tensor
    future_ids: tf.Tensor
    first_slots: tf.Tensor
    starts: tf.Tensor
    lengths: tf.Tensor


def parse_sequences(serialized: tf.Tensor) -> SequenceBatch:
    """Parses a batch of training examples at once.

    Parsing whole batches is 7 to 14 times faster than one example at a time.

    Args:
        serialized: `[batch]` string, serialised `tf.train.Example`s.

    Returns:
        `SequenceBatch` as long as the longest sequence of the batch.
    """
    feature = tf.io.RaggedFeature(tf.int64, row_splits_dtype=tf.int64)
    ragged = tf.io.parse_example(serialized, {ITEM_IDS: feature})[ITEM_IDS]
    return SequenceBatch(ragged.to_tensor(default_value=PADDING_ID))
