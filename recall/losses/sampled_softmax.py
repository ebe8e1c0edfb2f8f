"""The seq2item loss: the next click against sampled items."""

from collections.abc import Callable

import tensorflow as tf

from recall.losses.products import multiply_pairs

MASKED_LOGIT = -1e9
"""Replaces the logit of a dropped pair: exp of it is 0 beside any real logit."""

_CACHE_LINE = 16
"""Floats of one."""


def sampled_softmax_loss(
    user_vectors: tf.Tensor,
    positive_vectors: tf.Tensor,
    negative_vectors: tf.Tensor,
    negative_mask: tf.Tensor | None = None,
    interest_mask: tf.Tensor | None = None,
    negative_corrections: tf.Tensor | None = None,
    *,
    temperature: float,
    interest_reduction: str = "max",
    gradient_dtype: tf.DType = tf.float32,
    own_logsumexp: tf.Tensor | None = None,
) -> tf.Tensor:
    """Cross-entropy of each positive item against shared negatives.

    The score of an item is its largest inner product with any interest. What
    the negatives meet in the denominator is chosen by `interest_reduction`:

    - `max`: their own best interest, which is how items are ranked in serving;
    - `sum`: every interest (the DSSRec paper's sum over k);
    - `argmax`: the interest nearest to the positive (MIND, ComiRec).

    Args:
        user_vectors: `[batch, num_interests, dim]` float.
        positive_vectors: `[batch, dim]` float, row i belongs to user i.
        negative_vectors: `[num_negatives, dim]` float, shared by all users.
        negative_mask: `[batch, num_negatives]` bool, False drops a pair (an
            accidental hit). None keeps all.
        interest_mask: `[batch, num_interests]` bool, False leaves an interest
            out of its user's loss; every user keeps at least one. None keeps all.
        negative_corrections: `[num_negatives]` float added to the logits of negatives that
            are not drawn evenly (log-q); None adds nothing.
        temperature: Divides the scores, > 0.
        interest_reduction: `max`, `sum` or `argmax`.
        gradient_dtype: Of the products of the gradient, except under `sum`:
            `tf.bfloat16` halves their cost on CPUs that have it; their rounding
            errors are below 1 % of the largest entry and unbiased.
        own_logsumexp: `[batch]` float of `logsumexp_of_own`, negatives that users have
            beside the shared ones; None: no user has any.

    Returns:
        `[batch]` float, one unreduced loss per user, >= 0.

    Reference:
        Ma et al., "Disentangled Self-Supervision in Sequential Recommenders",
        KDD 2020, equation 3 (seq2item).

    >>> x = tf.constant([[[1.0, 0.0]]])
    >>> y, n = tf.constant([[1.0, 0.0]]), tf.constant([[0.0, 1.0]])
    >>> sampled_softmax_loss(x, y, n, temperature=1.0).numpy().round(4)
    array([0.3133], dtype=float32)
    """
    all_positive_logits = logits_of_positives(
        user_vectors, positive_vectors, interest_mask, temperature
    )
    positive_logits = tf.reduce_max(all_positive_logits, axis=1)
    if interest_reduction == "argmax":
        nearest = tf.argmax(all_positive_logits, axis=1)
        user_vectors = tf.gather(user_vectors, nearest, batch_dims=1)[:, tf.newaxis, :]
        interest_mask = None
    if negative_mask is None:
        negative_mask = tf.ones([tf.shape(user_vectors)[0], tf.shape(negative_vectors)[0]], bool)
    if negative_corrections is not None:
        # One more coordinate adds them: no other pass over all pairs.
        user_vectors = tf.concat([user_vectors, tf.ones_like(user_vectors[..., :1])], axis=2)
        column = temperature * tf.cast(negative_corrections, negative_vectors.dtype)
        negative_vectors = tf.concat([negative_vectors, column[:, tf.newaxis]], axis=1)
    negative_vectors, negative_mask = _widen_rows(negative_vectors, negative_mask)
    # Interests first: the reduction over them then runs over contiguous memory.
    user_vectors = tf.transpose(user_vectors, [1, 0, 2]) / temperature
    offsets = offsets_of_hidden(interest_mask)
    if interest_reduction == "sum":
        negatives = _logsumexp_of_all(user_vectors, negative_vectors, negative_mask, offsets)
        negatives = add_logsumexp(negatives, own_logsumexp)
        positives = tf.reduce_logsumexp(all_positive_logits, axis=1)
        return tf.math.softplus(negatives - positives) + (positives - positive_logits)
    negatives = _logsumexp_of_best(
        user_vectors, negative_vectors, negative_mask, offsets, gradient_dtype
    )
    negatives = add_logsumexp(negatives, own_logsumexp)
    return tf.math.softplus(negatives - positive_logits)


