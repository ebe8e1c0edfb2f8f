"""What the losses of attributes compare: values that items have, and the others."""

from typing import NamedTuple

import tensorflow as tf

from recall.item_tower import ItemTower
from recall.layers.normalization import normalize_length


class AttributeValues(NamedTuple):
    """Arguments of `attribute_loss` but the vectors that predict; all vectors of unit length.

    Attributes:
        own_vectors: `[n, num_slots, dim]`, of the values that each item has.
        own_weights: `[n, num_slots]`, how rare each is; 0 where there is none.
        value_vectors: `[num_candidates, dim]`, of all values or of those that were drawn.
        is_own: `[n, num_candidates]` bool, drawn ones that the item has; None: nothing is drawn.
        num_values: Values in all.
    """

    own_vectors: tf.Tensor
    own_weights: tf.Tensor
    value_vectors: tf.Tensor
    is_own: tf.Tensor | None
    num_values: int


def choose_values(
    tower: ItemTower, item_ids: tf.Tensor, most: int, seed: tf.Tensor
) -> AttributeValues:
    """Values of the categorical features of items, and those they are told from.

    Args:
        tower: Has such features.
        item_ids: `[n]` int dense ids.
        most: Values that an item is compared with; of more so many are drawn, all alike.
        seed: `[2]` int, which ones are drawn.
    """
    network = tower.network
    own, weights = network.names_of(tower.encoded_of(item_ids).slots)
    rows, is_own = network.name_rows, None
    num_values = rows.shape[0]
    if num_values > most:
        drawn = tf.random.stateless_uniform([most], seed, 0, num_values, tf.int32)
        rows = tf.gather(rows, drawn)
        is_own = tf.reduce_any(own[:, :, tf.newaxis] == rows, axis=1)
    # In one look-up: the gradient of each is as large as the table.
    vectors = network.values_at(tf.concat([tf.reshape(own, [-1]), rows], axis=0))
    num_candidates = rows.shape[0]
    of_own, of_rows = tf.split(normalize_length(vectors), [-1, num_candidates])
    return AttributeValues(
        tf.reshape(of_own, [-1, own.shape[1], vectors.shape[1]]),
        weights,
        of_rows,
        is_own,
        num_values,
    )
