"""The interface of all interest extractors.

Every one reads slot i only for prefixes that reach it. None normalises to unit length;
the towers do.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from recall.layers.attention import MASKED_SCORE, softmax


class InterestOutput(NamedTuple):
    """Interests of prefixes.

    Attributes:
        vectors: `[..., num_interests, dim]` float. The leading axes are
            `[batch, length]` for every prefix, `[num_kept]` for the prefixes
            under a mask and `[batch]` for one prefix per history.
        weights: `[..., num_interests]` float, >= 0, sum 1: how much of the
            prefix belongs to each interest.
    """

    vectors: tf.Tensor
    weights: tf.Tensor


def prefix_softmax(scores: tf.Tensor, slots: tf.Tensor) -> tf.Tensor:
    """Softmax over the slots up to one slot per history.

    Args:
        scores: `[batch, ..., length]` float.
        slots: `[batch]` int, the last slot that takes part.

    Returns:
        `[batch, ..., length]` float, zero right of `slots`.
    """
    is_later = tf.range(tf.shape(scores)[-1]) > tf.cast(slots[:, tf.newaxis], tf.int32)
    is_later = tf.cast(is_later, tf.float32)
    for _ in range(scores.shape.rank - 2):
        is_later = is_later[:, tf.newaxis]
    return softmax(scores, MASKED_SCORE * is_later)


def choose_slots(
    slot_mask: tf.Tensor | None, flat_slots: tf.Tensor | None
) -> Callable[[tf.Tensor], tf.Tensor]:
    """The function that keeps the wanted slots of `[batch, length, ...]` tensors.

    Args:
        slot_mask: `[batch, length]` bool; the result is as long as it has True.
        flat_slots: `[num_kept]` int, slots counted through all rows.
    """
    if slot_mask is not None:
        return lambda tensor: tf.boolean_mask(tensor, slot_mask)
    if flat_slots is None:
        return lambda tensor: tensor

    def gather(tensor: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], axis=0))
        return tf.gather(flat, flat_slots)

    return gather


class InterestExtractor(tf.keras.layers.Layer):
    """The interface of all extractors.

    Attributes:
        num_interests: Interest vectors per prefix.
        num_prototypes: Prototypes that it routes items to; 0 where it does not.
        reads_items: Whether it needs `item_vectors`.
    """

    num_interests: int
    num_prototypes = 0
    reads_items = False

    def call(
        self,
        states: tf.Tensor,
        slot_mask: tf.Tensor | None = None,
        slots: tf.Tensor | None = None,
        is_future: bool = False,
        first_slots: tf.Tensor | None = None,
        item_vectors: tf.Tensor | None = None,
    ) -> InterestOutput:
        """Extracts the interests of every prefix, or of one prefix per history.

        Args:
            states: `[batch, length, dim]` float.
            slot_mask: `[batch, length]` bool, the prefixes (by their last slot)
                that are wanted, in the order of the rows; None means all.
            slots: `[batch]` int, the last slot of the one prefix of each
                history that is wanted: a fraction of the cost of all prefixes. With
                `first_slots` `[num_kept]`, any slots, counted through all rows.
            is_future: Whether the sequences are reversed futures.
            first_slots: `[batch, length]` int, where the history of each slot begins,
                if rows hold several (`PackedBatch`).
            item_vectors: `[batch, length, dim]` float, of the clicked items themselves,
                zero at padding; only for an extractor that `reads_items`.

        Returns:
            `InterestOutput`, `[batch, length, ...]`, with a mask
            `[num_kept, ...]` and with slots `[batch, ...]` or `[num_kept, ...]`.
        """
        if slots is not None and first_slots is None:
            return self._extract_at(states, slots, is_future, item_vectors)
        choose = choose_slots(slot_mask, slots)
        return self._extract_all(states, choose, is_future, first_slots, item_vectors)

    def _extract_all(
        self,
        states: tf.Tensor,
        choose: Callable[[tf.Tensor], tf.Tensor],
        is_future: bool,
        first_slots: tf.Tensor | None,
        item_vectors: tf.Tensor | None,
    ) -> InterestOutput:
        """The prefixes whose last slots are chosen; `choose` may come before what is dear."""
        raise NotImplementedError

    def _extract_at(
        self,
        states: tf.Tensor,
        slots: tf.Tensor,
        is_future: bool,
        item_vectors: tf.Tensor | None,
    ) -> InterestOutput:
        """One prefix per history."""
        raise NotImplementedError