def interest_softmax_loss(
    user_vectors: tf.Tensor,
    positive_vectors: tf.Tensor,
    negative_vectors: tf.Tensor,
    negative_mask: tf.Tensor,
    interests: tf.Tensor,
    *,
    temperature: float,
    gradient_dtype: tf.DType = tf.float32,
    has_static_shapes: bool = False,
    own_logsumexp: tf.Tensor | None = None,
) -> tf.Tensor:
    """Cross-entropy of each positive item within the interest that it belongs to.

    Only that interest takes part, and it meets the negatives of its own. A softmax over
    all pairs of an interest and an item, as in the article, leaves log p(interest) in
    the scores; where the best interest wins a click, one that wins more then comes to
    win more still: of four, one had all clicks after three epochs (measured, TRIALS.md).

    Args:
        user_vectors: `[batch, num_interests, dim]` float.
        positive_vectors: `[batch, dim]` float, row i belongs to user i.
        negative_vectors: `[num_interests, num_negatives, dim]` float.
        negative_mask: `[num_interests, batch, num_negatives]` bool, False drops a pair.
        interests: `[batch]` int, the interest of each positive.
        temperature: Divides the scores, > 0.
        gradient_dtype: As in `sampled_softmax_loss`.
        has_static_shapes: Computes the loss of every positive within every interest, so
            that no shape depends on how many positives an interest has; the products
            cost `num_interests` times as much.
        own_logsumexp: As in `sampled_softmax_loss`, of the interest of each positive.

    Returns:
        `[batch]` float, one unreduced loss per user, >= 0.

    Reference:
        Zhou et al., "Contrastive Learning for Debiased Candidate Generation in
        Large-Scale Recommender Systems", KDD 2021 (Multi-CLRec).
    """
    rows_of_interest, losses = [], []
    parts = zip(tf.unstack(negative_vectors), tf.unstack(negative_mask), strict=True)
    for interest, (vectors, mask) in enumerate(parts):
        rows = None if has_static_shapes else tf.where(interests == interest)[:, 0]
        own_vectors, positives, mask, own = (
            tensor if rows is None or tensor is None else tf.gather(tensor, rows)
            for tensor in (
                user_vectors[:, interest : interest + 1],
                positive_vectors,
                mask,
                own_logsumexp,
            )
        )
        loss = sampled_softmax_loss(
            own_vectors,
            positives,
            vectors,
            mask,
            temperature=temperature,
            gradient_dtype=gradient_dtype,
            own_logsumexp=own,
        )
        losses.append(loss)
        rows_of_interest.append(None if rows is None else tf.cast(rows, tf.int32))
    if has_static_shapes:
        shares = tf.one_hot(interests, len(losses), dtype=losses[0].dtype)
        return tf.reduce_sum(tf.stack(losses, axis=1) * shares, axis=1)
    return tf.dynamic_stitch(rows_of_interest, losses)


def logits_of_positives(
    user_vectors: tf.Tensor,
    positive_vectors: tf.Tensor,
    interest_mask: tf.Tensor | None,
    temperature: float,
) -> tf.Tensor:
    """`[batch, num_interests]` logits of each positive with every interest that is not hidden."""
    logits = tf.reduce_sum(user_vectors * positive_vectors[:, tf.newaxis, :], axis=2) / temperature
    return logits if interest_mask is None else tf.where(interest_mask, logits, MASKED_LOGIT)


def add_logsumexp(one: tf.Tensor, other: tf.Tensor | None) -> tf.Tensor:
    """The log-sum-exp of two sets of logits from those of each, `[batch]`; None is an empty set."""
    if other is None:
        return one
    return tf.reduce_logsumexp(tf.stack([one, other]), axis=0)


