"""What the losses read of a batch, however its sequences lie in it."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from recall.feature_columns.encoder import Encoded
from recall.features import (
    EVENT_NUMBERS,
    EVENT_SLOTS,
    FUTURE_NUMBERS,
    FUTURE_SLOTS,
    FUTURE_TIMES,
    REQUEST_NUMBERS,
    REQUEST_SLOTS,
    ROWS_OF_USERS,
    SHOWN,
    TARGET_WEIGHTS,
    TIMES,
    PackedBatch,
    SequenceBatch,
)
from recall.layers.extractor import WantedPrefixes
from recall.models.sequence_features import SequenceFeatures, reverse
from recall.towers import KnownBeside, UserTower, UserTowerOutput
from recall.vocabulary import PADDING_ID


class Prefixes(NamedTuple):
    """What the losses read of a batch, however its sequences lie in it.

    Attributes:
        user_vectors: `[num_slots, num_interests, dim]`, of the prefix of every slot.
        positive_ids: `[num_slots]` int, the item after it.
        is_real: `[num_slots]` bool, False where a slot is padding; None: nowhere.
        starts: `[num_sequences]` int, the first slot of each sequence.
        lengths: `[num_sequences]` int, its slots; 0 where there is no sequence.
        interest_weights: `[num_slots, num_interests]` float, how much of it each interest holds.
        encode_future: `[num_anchors, num_sequences]` int slots of reversed sequences -> their
            interests, of `num_anchors * num_sequences` futures.
        weights: `[num_slots]` float, how much the item after each counts, 0 for padding;
            None: all alike.
        shown_ids: `[num_slots, most]` int, items that were shown before it, padded; None:
            nothing is known of that.
        is_active: `[num_slots, num_interests]` bool, False where an interest is switched off;
            None: nowhere.
        positive_contents: `[num_slots, dim]` what features say of the item after each, where it
            has been computed.
    """

    user_vectors: tf.Tensor
    positive_ids: tf.Tensor
    is_real: tf.Tensor | None
    starts: tf.Tensor
    lengths: tf.Tensor
    interest_weights: tf.Tensor
    encode_future: Callable[[tf.Tensor], UserTowerOutput]
    weights: tf.Tensor | None = None
    shown_ids: tf.Tensor | None = None
    is_active: tf.Tensor | None = None
    positive_contents: tf.Tensor | None = None

    @property
    def target_weights(self) -> tf.Tensor | None:
        """`[num_slots]` float or bool, how much each counts; None: all alike."""
        return self.is_real if self.weights is None else self.weights

    @property
    def is_target(self) -> tf.Tensor | None:
        """`[num_slots]` bool, whether each counts at all; None: all of them do."""
        return self.is_real if self.weights is None else self.weights > 0


def encode_padded(
    user_tower: UserTower, batch: SequenceBatch, *, training: bool, reverse_future: bool = True
) -> Prefixes:
    """A row per sequence. Only real slots: padding would cost as much as a target."""
    target_mask = batch.positive_ids != PADDING_ID
    # Past, next clicks and future are parts of one sequence: its features are read once.
    events = _encoded(batch, EVENT_SLOTS, EVENT_NUMBERS)
    read = SequenceFeatures(*user_tower.read_clicks(batch.item_ids, events))
    pasts = user_tower.encode_prefixes(
        batch.history_ids,
        WantedPrefixes(mask=target_mask),
        training=training,
        known=_known_of(batch)._replace(**read.of_past()._asdict()),
    )
    lengths = tf.reduce_sum(tf.cast(target_mask, tf.int32), axis=1)
    next_ones = read.of_next()

    def encode_future(slots: tf.Tensor) -> UserTowerOutput:
        if reverse_future:
            ids, wanted, known = _in_reverse(batch, next_ones, lengths, slots)
        else:
            ids, contents = batch.positive_ids, next_ones.contents
            rows = tf.range(tf.shape(ids)[0]) * tf.shape(ids)[1]
            wanted = _in_order(ids, tf.zeros_like(ids, tf.int32), rows, lengths, slots[0])
            known = KnownBeside(users=batch.columns.get(ROWS_OF_USERS), contents=contents)
        return user_tower.encode_prefixes(ids, wanted, training=training, known=known)

    def flatten(tensor: tf.Tensor) -> tf.Tensor:
        return tf.boolean_mask(tensor, target_mask)

    return Prefixes(
        pasts.user_vectors,
        flatten(batch.positive_ids),
        is_real=None,
        starts=tf.cumsum(lengths, exclusive=True),
        lengths=lengths,
        interest_weights=pasts.interest_weights,
        encode_future=encode_future,
        is_active=_find_active(user_tower, pasts.interest_weights),
        positive_contents=None if next_ones.contents is None else flatten(next_ones.contents),
        **_columns_of(batch, flatten),
    )


def encode_packed(
    user_tower: UserTower, batch: PackedBatch, *, training: bool, reverse_future: bool = True
) -> Prefixes:
    """Several sequences per row; padding takes part and is weighted by 0 in the losses."""
    pasts = user_tower.encode_prefixes(
        batch.history_ids,
        WantedPrefixes(first_slots=batch.first_slots),
        training=training,
        known=_known_of(batch),
    )
    positive_ids = tf.reshape(batch.positive_ids, [-1])

    def flatten(tensor: tf.Tensor) -> tf.Tensor:
        return tf.reshape(tensor, [-1, *tensor.shape[2:]])

    def encode_future(slots: tf.Tensor) -> UserTowerOutput:
        if not reverse_future:
            wanted = _in_order(
                batch.positive_ids, batch.first_slots, batch.starts, batch.lengths, slots[0]
            )
            known = KnownBeside(users=batch.columns.get(ROWS_OF_USERS))
            return user_tower.encode_prefixes(
                batch.positive_ids, wanted, training=training, known=known
            )
        return user_tower.encode_prefixes(
            batch.future_ids,
            WantedPrefixes(
                slots=tf.reshape(batch.starts + slots, [-1]),
                is_future=True,
                first_slots=batch.first_slots,
            ),
            training=training,
            known=KnownBeside(
                batch.columns.get(FUTURE_TIMES),
                batch.columns.get(ROWS_OF_USERS),
                _encoded(batch, FUTURE_SLOTS, FUTURE_NUMBERS),
            ),
        )

    return Prefixes(
        flatten(pasts.user_vectors),
        positive_ids,
        is_real=positive_ids != PADDING_ID,
        starts=batch.starts,
        lengths=batch.lengths,
        interest_weights=flatten(pasts.interest_weights),
        encode_future=encode_future,
        is_active=_find_active(user_tower, flatten(pasts.interest_weights)),
        **_columns_of(batch, flatten),
    )


def _find_active(user_tower: UserTower, weights: tf.Tensor) -> tf.Tensor | None:
    """`[num_slots, num_interests]` bool, the interests that are not switched off; None: all."""
    return weights > 0 if user_tower.min_interest_weight else None


def _known_of(batch: SequenceBatch | PackedBatch) -> KnownBeside:
    """What a slot may see: features of its click, and of the request that the next one answers."""
    return KnownBeside(
        batch.columns.get(TIMES),
        batch.columns.get(ROWS_OF_USERS),
        _encoded(batch, EVENT_SLOTS, EVENT_NUMBERS),
        _encoded(batch, REQUEST_SLOTS, REQUEST_NUMBERS),
    )


def _encoded(batch: SequenceBatch | PackedBatch, slots: str, numbers: str) -> Encoded | None:
    """Two columns of a batch; None where it has none."""
    if slots not in batch.columns:
        return None
    return Encoded(batch.columns[slots], batch.columns[numbers])


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


def _in_reverse(
    batch: SequenceBatch, next_ones: SequenceFeatures, lengths: tf.Tensor, slots: tf.Tensor
) -> tuple[tf.Tensor, WantedPrefixes, KnownBeside]:
    """Sequences in reverse, of which futures are prefixes.

    Args:
        batch: The sequences.
        next_ones: What features say of the items of `batch.positive_ids`.
        lengths: `[batch]` int32, slots of each.
        slots: `[num_anchors, batch]` int32, items of each future but one.

    Returns:
        `[batch, length]` ids, what is wanted of them, and what is known beside.
    """
    future_ids = reverse(batch.positive_ids, lengths)
    times = batch.columns.get(TIMES)
    if times is not None:  # What comes next in a reversed sequence came before.
        times = reverse(times[..., ::-1], lengths)
    known = KnownBeside(times, batch.columns.get(ROWS_OF_USERS))
    known = known._replace(**next_ones.reversed(lengths)._asdict())
    return future_ids, _of_reversed(future_ids, slots), known


def _in_order(
    positive_ids: tf.Tensor,
    first_slots: tf.Tensor,
    starts: tf.Tensor,
    lengths: tf.Tensor,
    slots: tf.Tensor,
) -> WantedPrefixes:
    """Futures as they were clicked: the sequences themselves, each from its anchor on alone.

    Args:
        positive_ids: `[rows, width]`, slot s has the item after the prefix that ends at s.
        first_slots: `[rows, width]` int32, where the sequence of each slot begins.
        starts: `[num_sequences]` int32, their first slots, counted through all rows.
        lengths: `[num_sequences]` int32, 0 where there is no sequence.
        slots: `[num_sequences]` int32, items of each future but one.

    Returns:
        What is wanted of `positive_ids`.
    """
    shape = tf.shape(positive_ids)
    last_slot = shape[0] * shape[1] - 1
    starts = tf.minimum(starts, last_slot)
    anchors = tf.where(lengths > 0, lengths - 1 - slots, 0)
    anchor_of = tf.scatter_nd(starts[:, tf.newaxis], anchors, [last_slot + 1])
    begins = tf.range(shape[0])[:, tf.newaxis] * shape[1] + first_slots
    first_of_future = first_slots + tf.gather(anchor_of, begins)
    # Slots before the anchor are of no use; they see themselves, as every slot must see one.
    first_of_future = tf.minimum(first_of_future, tf.range(shape[1]))
    ends = tf.minimum(starts + tf.maximum(lengths - 1, 0), last_slot)
    return WantedPrefixes(slots=ends, is_future=True, first_slots=first_of_future)


def _of_reversed(future_ids: tf.Tensor, slots: tf.Tensor) -> WantedPrefixes:
    """One prefix of every row, or several, for which every one is made.

    Args:
        future_ids: `[num_sequences, width]`.
        slots: `[num_anchors, num_sequences]` int32.
    """
    if slots.shape[0] == 1:
        return WantedPrefixes(slots=slots[0], is_future=True)
    shape = tf.shape(future_ids)
    flat = tf.reshape(tf.range(shape[0]) * shape[1] + slots, [-1])
    first_slots = tf.zeros(shape, tf.int32)
    return WantedPrefixes(slots=flat, is_future=True, first_slots=first_slots)
