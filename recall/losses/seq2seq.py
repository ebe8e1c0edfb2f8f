"""The latent seq2seq loss: the main interests of the whole future."""

import math
from collections.abc import Callable

import tensorflow as tf

from recall.losses.largest import mark_largest
from recall.losses.products import multiply_pairs
from recall.losses.sampled_softmax import MASKED_LOGIT


def seq2seq_loss(
    past_vectors: tf.Tensor,
    future_vectors: tf.Tensor,
    is_valid: tf.Tensor,
    *,
    temperature: float,
    max_gradient_pairs: int | None = None,
    owners: tf.Tensor | None = None,
    queued_vectors: tf.Tensor | None = None,
) -> tf.Tensor:
    """Cross-entropy of each past interest with the same interest of its future.

    The negatives of interest k of user u are all other interests of all valid
    users of the batch, the other interests of u's own future included: those
    are what disentangles the interests. Those of another future of u are none: they
    are as right.

    Args:
        past_vectors: `[batch, num_interests, dim]` float.
        future_vectors: `[batch, num_interests, dim]` float, row i is the future
            of past i.
        is_valid: `[batch]` bool, False where a sequence has no future; or
            `[batch, num_interests]`, False where an interest is no part of both: it is neither
            compared nor a negative.
        temperature: Divides the inner products, > 0 (the paper: sqrt(dim) on
            vectors that are layer-normalised; here vectors of the towers).
        max_gradient_pairs: Upper bound of the pairs whose loss has a gradient, so that
            no shape depends on them; the first ones get it. None: no bound.
        owners: `[batch]` int, the user of each row; None: each row is of another one.
        queued_vectors: `[num_queued, num_interests, dim]` float, futures of other users that
            are negatives without a gradient; zeros where there is none. None: no such.

    Returns:
        `[batch, num_interests]` float, unreduced, >= 0; 0 where not valid.

    Reference:
        Ma et al., "Disentangled Self-Supervision in Sequential Recommenders",
        KDD 2020, equation 5 (seq2seq).
    """
    shape = tf.shape(past_vectors)
    batch, num_interests, dim = shape[0], shape[1], shape[2]
    past = tf.reshape(past_vectors, [batch * num_interests, dim])
    future = tf.reshape(future_vectors, [batch * num_interests, dim])
    pair_is_valid = columns_are_there = _by_pair(is_valid, num_interests)
    if queued_vectors is not None:
        queued = tf.reshape(queued_vectors, [-1, dim])
        future = tf.concat([future, tf.stop_gradient(queued)], axis=0)
        is_filled = tf.reduce_any(queued != 0, axis=1)
        columns_are_there = tf.concat([columns_are_there, is_filled], axis=0)
    offsets = tf.where(columns_are_there, 0.0, MASKED_LOGIT)
    others = None if owners is None else _mark_other_futures(owners, num_interests)
    losses = _cross_entropy_with_own(
        past / temperature, future, offsets, others, max_gradient_pairs
    )
    losses = tf.where(pair_is_valid, losses, 0.0)
    return tf.reshape(losses, [batch, num_interests])


def _by_pair(is_valid: tf.Tensor, num_interests: int | tf.Tensor) -> tf.Tensor:
    """`[batch]` or `[batch, num_interests]` -> `[num_pairs]` bool."""
    is_valid = tf.convert_to_tensor(is_valid)
    if is_valid.shape.rank == 1:
        return tf.repeat(is_valid, num_interests)
    return tf.reshape(is_valid, [-1])


def _mark_other_futures(owners: tf.Tensor, num_interests: tf.Tensor) -> tf.Tensor:
    """`[num_pairs, num_pairs]` bool, True between a past and another future of the same user."""
    is_same_user = owners[:, tf.newaxis] == owners
    is_same_row = tf.eye(tf.shape(owners)[0], dtype=tf.int32) > 0
    is_other = is_same_user & ~is_same_row
    return tf.repeat(tf.repeat(is_other, num_interests, axis=0), num_interests, axis=1)


