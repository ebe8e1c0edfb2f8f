"""Vectors of a trained model, and what its interests are used for."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from pipelines.artifacts.held_out import HeldOutUsers
from recall.feature_columns.encoder import Encoded, FeatureEncoder
from recall.models.dssrec import DSSRec
from recall.ragged import Ragged
from recall.towers import KnownBeside
from recall.vocabulary import FIRST_ITEM_ID, PADDING_ID

_ITEMS_AT_ONCE = 262_144
"""Item vectors computed at once, 67 MB at 64 dimensions. Those of 10^7 items at once
need 5 GB beside the answer (measured)."""


_FIRST_VALUE = 4
"""Columns of `Histories.last_padded` before the features."""

USAGE_USERS = 1024
"""Users the usage of interests is measured on: its standard error is below .016."""


def build_user_vector_function(model: DSSRec) -> Callable[[np.ndarray], np.ndarray]:
    """Compiles histories -> `[batch, K, dim]` numpy.

    Histories are `[batch, length]` int64 dense ids, or `[batch, length, 4 + ...]` of
    `Histories`: a model with `model.time_bias` looks at times, one with features of users at
    their rows, one with features of events or requests at their values.
    """

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64)], autograph=False)
    def encode(history_ids: tf.Tensor) -> tf.Tensor:
        return model.user_tower(history_ids).user_vectors

    tower = model.user_tower

    @tf.function(input_signature=[tf.TensorSpec([None, None, None], tf.int64)], autograph=False)
    def encode_columns(histories: tf.Tensor) -> tf.Tensor:
        columns, first = {}, _FIRST_VALUE
        if tower.has_time_bias:
            columns["times"] = histories[..., 1:3]
        if tower.user_features is not None:
            rows = histories[..., 3]
            is_known = rows <= tower.user_features.num_known
            columns["users"] = tf.cast(tf.where(is_known, rows, 0), tf.int32)
        if tower.event_features is not None:
            columns["events"], first = _unpack(tower.event_features.encoder, histories, first)
        if tower.request_features is not None:
            encoder = tower.request_features.encoder
            columns["requests"], _ = _unpack(encoder, histories[:, 0], first)
        return tower(histories[..., 0], known=KnownBeside(**columns)).user_vectors

    looks_beside = tower.has_time_bias or any(
        layer is not None
        for layer in (tower.user_features, tower.event_features, tower.request_features)
    )

    def compute_user_vectors(histories: np.ndarray) -> np.ndarray:
        history_ids = histories if histories.ndim == 2 else histories[..., 0]
        # Padding changes nothing but the time it takes.
        width = max(1, int((history_ids != PADDING_ID).sum(axis=1).max()))
        if histories.ndim == 3 and looks_beside:
            return encode_columns(histories[:, :width]).numpy()
        return encode(history_ids[:, :width]).numpy()

    return compute_user_vectors


def _unpack(encoder: FeatureEncoder, histories: tf.Tensor, first: int) -> tuple[Encoded, int]:
    """Values of features as `recall.ragged.pack_values` packs them, and where they end."""
    num_slots, num_numbers = encoder.slot_and_number_widths
    values = tf.cast(histories[..., first : first + num_slots + num_numbers], tf.int32)
    slots, numbers = tf.split(values, [num_slots, num_numbers], axis=-1)
    return Encoded(slots, tf.bitcast(numbers, tf.float32)), first + num_slots + num_numbers


def compute_item_vectors(model: DSSRec, num_items: int) -> np.ndarray:
    """`[num_items, dim]` float32 vectors of the whole catalogue, in its order."""
    vectors = np.empty([num_items, model.item_tower.embeddings.shape[1]], np.float32)
    for start in range(0, num_items, _ITEMS_AT_ONCE):
        stop = min(start + _ITEMS_AT_ONCE, num_items)
        dense_ids = tf.range(FIRST_ITEM_ID + start, FIRST_ITEM_ID + stop)
        vectors[start:stop] = model.item_tower(dense_ids).numpy()
    return vectors


def sample_users(held_out: HeldOutUsers, num_users: int, seed: int) -> HeldOutUsers:
    """At most `num_users` users, sorted by length so that batches are narrow."""
    chosen = np.random.default_rng(seed).permutation(held_out.num_users)[:num_users]
    chosen = chosen[np.argsort(held_out.histories.lengths[chosen], kind="stable")]
    return held_out.take(chosen)


def measure_interest_usage(
    user_vectors: np.ndarray, item_vectors: np.ndarray, positives: Ragged
) -> np.ndarray:
    """Share of the held-out clicks that each interest scores highest.

    An interest that wins nothing is dead weight: it costs a search per request
    and finds nothing of its own.

    Args:
        user_vectors: `[num_users, num_interests, dim]` float.
        item_vectors: `[num_items, dim]` float.
        positives: Dense ids of each user's held-out clicks; the first counts.

    Returns:
        `[num_interests]` float, sum 1; all 0 where no click is of a known item.
    """
    rows = positives.values[positives.offsets[:-1]] - FIRST_ITEM_ID
    is_known = rows >= 0
    scores = np.einsum("ukd,ud->uk", user_vectors[is_known], item_vectors[rows[is_known]])
    wins = np.bincount(scores.argmax(axis=1), minlength=user_vectors.shape[1])
    return wins / max(1, is_known.sum())


def measure_prototype_shares(model: DSSRec) -> np.ndarray:
    """Share of the training clicks that each prototype has, where items are routed to some.

    An item always goes the same way, so the whole log is as cheap as its catalogue.

    Returns:
        `[num_prototypes]` float, sum 1; of a log without clicks every item counts alike.
    """
    counts = np.maximum(model.item_tower.item_counts, int(model.item_tower.item_counts.sum() == 0))
    totals = np.zeros(model.user_tower.num_prototypes)
    for start in range(0, len(counts), _ITEMS_AT_ONCE):
        stop = min(start + _ITEMS_AT_ONCE, len(counts))
        dense_ids = tf.range(FIRST_ITEM_ID + start, FIRST_ITEM_ID + stop)
        routes, _ = model.user_tower.route(dense_ids)
        totals += counts[start:stop] @ routes.numpy()
    return totals / totals.sum()
