"""The interface of all interest extractors.

Every one reads slot i only for prefixes that reach it. None normalises to unit length;
the towers do.
"""

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


class WantedPrefixes(NamedTuple):
    """The prefixes whose interests are wanted, each named by its last slot.

    Attributes:
        mask: `[batch, length]` bool, those that are wanted, in the order of the rows; None:
            all of them.
        slots: `[batch]` int, one of each history: a fraction of the cost of all. With
            `first_slots` `[num_kept]`, any slots, counted through all rows. None: as `mask`
            says.
        is_future: Whether the sequences are reversed futures.
        first_slots: `[batch, length]` int, where the history of each slot begins, if rows
            hold several (`PackedBatch`); None: each row is one.
    """

    mask: tf.Tensor | None = None
    slots: tf.Tensor | None = None
    is_future: bool = False
    first_slots: tf.Tensor | None = None

    @property
    def is_one_each(self) -> bool:
        """Whether it is one prefix of each history."""
        return self.slots is not None and self.first_slots is None

    def choose(self, tensor: tf.Tensor) -> tf.Tensor:
        """The rows of `[batch, length, ...]` that are wanted, `[num_kept, ...]`; or all."""
        if self.mask is not None:
            return tf.boolean_mask(tensor, self.mask)
        if self.slots is None:
            return tensor
        flat = tf.reshape(tensor, tf.concat([[-1], tf.shape(tensor)[2:]], axis=0))
        return tf.gather(flat, self.slots)


ALL_PREFIXES = WantedPrefixes()


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
        wanted: WantedPrefixes = ALL_PREFIXES,
        item_vectors: tf.Tensor | None = None,
    ) -> InterestOutput:
        """Extracts the interests of every prefix, or of one prefix per history.

        Args:
            states: `[batch, length, dim]` float.
            wanted: Of which prefixes.
            item_vectors: `[batch, length, dim]` float, of the clicked items themselves,
                zero at padding; only for an extractor that `reads_items`.

        Returns:
            `InterestOutput`, `[batch, length, ...]`, with a mask
            `[num_kept, ...]` and with slots `[batch, ...]` or `[num_kept, ...]`.
        """
        extract = self._extract_at if wanted.is_one_each else self._extract_all
        return extract(states, wanted, item_vectors)

    def _extract_all(
        self, states: tf.Tensor, wanted: WantedPrefixes, item_vectors: tf.Tensor | None
    ) -> InterestOutput:
        """Every prefix at once; `wanted.choose` may come before what is dear."""
        raise NotImplementedError

    def _extract_at(
        self, states: tf.Tensor, wanted: WantedPrefixes, item_vectors: tf.Tensor | None
    ) -> InterestOutput:
        """One prefix per history."""
        raise NotImplementedError
