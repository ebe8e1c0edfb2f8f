"""Shared negatives of a training step."""

import numpy as np
import tensorflow as tf

from recall.vocabulary import FIRST_ITEM_ID


def sample_uniform_negatives(
    num_items: int, num_negatives: int, seed: tf.Tensor, among: tf.Tensor | None = None
) -> tf.Tensor:
    """Draws item ids uniformly, with replacement.

    The draw is a function of `seed` alone, so a resumed job draws what the
    uninterrupted one would have drawn.

    Args:
        num_items: Size of the catalogue, or of `among`.
        num_negatives: Ids to draw.
        seed: `[2]` int.
        among: `[num_items]` int64 dense ids to draw from; None: of the whole catalogue.

    Returns:
        `[num_negatives]` int64 dense ids.
    """
    first = FIRST_ITEM_ID if among is None else 0
    drawn = tf.random.stateless_uniform([num_negatives], seed, first, first + num_items, tf.int64)
    return drawn if among is None else tf.gather(among, drawn)


def sample_clicked_negatives(
    item_counts: np.ndarray, num_negatives: int, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws item ids as often as they are clicked, with replacement.

    Args:
        item_counts: `[num_items]` int, clicks of each item; some item has one.
        num_negatives: Ids to draw.
        seed: `[2]` int.

    Returns:
        `[num_negatives]` int64 dense ids and `[num_negatives]` float log-q corrections,
        -log(share of the item / equal share): added to their logits, an estimated sum over
        the sample is that of uniform negatives.

    Reference:
        Bengio and Senecal, "Adaptive Importance Sampling to Accelerate Training of a Neural
        Probabilistic Language Model", 2008.
    """
    ends = np.cumsum(item_counts)
    numbers = tf.random.stateless_uniform([num_negatives], seed, 0, int(ends[-1]), tf.int64)
    rows = tf.searchsorted(tf.constant(ends, tf.int64), numbers, side="right", out_type=tf.int64)
    with np.errstate(divide="ignore"):  # An item without clicks is never drawn.
        log_shares = np.log(item_counts * (len(item_counts) / ends[-1]))
    corrections = -tf.gather(tf.constant(log_shares, tf.float32), rows)
    return rows + FIRST_ITEM_ID, corrections


def enqueue_clicks(
    queue_ids: tf.Tensor, positive_ids: tf.Tensor, is_real: tf.Tensor | None = None
) -> tf.Tensor:
    """The latest clicks, newest first, once those of a step have come in.

    As negatives they follow the distribution of the clicks, and no log-q correction
    takes that out again: a score then says how much likelier a click is for this
    user than for anybody, which is a click weighted by the inverse of its item's
    propensity to be seen.

    Args:
        queue_ids: `[num_negatives]` int dense ids.
        positive_ids: `[num_positives]` int dense ids of the step.
        is_real: `[num_positives]` bool, the ids that are clicks; None: all of them. No
            shape depends on it.

    Returns:
        `[num_negatives]` dense ids; of more positives than that the first ones.

    Reference:
        Zhou et al., "Contrastive Learning for Debiased Candidate Generation in
        Large-Scale Recommender Systems", KDD 2021 (CLRec).

    >>> enqueue_clicks(tf.constant([7, 8, 9]), tf.constant([2, 3])).numpy()
    array([2, 3, 7], dtype=int32)
    """
    return enqueue(queue_ids, positive_ids, is_real)


def enqueue(queue: tf.Tensor, rows: tf.Tensor, is_real: tf.Tensor | None = None) -> tf.Tensor:
    """The latest rows, newest first, once those of a step have come in.

    Args:
        queue: `[length, ...]`.
        rows: `[num_rows, ...]` of the step.
        is_real: `[num_rows]` bool, the rows that come in; None: all of them. No shape
            depends on it.

    Returns:
        `[length, ...]`; of more rows than that the first ones.
    """
    length = queue.shape[0]
    if is_real is None:
        return tf.concat([rows, queue], axis=0)[:length]
    places = tf.cumsum(tf.cast(is_real, tf.int32))
    num_new = places[-1]
    # One place more than the queue has takes what does not come in.
    places = tf.where(is_real & (places <= length), places - 1, length)
    shape = [length + 1, *queue.shape[1:]]
    new = tf.scatter_nd(places[:, tf.newaxis], rows, shape)[:length]
    numbers = tf.range(length)
    moved = tf.gather(queue, tf.maximum(numbers - num_new, 0))
    is_new = tf.reshape(numbers < num_new, [length, *[1] * (queue.shape.rank - 1)])
    return tf.where(is_new, new, moved)


def enqueue_clicks_by_interest(
    queue_ids: tf.Tensor, positive_ids: tf.Tensor, interests: tf.Tensor
) -> tf.Tensor:
    """The latest clicks of every interest, newest first, once those of a step have come in.

    As negatives of their interest alone they take out how often an item is clicked
    *within* it: an item is compared with the others of its kind, and a small interest
    is not crowded out by the clicks of a large one.

    Args:
        queue_ids: `[num_interests, num_negatives]` int dense ids.
        positive_ids: `[num_positives]` int dense ids of the step.
        interests: `[num_positives]` int, the interest that each click belongs to; a
            number that is none, where there is no click.

    Returns:
        `[num_interests, num_negatives]` dense ids. An interest without clicks keeps
        what it has.

    Reference:
        Zhou et al., "Contrastive Learning for Debiased Candidate Generation in
        Large-Scale Recommender Systems", KDD 2021 (Multi-CLRec).

    >>> queues = tf.constant([[7, 8], [9, 9]])
    >>> enqueue_clicks_by_interest(queues, tf.constant([2, 3]), tf.constant([1, 1])).numpy()
    array([[7, 8],
           [2, 3]], dtype=int32)
    """
    return tf.stack(
        [
            enqueue_clicks(queue, positive_ids, interests == interest)
            for interest, queue in enumerate(tf.unstack(queue_ids))
        ]
    )


def find_accidental_hits(positive_ids: tf.Tensor, negative_ids: tf.Tensor) -> tf.Tensor:
    """True where a negative is the positive.

    Args:
        positive_ids: `[num_positives]` int.
        negative_ids: `[num_negatives]` or `[num_interests, num_negatives]` int.

    Returns:
        `[num_positives, num_negatives]` or `[num_interests, num_positives,
        num_negatives]` bool.
    """
    # int32: the comparison is of all pairs, and 64-bit integers take twice the time.
    positive_ids, negative_ids = (tf.cast(ids, tf.int32) for ids in (positive_ids, negative_ids))
    return positive_ids[:, tf.newaxis] == negative_ids[..., tf.newaxis, :]
