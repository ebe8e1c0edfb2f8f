"""The seq2item loss of every slot of a batch."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from recall.item_tower import ItemTower
from recall.losses.full_softmax import full_softmax_loss
from recall.losses.interest_share import assign_starving_interests, find_winners
from recall.losses.negatives import find_accidental_hits
from recall.losses.sampled_softmax import interest_softmax_loss, sampled_softmax_loss
from recall.models.loss_terms import score_shown
from recall.models.prefixes import Prefixes
from recall.settings.loss import LossConfig


class Negatives(NamedTuple):
    """What the next clicks of a batch are compared with.

    Attributes:
        ids: `[num_negatives]` dense ids, `[num_interests, num_negatives]` where every
            interest has its own; None: all items that training knows something of.
        corrections: `[num_negatives]` float, added to the logits; None: nothing.
        is_item: `[num_negatives]` bool, False where an id is padding; None: nowhere.
        owners: `[num_slots]` int, the interest that each click belongs to; None: the one
            that wins it.
    """

    ids: tf.Tensor | None
    corrections: tf.Tensor | None = None
    is_item: tf.Tensor | None = None
    owners: tf.Tensor | None = None


class NextClicks(NamedTuple):
    """What the next clicks of a batch cost, and whose they are.

    Attributes:
        losses: `[num_slots]` float, unreduced.
        winners: `[num_slots]` int, the interest that each click belongs to.
        vectors: `[num_slots, dim]` float, of the clicked items.
    """

    losses: tf.Tensor
    winners: tf.Tensor
    vectors: tf.Tensor


def compute_next_clicks(
    prefixes: Prefixes,
    item_tower: ItemTower,
    negatives: Negatives,
    config: LossConfig,
    *,
    gradient_dtype: tf.DType,
    training: bool,
) -> NextClicks:
    """The loss of the next click at every slot.

    Args:
        prefixes: Of the batch.
        item_tower: Encodes clicks and negatives as they are now: both learn.
        negatives: Of the step.
        config: Settings of the losses.
        gradient_dtype: As in `sampled_softmax_loss`.
        training: Whether interests that win too few clicks are given some, and some items
            have to do without their ids where they have features.
    """
    prefix_vectors, positive_ids, *_ = prefixes
    embed = functools.partial(item_tower, training=training)
    positive_vectors = embed(positive_ids, content=prefixes.positive_contents)
    num_interests = prefix_vectors.shape[1]
    interest_mask = prefixes.is_active
    min_share = config.min_interest_share / num_interests
    # Not for one interest: a mask that hides nothing costs a pass over all logits.
    if training and min_share > 0 and num_interests > 1 and negatives.owners is None:
        interest_mask = assign_starving_interests(
            prefix_vectors, positive_vectors, min_share, prefixes.is_target, prefixes.is_active
        )
    # The graph of a step that does not ask for them leaves them out.
    winners = negatives.owners
    if winners is None:
        winners = find_winners(prefix_vectors, positive_vectors, interest_mask)
    options = {"temperature": config.temperature, "gradient_dtype": gradient_dtype}
    if prefixes.shown_ids is not None:
        options["own_logsumexp"] = score_shown(prefixes, embed, config, interest_mask, winners)
    score = _score_sample
    if negatives.ids is None:
        score, negatives = _score_catalogue, Negatives(item_tower.candidate_ids())
    losses = score(
        prefixes, positive_vectors, embed, negatives, config, interest_mask, winners, options
    )
    return NextClicks(losses, winners, positive_vectors)


def _score_catalogue(
    prefixes: Prefixes,
    positive_vectors: tf.Tensor,
    embed: Callable[[tf.Tensor], tf.Tensor],
    negatives: Negatives,
    config: LossConfig,
    interest_mask: tf.Tensor | None,
    winners: tf.Tensor,
    options: dict[str, Any],
) -> tf.Tensor:
    """`[num_slots]` losses against all items."""
    del winners
    return full_softmax_loss(
        prefixes.user_vectors,
        positive_vectors,
        embed(negatives.ids),
        interest_mask,
        interest_reduction=config.interest_reduction,
        **options,
    )


def _score_sample(
    prefixes: Prefixes,
    positive_vectors: tf.Tensor,
    embed: Callable[[tf.Tensor], tf.Tensor],
    negatives: Negatives,
    config: LossConfig,
    interest_mask: tf.Tensor | None,
    winners: tf.Tensor,
    options: dict[str, Any],
) -> tf.Tensor:
    """`[num_slots]` losses against the negatives."""
    mask = ~find_accidental_hits(prefixes.positive_ids, negatives.ids)
    if negatives.is_item is not None:
        mask &= negatives.is_item
    operands = (prefixes.user_vectors, positive_vectors, embed(negatives.ids), mask)
    if config.negatives == "interest_queues":
        return interest_softmax_loss(
            *operands, winners, has_static_shapes=prefixes.is_real is not None, **options
        )
    return sampled_softmax_loss(
        *operands,
        interest_mask,
        negatives.corrections,
        interest_reduction=config.interest_reduction,
        **options,
    )
