"""The seq2item loss: the next click against every item of the catalogue."""

from collections.abc import Callable

import tensorflow as tf

from recall.losses.products import multiply_pairs
from recall.losses.sampled_softmax import (
    MASKED_LOGIT,
    add_logsumexp,
    logits_of_positives,
    offsets_of_hidden,
)

_Gradient = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

_BLOCK_ELEMENTS = 1 << 25
"""Logits computed at once: 128 MiB, and a few times that while they are used."""

_UNKNOWN_BATCH = 1024
"""Rows that blocks are made for where a step does not know its own before it runs."""

_ROWS_OF_ALIGNED_BLOCKS = 64
"""Blocks of many items have a multiple of it, which suits the matrix units of GPUs."""


def full_softmax_loss(
    user_vectors: tf.Tensor,
    positive_vectors: tf.Tensor,
    item_vectors: tf.Tensor,
    interest_mask: tf.Tensor | None = None,
    *,
    temperature: float,
    interest_reduction: str = "max",
    gradient_dtype: tf.DType = tf.float32,
    max_elements: int = _BLOCK_ELEMENTS,
    own_logsumexp: tf.Tensor | None = None,
) -> tf.Tensor:
    """Cross-entropy of each positive item within the whole catalogue.

    What `sampled_softmax_loss` estimates from a sample, exactly: its value with every
    item as a negative but the positive itself. Logits are computed in blocks of items,
    once for the sum and once more for the gradient, so that memory does not grow with
    the catalogue beyond its vectors and their gradient.

    Args:
        user_vectors: `[batch, num_interests, dim]` float.
        positive_vectors: `[batch, dim]` float, row i belongs to user i; rows of
            `item_vectors`.
        item_vectors: `[num_items, dim]` float, the catalogue; its length has to be known
            when the step is traced.
        interest_mask: `[batch, num_interests]` bool, False leaves an interest
            out of its user's loss; every user keeps at least one. None keeps all.
        temperature: Divides the scores, > 0.
        interest_reduction: `max` or `argmax`, as in `sampled_softmax_loss`.
        gradient_dtype: Of the products of the gradient; sums are in float32.
        max_elements: Logits computed at once, at most (of a batch whose size is known).
        own_logsumexp: As in `sampled_softmax_loss`: these negatives then count twice.

    Returns:
        `[batch]` float, one unreduced loss per user, >= 0 but for rounding.

    >>> x, y = tf.constant([[[1.0, 0.0]]]), tf.constant([[1.0, 0.0]])
    >>> items = tf.constant([[1.0, 0.0], [0.0, 1.0]])
    >>> full_softmax_loss(x, y, items, temperature=1.0).numpy().round(4)
    array([0.3133], dtype=float32)
    """
    all_positive_logits = logits_of_positives(
        user_vectors, positive_vectors, interest_mask, temperature
    )
    if interest_reduction == "argmax":
        nearest = tf.argmax(all_positive_logits, axis=1)
        user_vectors = tf.gather(user_vectors, nearest, batch_dims=1)[:, tf.newaxis, :]
        interest_mask = None
    num_items, num_interests = item_vectors.shape[0], user_vectors.shape[1]
    batch = user_vectors.shape[0] or _UNKNOWN_BATCH
    block_rows = _choose_block_rows(num_items, max_elements // (batch * num_interests))
    totals = _logsumexp_in_blocks(
        tf.transpose(user_vectors, [1, 0, 2]) / temperature,
        item_vectors,
        offsets_of_hidden(interest_mask),
        block_rows,
        gradient_dtype,
    )
    totals = add_logsumexp(totals, own_logsumexp)
    return totals - tf.reduce_max(all_positive_logits, axis=1)


def _choose_block_rows(num_items: int, max_rows: int) -> int:
    """Items of a block: blocks of about one size, none of more than `max_rows` if they are many."""
    num_blocks = -(-num_items // max(max_rows, 1))
    rows = -(-num_items // num_blocks)
    if rows <= _ROWS_OF_ALIGNED_BLOCKS:
        return rows
    return -(-rows // _ROWS_OF_ALIGNED_BLOCKS) * _ROWS_OF_ALIGNED_BLOCKS


class _Blocks:
    """A catalogue in blocks of one size, the last one filled up with rows that count nothing.

    Attributes:
        count: Number of blocks.
    """

    def __init__(
        self, num_items: int, block_rows: int, num_interests: int, offsets: tf.Tensor | None
    ):
        """Divides a catalogue; `offsets` are those of `_logsumexp_in_blocks`."""
        self.count = -(-num_items // block_rows)
        self._num_items, self._block_rows = num_items, block_rows
        is_missing = tf.range(self.count * block_rows) >= num_items
        column_offsets = tf.where(is_missing, MASKED_LOGIT, 0.0)
        self._column_offsets = tf.reshape(column_offsets, [self.count, block_rows, 1])
        self._row_offsets = [None] * num_interests if offsets is None else tf.unstack(offsets)

    def split(self, items: tf.Tensor) -> tf.Tensor:
        """`[num_items, dim]` -> `[count, block_rows, dim]`, zeros behind the last item."""
        num_missing = self.count * self._block_rows - self._num_items
        padded = tf.pad(items, [[0, num_missing], [0, 0]])
        return tf.reshape(padded, [self.count, self._block_rows, items.shape[1]])

    def join(self, blocks: tf.Tensor) -> tf.Tensor:
        """`[count, block_rows, dim]` -> `[num_items, dim]`."""
        rows = tf.reshape(blocks, [self.count * self._block_rows, blocks.shape[2]])
        return rows[: self._num_items]

    def compute_logits(
        self, users: list[tf.Tensor], items: tf.Tensor, block: tf.Tensor
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """The logits of every interest with the items of a block, and the largest of each."""
        # All blocks alike, whether one of them is padded or not.
        is_padded = self._num_items % self._block_rows > 0
        columns = self._column_offsets[block] if is_padded else None
        logits = [
            multiply_pairs(vectors, items, row_offsets=own, column_offsets=columns)
            for vectors, own in zip(users, self._row_offsets, strict=True)
        ]
        best = logits[0]
        for other in logits[1:]:
            best = tf.maximum(best, other)
        return logits, best


def _logsumexp_in_blocks(
    user_vectors: tf.Tensor,
    item_vectors: tf.Tensor,
    offsets: tf.Tensor | None,
    block_rows: int,
    gradient_dtype: tf.DType,
) -> tf.Tensor:
    """`[batch]` log-sum-exp over all items of their largest logit of any interest.

    Args:
        user_vectors: `[num_interests, batch, dim]` float, already divided by the
            temperature.
        item_vectors: `[num_items, dim]` float.
        offsets: `[num_interests, batch, 1]` float added to the logits, without a
            gradient; None adds nothing.
        block_rows: Items whose logits are computed at once.
        gradient_dtype: Of the gradient's products.
    """
    blocks = _Blocks(item_vectors.shape[0], block_rows, user_vectors.shape[0], offsets)

    @tf.custom_gradient
    def compute(user_vectors: tf.Tensor, item_vectors: tf.Tensor) -> tuple[tf.Tensor, _Gradient]:
        users, items = tf.unstack(user_vectors), blocks.split(item_vectors)
        totals = _sum_up(blocks, users, items)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            factors = upstream[:, tf.newaxis]
            weighted = [tf.cast(vectors * factors, gradient_dtype) for vectors in users]
            of_users, of_items = _differentiate(blocks, users, weighted, items, totals)
            return of_users * factors, blocks.join(of_items)

        return totals, gradient

    return compute(user_vectors, item_vectors)


def _sum_up(blocks: _Blocks, users: list[tf.Tensor], items: tf.Tensor) -> tf.Tensor:
    """`[batch]` log-sum-exp over all blocks, of sums whose largest logit grows as they do.

    Args:
        blocks: Of the catalogue.
        users: `[batch, dim]` of each interest.
        items: As `blocks.split` gives them.
    """

    def add_block(
        block: tf.Tensor, largest: tf.Tensor, total: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        _, best = blocks.compute_logits(users, items[block], block)
        new_largest = tf.maximum(largest, tf.reduce_max(best, axis=1))
        exponentials = tf.exp(best - new_largest[:, tf.newaxis])
        total = total * tf.exp(largest - new_largest) + tf.reduce_sum(exponentials, axis=1)
        return block + 1, new_largest, total

    nothing = tf.zeros_like(users[0][:, 0])
    _, largest, total = tf.while_loop(
        lambda block, *_: block < blocks.count,
        add_block,
        (0, nothing + MASKED_LOGIT, nothing),
        maximum_iterations=blocks.count,
    )
    return largest + tf.math.log(total)


def _differentiate(
    blocks: _Blocks,
    users: list[tf.Tensor],
    weighted: list[tf.Tensor],
    items: tf.Tensor,
    totals: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The gradients; those of the users are still to be multiplied by what comes from above.

    Args:
        blocks: Of the catalogue.
        users: `[batch, dim]` of each interest.
        weighted: The same, times what comes from above, in the type of the products.
        items: As `blocks.split` gives them.
        totals: `[batch]` of `_sum_up`.

    Returns:
        `[num_interests, batch, dim]`, and blocks of the items.
    """

    def add_gradient(
        block: tf.Tensor, of_users: tf.Tensor, of_items: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.Tensor, tf.TensorArray]:
        own_items = items[block]
        logits, best = blocks.compute_logits(users, own_items, block)
        probabilities = tf.exp(best - totals[:, tf.newaxis])
        dtype = weighted[0].dtype
        # In an exact tie every interest gets the gradient, as if it were the only one.
        parts = [
            tf.cast(probabilities * tf.cast(part == best, tf.float32), dtype) for part in logits
        ]
        own_items = tf.cast(own_items, dtype)
        more = tf.stack([tf.cast(tf.matmul(part, own_items), tf.float32) for part in parts])
        own = tf.add_n(
            [
                tf.cast(tf.matmul(part, vectors, transpose_a=True), tf.float32)
                for part, vectors in zip(parts, weighted, strict=True)
            ]
        )
        return block + 1, of_users + more, of_items.write(block, own)

    array = tf.TensorArray(tf.float32, blocks.count, element_shape=items.shape[1:])
    _, of_users, of_items = tf.while_loop(
        lambda block, *_: block < blocks.count,
        add_gradient,
        (0, tf.zeros_like(tf.stack(users)), array),
        maximum_iterations=blocks.count,
    )
    return of_users, of_items.stack()
