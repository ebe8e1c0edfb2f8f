"""The seq2item loss: the next click against every item of the catalogue."""

import tensorflow as tf

from recall.losses.products import multiply_pairs
from recall.losses.sampled_softmax import MASKED_LOGIT, logits_of_positives, offsets_of_hidden

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
    return totals - tf.reduce_max(all_positive_logits, axis=1)


def _choose_block_rows(num_items: int, max_rows: int) -> int:
    """Items of a block: blocks of about one size, none of more than `max_rows` if they are many."""
    num_blocks = -(-num_items // max(max_rows, 1))
    rows = -(-num_items // num_blocks)
    if rows <= _ROWS_OF_ALIGNED_BLOCKS:
        return rows
    return -(-rows // _ROWS_OF_ALIGNED_BLOCKS) * _ROWS_OF_ALIGNED_BLOCKS


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
    num_items, dim = item_vectors.shape
    num_blocks = -(-num_items // block_rows)
    is_missing = tf.range(num_blocks * block_rows) >= num_items
    column_offsets = tf.where(is_missing, MASKED_LOGIT, 0.0)
    column_offsets = tf.reshape(column_offsets, [num_blocks, block_rows, 1])
    row_offsets = [None] * user_vectors.shape[0] if offsets is None else tf.unstack(offsets)

    def split(items: tf.Tensor) -> tf.Tensor:
        """`[num_blocks, block_rows, dim]`, zeros behind the last item."""
        padded = tf.pad(items, [[0, num_blocks * block_rows - num_items], [0, 0]])
        return tf.reshape(padded, [num_blocks, block_rows, dim])

    def compute_logits(users: list[tf.Tensor], items: tf.Tensor, block: tf.Tensor):
        """The logits of every interest with the items of a block, and the largest of each."""
        # All blocks alike, whether one of them is padded or not.
        columns = column_offsets[block] if num_items % block_rows else None
        logits = [
            multiply_pairs(vectors, items, row_offsets=own, column_offsets=columns)
            for vectors, own in zip(users, row_offsets, strict=True)
        ]
        best = logits[0]
        for other in logits[1:]:
            best = tf.maximum(best, other)
        return logits, best

    @tf.custom_gradient
    def compute(user_vectors: tf.Tensor, item_vectors: tf.Tensor):
        users, blocks = tf.unstack(user_vectors), split(item_vectors)

        def add_block(block: tf.Tensor, largest: tf.Tensor, total: tf.Tensor):
            _, best = compute_logits(users, blocks[block], block)
            new_largest = tf.maximum(largest, tf.reduce_max(best, axis=1))
            exponentials = tf.exp(best - new_largest[:, tf.newaxis])
            total = total * tf.exp(largest - new_largest) + tf.reduce_sum(exponentials, axis=1)
            return block + 1, new_largest, total

        nothing = tf.zeros_like(users[0][:, 0])
        _, largest, total = tf.while_loop(
            lambda block, *_: block < num_blocks,
            add_block,
            (0, nothing + MASKED_LOGIT, nothing),
            maximum_iterations=num_blocks,
        )
        totals = largest + tf.math.log(total)

        def gradient(upstream: tf.Tensor):
            factors = upstream[:, tf.newaxis]
            weighted = [tf.cast(vectors * factors, gradient_dtype) for vectors in users]

            def add_gradient(block: tf.Tensor, of_users: tf.Tensor, of_items: tf.TensorArray):
                items = blocks[block]
                logits, best = compute_logits(users, items, block)
                probabilities = tf.exp(best - totals[:, tf.newaxis])
                # In an exact tie every interest gets the gradient, as if it were the only one.
                parts = [
                    tf.cast(probabilities * tf.cast(part == best, tf.float32), gradient_dtype)
                    for part in logits
                ]
                items = tf.cast(items, gradient_dtype)
                more = tf.stack([tf.cast(tf.matmul(part, items), tf.float32) for part in parts])
                own = tf.add_n(
                    [
                        tf.cast(tf.matmul(part, vectors, transpose_a=True), tf.float32)
                        for part, vectors in zip(parts, weighted, strict=True)
                    ]
                )
                return block + 1, of_users + more, of_items.write(block, own)

            shape = [block_rows, dim]
            array = tf.TensorArray(tf.float32, num_blocks, element_shape=shape)
            _, of_users, of_items = tf.while_loop(
                lambda block, *_: block < num_blocks,
                add_gradient,
                (0, tf.zeros_like(user_vectors), array),
                maximum_iterations=num_blocks,
            )
            of_items = tf.reshape(of_items.stack(), [num_blocks * block_rows, dim])
            return of_users * factors, of_items[:num_items]

        return totals, gradient

    return compute(user_vectors, item_vectors)
