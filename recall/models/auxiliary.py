"""Losses beside seq2item and seq2seq: they shape interests and prototypes, and find no item."""

import functools
from collections.abc import Callable, Mapping

import tensorflow as tf

from recall import replicas
from recall.losses.overlap import overlap_loss
from recall.losses.routing import balance_loss, semantic_loss, sharpness_loss
from recall.models.next_clicks import NextClicks
from recall.models.prefixes import Prefixes
from recall.models.step_numbers import share_of_mean
from recall.settings.loss import LossConfig
from recall.towers import UserTower


def compute_auxiliary_losses(
    prefixes: Prefixes,
    clicks: NextClicks,
    user_tower: UserTower,
    config: LossConfig,
    names: Mapping[str, float],
) -> dict[str, tf.Tensor]:
    """The named losses of a batch, means over its clicks; of several replicas the parts of each.

    Prototypes are balanced over the clicks of a replica.

    Args:
        prefixes: Of the batch.
        clicks: Their next clicks.
        user_tower: Routes the clicked items, where a name asks for that.
        config: Settings of the losses.
        names: Those of `RecallConfig.auxiliary_weights`.
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

    losses: dict[str, Callable[[], tf.Tensor]] = {
        "balance": lambda: balance_loss(route()[0], weights) / replicas.count(),
        "sharpness": lambda: share_of_mean(sharpness_loss(route()[0]), weights),
        "semantic": semantic,
        "prototypes": lambda: share_of_mean(user_tower.fit_prototypes(*items), weights),
        "overlap": lambda: share_of_mean(overlap_loss(prefixes.user_vectors), weights),
    }
    return {name: losses[name]() for name in names}
