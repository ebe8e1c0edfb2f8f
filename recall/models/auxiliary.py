"""Losses beside seq2item and seq2seq: they shape interests and prototypes, and find no item."""

import functools
from collections.abc import Callable, Mapping

import tensorflow as tf

from recall import replicas
from recall.item_tower import ItemTower
from recall.losses.attributes import attribute_loss
from recall.losses.overlap import overlap_loss
from recall.losses.routing import balance_loss, semantic_loss, sharpness_loss
from recall.models.attribute_values import AttributeValues, choose_values
from recall.models.next_clicks import NextClicks
from recall.models.prefixes import Prefixes
from recall.models.step_numbers import share_of_mean
from recall.settings.loss import LossConfig
from recall.towers import UserTower

_NEGATIVES_PER_VALUE = 8
"""An item is told from so many items for every value that its own are told from: as many would
make these losses as dear as seq2item, and there are fewer values than items."""


def compute_auxiliary_losses(
    prefixes: Prefixes,
    clicks: NextClicks,
    user_tower: UserTower,
    item_tower: ItemTower,
    config: LossConfig,
    names: Mapping[str, float],
    seed: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """The named losses of a batch, means over its clicks; of several replicas the parts of each.

    Prototypes are balanced over the clicks of a replica.

    Args:
        prefixes: Of the batch.
        clicks: Their next clicks.
        user_tower: Routes the clicked items, where a name asks for that.
        item_tower: Knows the features of the clicked items.
        config: Settings of the losses.
        names: Those of `RecallConfig.auxiliary_weights`.
        seed: `[2]` int; values of features are drawn from it, where there are many.
    """
    weights = prefixes.target_weights
    items = prefixes.positive_ids, prefixes.positive_contents

    @functools.cache
    def route() -> tuple[tf.Tensor, tf.Tensor]:
        return user_tower.route(*items)

    def semantic() -> tf.Tensor:
        _, shares = route()
        losses = semantic_loss(
            prefixes.user_vectors, clicks.vectors, shares, temperature=config.temperature
        )
        return share_of_mean(losses, weights)

    @functools.cache
    def values() -> AttributeValues:
        most = max(config.num_drawn // _NEGATIVES_PER_VALUE, 1)
        return choose_values(item_tower, prefixes.positive_ids, most, seed)

    def attribute(vectors: tf.Tensor) -> tf.Tensor:
        losses = attribute_loss(vectors, **values()._asdict(), temperature=config.temperature)
        return share_of_mean(losses, weights)

    def winning_interests() -> tf.Tensor:
        is_winner = tf.one_hot(clicks.winners, prefixes.user_vectors.shape[1])
        return tf.reduce_sum(prefixes.user_vectors * is_winner[..., tf.newaxis], axis=1)

    losses: dict[str, Callable[[], tf.Tensor]] = {
        "balance": lambda: balance_loss(route()[0], weights) / replicas.count(),
        "sharpness": lambda: share_of_mean(sharpness_loss(route()[0]), weights),
        "semantic": semantic,
        "prototypes": lambda: share_of_mean(user_tower.fit_prototypes(*items), weights),
        "attribute": lambda: attribute(winning_interests()),
        "item_attribute": lambda: attribute(clicks.vectors),
        "overlap": lambda: share_of_mean(overlap_loss(prefixes.user_vectors), weights),
    }
    return {name: losses[name]() for name in names}