def _widen_rows(
    negative_vectors: tf.Tensor, negative_mask: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Adds masked negatives where rows of logits would be a multiple of 1 KiB.

    A product that reads such rows by columns takes twice the time, as the entries of
    a column all want the same few lines of a cache (measured, TRIALS.md).

    Args:
        negative_vectors: `[num_negatives, dim]` float.
        negative_mask: `[batch, num_negatives]` bool.
    """
    num_negatives = negative_vectors.shape[0]
    if num_negatives is None or num_negatives % (16 * _CACHE_LINE) > 0:
        return negative_vectors, negative_mask
    more_vectors = tf.zeros_like(negative_vectors[:_CACHE_LINE])
    more_mask = tf.zeros_like(negative_mask[:, :_CACHE_LINE])
    return (
        tf.concat([negative_vectors, more_vectors], axis=0),
        tf.concat([negative_mask, more_mask], axis=1),
    )


def offsets_of_hidden(interest_mask: tf.Tensor | None) -> tf.Tensor | None:
    """`[num_interests, batch, 1]` to be added to logits; None where nothing is hidden."""
    if interest_mask is None:
        return None
    return tf.where(tf.transpose(interest_mask)[:, :, tf.newaxis], 0.0, MASKED_LOGIT)


def _logsumexp_of_all(
    user_vectors: tf.Tensor,
    negative_vectors: tf.Tensor,
    negative_mask: tf.Tensor,
    offsets: tf.Tensor | None,
) -> tf.Tensor:
    """`[batch]` log of the summed exponentials over all interests and negatives.

    Args:
        user_vectors: `[num_interests, batch, dim]` float, already divided by the
            temperature.
        negative_vectors: `[num_negatives, dim]` float.
        negative_mask: `[batch, num_negatives]` bool, False drops a pair.
        offsets: `[num_interests, batch, 1]` float added to the logits; None adds
            nothing.
    """
    logits = tf.matmul(user_vectors, negative_vectors, transpose_b=True)
    if offsets is not None:
        logits += offsets
    return tf.reduce_logsumexp(tf.where(negative_mask, logits, MASKED_LOGIT), axis=[0, 2])


def _logits_by_interest(
    user_vectors: tf.Tensor, negative_vectors: tf.Tensor, offsets: tf.Tensor | None
) -> list[tf.Tensor]:
    """`[batch, num_negatives]` logits of each interest, by products that run beside each other."""
    users = tf.unstack(user_vectors)
    row_offsets = [None] * len(users) if offsets is None else tf.unstack(offsets)
    return [
        multiply_pairs(vectors, negative_vectors, row_offsets=own_offsets)
        for vectors, own_offsets in zip(users, row_offsets, strict=True)
    ]


def _logsumexp_of_best(
    user_vectors: tf.Tensor,
    negative_vectors: tf.Tensor,
    negative_mask: tf.Tensor,
    offsets: tf.Tensor | None,
    gradient_dtype: tf.DType,
) -> tf.Tensor:
    """`[batch]` log-sum-exp over negatives of their largest logit of any interest.

    The `[num_interests, batch, num_negatives]` logits are the largest tensor of
    a training step. This gradient passes over them once, where TensorFlow's of
    `reduce_max` builds five tensors of that size.

    Args:
        user_vectors: `[num_interests, batch, dim]` float, already divided by
            the temperature.
        negative_vectors: `[num_negatives, dim]` float.
        negative_mask: `[batch, num_negatives]` bool, False drops a pair.
        offsets: `[num_interests, batch, 1]` float added to the logits, without a
            gradient; None adds nothing.
        gradient_dtype: Of the gradient's products. The logits themselves stay
            as they are: in bfloat16 many interests would tie.
    """

    @tf.custom_gradient
    def compute(
        user_vectors: tf.Tensor, negative_vectors: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
        logits = _logits_by_interest(user_vectors, negative_vectors, offsets)
        best = logits[0]
        for other in logits[1:]:
            best = tf.maximum(best, other)
        best = tf.where(negative_mask, best, MASKED_LOGIT)
        largest = tf.reduce_max(best, axis=1, keepdims=True)
        exponentials = tf.exp(best - largest)
        totals = tf.reduce_sum(exponentials, axis=1, keepdims=True)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # d/d logit = upstream * exponential / total; the factors of a row are
            # applied to the small operands of the products.
            row_factors = upstream[:, tf.newaxis] / totals
            # A masked pair equals no logit and so gets no gradient. In an exact tie
            # every interest gets the gradient, as if it were the only one.
            parts = [
                tf.cast(exponentials * tf.cast(part == best, tf.float32), gradient_dtype)
                for part in logits
            ]
            items = tf.cast(negative_vectors, gradient_dtype)
            users = tf.cast(user_vectors * row_factors, gradient_dtype)
            user_parts = [tf.matmul(part, items) for part in parts]
            item_parts = [
                tf.matmul(part, vectors, transpose_a=True)
                for part, vectors in zip(parts, tf.unstack(users, num=len(parts)), strict=True)
            ]
            dtype = user_vectors.dtype
            return (
                tf.cast(tf.stack(user_parts), dtype) * row_factors,
                tf.add_n([tf.cast(part, dtype) for part in item_parts]),
            )

        return (largest + tf.math.log(totals))[:, 0], gradient

    return compute(user_vectors, negative_vectors)
