"""What the losses of a step are, and what items that were shown add to them."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from recall.losses.own_negatives import logsumexp_of_own
from recall.models.future_interests import Futures
from recall.models.prefixes import Prefixes
from recall.settings.loss import LossConfig
from recall.vocabulary import PADDING_ID


class LossTerms(NamedTuple):
    """The losses of a step, before weighting, and what they are of.

    Attributes:
        seq2item: Scalar.
        seq2seq: Scalar.
        auxiliary: Name -> scalar of `RecallConfig.auxiliary_weights`.
        user_vectors: `[num_slots, num_interests, dim]`, what both were computed from.
        positive_ids: `[num_slots]` int, the next click of each slot.
        winners: `[num_slots]` int, the interest that it belongs to.
        is_real: `[num_slots]` bool, False where a slot is padding; None: nowhere.
        futures: What seq2seq compared with; None without it.
    """

    seq2item: tf.Tensor
    seq2seq: tf.Tensor
    auxiliary: dict[str, tf.Tensor]
    user_vectors: tf.Tensor
    positive_ids: tf.Tensor
    winners: tf.Tensor
    is_real: tf.Tensor | None
    futures: Futures | None = None


def score_shown(
    prefixes: Prefixes,
    embed_items: Callable[[tf.Tensor], tf.Tensor],
    config: LossConfig,
    interest_mask: tf.Tensor | None,
    winners: tf.Tensor,
) -> tf.Tensor:
    """Log-sum-exp of the logits of the items that were shown before each click.

    Args:
        prefixes: With `shown_ids`.
        embed_items: Dense ids of any shape -> item vectors.
        config: How logits meet the interests.
        interest_mask: `[num_slots, num_interests]` bool, interests that take part; None: all.
        winners: `[num_slots]` int, the interest that each click belongs to.

    Returns:
        `[num_slots]` float.
    """
    num_interests = prefixes.user_vectors.shape[1]
    if config.negatives == "interest_queues" or config.interest_reduction == "argmax":
        interest_mask = tf.one_hot(winners, num_interests, True, False, dtype=tf.bool)
    shown_ids = prefixes.shown_ids
    is_click = shown_ids == tf.cast(prefixes.positive_ids, shown_ids.dtype)[:, tf.newaxis]
    return logsumexp_of_own(
        prefixes.user_vectors,
        embed_items(shown_ids),
        (shown_ids != PADDING_ID) & ~is_click,
        interest_mask,
        temperature=config.temperature,
        interest_reduction=config.interest_reduction,
    )
