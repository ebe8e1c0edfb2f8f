"""Queues of what earlier steps have made: clicks, and the interests of futures."""

from typing import NamedTuple

import tensorflow as tf

from recall.losses.negatives import enqueue, enqueue_clicks, enqueue_clicks_by_interest
from recall.models.loss_terms import LossTerms


class QueueRows(NamedTuple):
    """What a step puts into the queues. Lists are empty where there is no such queue.

    Attributes:
        clicks: int32 ids of the clicks and, where not all count, whether each does; where
            every interest has a queue, instead whose each is, -1 for padding.
        futures: Interests of the futures.
        has_future: int32, which of them there are.
    """

    clicks: list[tf.Tensor]
    futures: list[tf.Tensor]
    has_future: list[tf.Tensor]


def rows_of(
    terms: LossTerms, click_queue: tf.Variable | None, future_queue: tf.Variable | None
) -> QueueRows:
    """The rows that a step has made.

    Args:
        terms: Of the step.
        click_queue: `[num_negatives]` or `[num_interests, num_negatives]`.
        future_queue: `[num_queued, num_interests, dim]`.
    """
    clicks, futures, has_future = [], [], []
    if click_queue is not None:
        clicks.append(tf.cast(terms.positive_ids, tf.int32))
        if click_queue.shape.rank == 2:
            winners = terms.winners
            if terms.is_real is not None:
                winners = tf.where(terms.is_real, winners, -1)
            clicks.append(tf.cast(winners, tf.int32))
        elif terms.is_real is not None:
            clicks.append(tf.cast(terms.is_real, tf.int32))
    if future_queue is not None:
        futures.append(terms.futures.vectors)
        has_future.append(tf.cast(terms.futures.is_real, tf.int32))
    return QueueRows(clicks, futures, has_future)


def enqueue_rows(
    rows: QueueRows, click_queue: tf.Variable | None, future_queue: tf.Variable | None
) -> None:
    """Puts rows in front of the queues, those of an interest in front of its own.

    Args:
        rows: Of all replicas.
        click_queue: As in `rows_of`.
        future_queue: As in `rows_of`.
    """
    if rows.clicks:
        positive_ids, *marks = tf.cast(rows.clicks[0], click_queue.dtype), *rows.clicks[1:]
        if click_queue.shape.rank == 2:
            latest = enqueue_clicks_by_interest(click_queue, positive_ids, *marks)
        else:
            latest = enqueue_clicks(click_queue, positive_ids, *(mark > 0 for mark in marks))
        click_queue.assign(latest)
    if rows.futures:
        (vectors,), (has_future,) = rows.futures, rows.has_future
        future_queue.assign(enqueue(future_queue, vectors, has_future > 0))
