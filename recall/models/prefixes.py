"""What the losses read of a batch, however its sequences lie in it."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from recall.features import (
    FUTURE_TIMES,
    ROWS_OF_USERS,
    SHOWN,
    TARGET_WEIGHTS,
    TIMES,
    PackedBatch,
    SequenceBatch,
)
from recall.towers import UserTower
from recall.vocabulary import PADDING_ID


class Prefixes(NamedTuple):
    """What the losses read of a batch, however its sequences lie in it.

    Attributes:
        user_vectors: `[num_slots, num_interests, dim]`, of the prefix of every slot.
        positive_ids: `[num_slots]` int, the item after it.
        is_real: `[num_slots]` bool, False where a slot is padding; None: nowhere.
        starts: `[num_sequences]` int, the first slot of each sequence.
        lengths: `[num_sequences]` int, its slots; 0 where there is no sequence.
        encode_future: `[num_sequences]` int slots of reversed sequences -> their interests.
        weights: `[num_slots]` float, how much the item after each counts, 0 for padding;
            None: all alike.
        shown_ids: `[num_slots, most]` int, items that were shown before it, padded; None:
            nothing is known of that.
    """

    user_vectors: tf.Tensor
    positive_ids: tf.Tensor
    is_real: tf.Tensor | None
    starts: tf.Tensor
    lengths: tf.Tensor
    encode_future: Callable[[tf.Tensor], tf.Tensor]
    weights: tf.Tensor | None = None
    shown_ids: tf.Tensor | None = None

    @property
    def target_weights(self) -> tf.Tensor | None:
        """`[num_slots]` float or bool, how much each counts; None: all alike."""
        return self.is_real if self.weights is None else self.weights

    @property
    def is_target(self) -> tf.Tensor | None:
        """`[num_slots]` bool, whether each counts at all; None: all of them do."""
        return self.is_real if self.weights is None else self.weights > 0


def encode_padded(user_tower: UserTower, batch: SequenceBatch, *, training: bool) -> Prefixes:
    """A row per sequence. Only real slots: padding would cost as much as a target."""
    target_mask = batch.positive_ids != PADDING_ID
    times = batch.columns.get(TIMES)
    user_vectors = user_tower.encode_prefixes(
        batch.history_ids,
        target_mask,
        training=training,
        times=times,
        users=batch.columns.get(ROWS_OF_USERS),
    ).user_vectors
    lengths = tf.reduce_sum(tf.cast(target_mask, tf.int32), axis=1)

    def encode_future(slots: tf.Tensor) -> tf.Tensor:
        future_ids, future_times = _reverse(batch.positive_ids, lengths), None
        if times is not None:  # What comes next in a reversed sequence came before.
            future_times = _reverse(times[..., ::-1], lengths)
        return user_tower.encode_at(
            future_ids,
            slots,
            training=training,
            is_future=True,
            times=future_times,
            users=batch.columns.get(ROWS_OF_USERS),
        ).user_vectors

    return Prefixes(
        user_vectors,
        tf.boolean_mask(batch.positive_ids, target_mask),
        is_real=None,
        starts=tf.cumsum(lengths, exclusive=True),
        lengths=lengths,
        encode_future=encode_future,
        **_columns_of(batch, lambda tensor: tf.boolean_mask(tensor, target_mask)),
    )


def encode_packed(user_tower: UserTower, batch: PackedBatch, *, training: bool) -> Prefixes:
    """Several sequences per row; padding takes part and is weighted by 0 in the losses."""
    user_vectors = user_tower.encode_prefixes(
        batch.history_ids,
        training=training,
        first_slots=batch.first_slots,
        times=batch.columns.get(TIMES),
        users=batch.columns.get(ROWS_OF_USERS),
    ).user_vectors
    positive_ids = tf.reshape(batch.positive_ids, [-1])

    def encode_future(slots: tf.Tensor) -> tf.Tensor:
        return user_tower.encode_at(
            batch.future_ids,
            batch.starts + slots,
            training=training,
            is_future=True,
            first_slots=batch.first_slots,
            times=batch.columns.get(FUTURE_TIMES),
            users=batch.columns.get(ROWS_OF_USERS),
        ).user_vectors

    return Prefixes(
        tf.reshape(user_vectors, [-1, *user_vectors.shape[2:]]),
        positive_ids,
        is_real=positive_ids != PADDING_ID,
        starts=batch.starts,
        lengths=batch.lengths,
        encode_future=encode_future,
        **_columns_of(batch, lambda tensor: tf.reshape(tensor, [-1, *tensor.shape[2:]])),
    )


def _columns_of(
    batch: SequenceBatch | PackedBatch, choose: Callable[[tf.Tensor], tf.Tensor]
) -> dict[str, tf.Tensor]:
    """`weights` and `shown_ids` of the slots that are chosen, as far as the batch has them."""
    fields = {"weights": TARGET_WEIGHTS, "shown_ids": SHOWN}
    return {
        field: choose(batch.columns[name])
        for field, name in fields.items()
        if name in batch.columns
    }


def _reverse(values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Reverses the first `lengths[i]` of row i; `tf.reverse_sequence` has no GPU kernel."""
    slots = tf.range(tf.shape(values)[1])
    lengths = lengths[:, tf.newaxis]
    return tf.gather(values, tf.where(slots < lengths, lengths - 1 - slots, slots), batch_dims=1)
