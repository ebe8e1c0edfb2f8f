"""What features say of the clicks of sequences: read once, and cut into past and future.

The gradients of slices and gathers of TensorFlow fill tensors of zeros; what is here has some
that are as cheap as the operations.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from recall.layers.event_features import ReadValues

_Gradient = Callable[[tf.Tensor], tf.Tensor]


class SequenceFeatures(NamedTuple):
    """What features say of the clicks of sequences; None where there are none.

    Attributes:
        contents: `[batch, length, dim]` of the items.
        events: `[batch, length, dim]` of the events, and of nothing.
    """

    contents: tf.Tensor | None
    events: ReadValues | None

    def of_past(self) -> "SequenceFeatures":
        """Without the last slot, which nothing follows."""
        return self._each(lambda vectors: _cut(vectors, 0))

    def of_next(self) -> "SequenceFeatures":
        """Without the first slot, so that each has the click after it."""
        return self._each(lambda vectors: _cut(vectors, 1))

    def reversed(self, lengths: tf.Tensor) -> "SequenceFeatures":
        """The first `lengths[i]` slots of row i in reverse."""
        return self._each(lambda vectors: _reverse_vectors(vectors, lengths))

    def _each(self, change: Callable[[tf.Tensor], tf.Tensor]) -> "SequenceFeatures":
        contents, events = self
        if events is not None:
            events = events._replace(vectors=change(events.vectors))
        return SequenceFeatures(None if contents is None else change(contents), events)


def reverse(values: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """Reverses the first `lengths[i]` of row i; `tf.reverse_sequence` has no GPU kernel.

    >>> reverse(tf.constant([[1, 2, 3, 0], [1, 2, 3, 4]]), tf.constant([3, 4])).numpy()
    array([[3, 2, 1, 0],
           [4, 3, 2, 1]], dtype=int32)
    """
    slots = tf.range(tf.shape(values)[1])
    lengths = lengths[:, tf.newaxis]
    return tf.gather(values, tf.where(slots < lengths, lengths - 1 - slots, slots), batch_dims=1)


def _reverse_vectors(vectors: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
    """The same of what is learnt: its gradient is reversed back."""

    @tf.custom_gradient
    def run(values: tf.Tensor) -> tuple[tf.Tensor, _Gradient]:
        return reverse(values, lengths), lambda upstream: reverse(upstream, lengths)

    return run(vectors)


def _cut(vectors: tf.Tensor, start: int) -> tf.Tensor:
    """All slots but the last one, or, from `start` 1 on, but the first one."""

    @tf.custom_gradient
    def run(values: tf.Tensor) -> tuple[tf.Tensor, _Gradient]:
        nothing = tf.zeros_like(values[:, :1])

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.concat([nothing, upstream] if start else [upstream, nothing], axis=1)

        return values[:, start : tf.shape(values)[1] - 1 + start], gradient

    return run(vectors)