def _cross_entropy_with_own(
    past: tf.Tensor,
    future: tf.Tensor,
    column_offsets: tf.Tensor,
    is_left_out: tf.Tensor | None,
    max_gradient_pairs: int | None,
) -> tf.Tensor:
    """`[num_pairs]` cross-entropy of row i of `past` with row i of `future`.

    Only the confident pairs have a gradient, so it is computed for them alone,
    where TensorFlow's would pass over all pairs of pairs several times.

    Args:
        past: `[num_pairs, dim]` float, already divided by the temperature.
        future: `[num_columns, dim]` float, rows behind those of the pairs are negatives.
        column_offsets: `[num_columns]` float, added to the logits of each row of `future`.
        is_left_out: `[num_pairs, num_pairs]` bool, pairs that are not in the denominators;
            None: there is none.
        max_gradient_pairs: As in `seq2seq_loss`.
    """

    @tf.custom_gradient
    def compute(
        past: tf.Tensor, future: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        logits = multiply_pairs(past, future, column_offsets=column_offsets[:, tf.newaxis])
        if is_left_out is not None:
            behind = tf.shape(future)[0] - tf.shape(past)[0]
            logits = tf.where(tf.pad(is_left_out, [[0, 0], [0, behind]]), MASKED_LOGIT, logits)
        totals = tf.reduce_logsumexp(logits, axis=1)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows, weights = _find_nonzero(upstream, max_gradient_pairs)
            own_past, own_future = tf.gather_nd(past, rows), tf.gather_nd(future, rows)
            own_totals = tf.gather_nd(totals, rows)[:, tf.newaxis]
            slopes = weights * tf.exp(tf.gather_nd(logits, rows) - own_totals)
            past_gradient = tf.matmul(slopes, future) - weights * own_future
            future_gradient = tf.matmul(slopes, own_past, transpose_a=True)
            return (
                tf.scatter_nd(rows, past_gradient, tf.shape(past, tf.int64)),
                tf.tensor_scatter_nd_sub(future_gradient, rows, weights * own_past),
            )

        return totals - tf.linalg.diag_part(logits), gradient

    return compute(past, future)


def _find_nonzero(values: tf.Tensor, max_found: int | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Where `[num_pairs]` values are not zero, and those values, in their order.

    Args:
        values: `[num_pairs]` float.
        max_found: Rows of the answer, whatever the values: at its end row 0 with a value
            of 0, as often as it takes. None: as many as there are.

    Returns:
        `[num_found, 1]` int64 rows and `[num_found, 1]` values.
    """
    if max_found is None:
        rows = tf.where(values != 0)
        return rows, tf.gather(values, rows[:, 0])[:, tf.newaxis]
    places = tf.cumsum(tf.cast(values != 0, tf.int32))
    num_found = places[-1]
    # One place more takes all that is left out.
    places = tf.where((values != 0) & (places <= max_found), places - 1, max_found)
    numbers = tf.range(tf.size(values, tf.int64), dtype=tf.int64)
    rows = tf.scatter_nd(places[:, tf.newaxis], numbers, [max_found + 1])[:max_found]
    is_found = tf.range(max_found) < num_found
    found = tf.where(is_found, tf.gather(values, rows), 0.0)
    return rows[:, tf.newaxis], found[:, tf.newaxis]


def select_confident_pairs(
    losses: tf.Tensor, is_valid: tf.Tensor, *, confident_fraction: float
) -> tf.Tensor:
    """Marks the pairs with the smallest losses: futures that follow from the past.

    Args:
        losses: `[batch, num_interests]` float, from `seq2seq_loss`.
        is_valid: `[batch]` or `[batch, num_interests]` bool.
        confident_fraction: Share of the valid pairs kept, rounded down (lambda
            in the paper). The share is of the valid pairs of this batch.

    Returns:
        `[batch, num_interests]` bool, floor(confident_fraction * n) of the n
        valid pairs are True; of equal losses the earlier pair wins.

    Reference:
        Ma et al., "Disentangled Self-Supervision in Sequential Recommenders",
        KDD 2020, section 3.4.
    """
    shape = tf.shape(losses)
    pair_is_valid = _by_pair(is_valid, shape[1])
    num_valid = tf.reduce_sum(tf.cast(pair_is_valid, tf.int32))
    num_kept = count_confident_pairs(num_valid, 1, confident_fraction)
    gains = tf.where(pair_is_valid, -tf.reshape(losses, [-1]), tf.float32.min)
    return tf.reshape(mark_largest(gains, num_kept), shape)


def select_confident_of_users(
    losses: tf.Tensor, is_valid: tf.Tensor, *, confident_fraction: float
) -> tf.Tensor:
    """Marks the pairs with the smallest losses of each user, of every valid user as many.

    Args:
        losses: `[batch, num_interests]` float, from `seq2seq_loss`.
        is_valid: `[batch]` or `[batch, num_interests]` bool.
        confident_fraction: Share of a user's pairs, rounded down, but at least one pair. Of a
            user with fewer valid ones, those.

    Returns:
        `[batch, num_interests]` bool; of equal losses the earlier interest wins.
    """
    num_kept = pairs_of_user(losses.shape[1], confident_fraction)
    pair_is_valid = tf.reshape(_by_pair(is_valid, losses.shape[1]), tf.shape(losses))
    gains = tf.where(pair_is_valid, -losses, tf.float32.min)
    return tf.transpose(mark_largest(tf.transpose(gains), num_kept)) & pair_is_valid


def pairs_of_user(num_interests: int, confident_fraction: float) -> int:
    """How many pairs `select_confident_of_users` marks of a user.

    >>> pairs_of_user(8, 0.3), pairs_of_user(2, 0.3)
    (2, 1)
    """
    return max(1, math.floor(confident_fraction * num_interests + 1e-9))


def count_confident_pairs(
    num_sequences: tf.Tensor, num_interests: int | tf.Tensor, confident_fraction: float
) -> tf.Tensor:
    """How many pairs `select_confident_pairs` marks, as int32: no loss has to be known.

    >>> int(count_confident_pairs(tf.constant(2), 4, 0.3))
    2
    """
    num_valid = num_interests * num_sequences
    # In float64: .3 * 10 must not round down to 2.
    return tf.cast(tf.floor(confident_fraction * tf.cast(num_valid, tf.float64) + 1e-9), tf.int32)


def reduce_confident(
    losses: tf.Tensor, is_confident: tf.Tensor, num_confident: tf.Tensor | None = None
) -> tf.Tensor:
    """Mean loss of the confident pairs; 0 with a finite gradient where there is none.

    Args:
        losses: `[batch, num_interests]` float.
        is_confident: `[batch, num_interests]` bool.
        num_confident: What the sum is divided by, where these are a part of the pairs.
    """
    kept = tf.where(is_confident, losses, 0.0)
    if num_confident is None:
        num_confident = tf.reduce_sum(tf.cast(is_confident, losses.dtype))
    num_kept = tf.cast(num_confident, losses.dtype)
    return tf.math.divide_no_nan(tf.reduce_sum(kept), num_kept)
