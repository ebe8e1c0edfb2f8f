"""The warm-up requests of both towers."""

import types
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from recall.feature_columns.item_features import ItemFeatures
from recall.features import HISTORY_ITEM_IDS
from recall.vocabulary import PADDING_TOKEN
from serving.protocol.signatures import (
    CONTEXT_SIGNATURE,
    DEFAULT_SIGNATURE,
    EXAMPLE_SIGNATURE,
    NEW_ITEMS_SIGNATURE,
)
from serving.protocol.warmup import Record
from serving.release.release import ITEM_TOWER, USER_TOWER
from serving.release.tower_context import ContextInput

BATCH_SIZES = (1, 8, 32)
"""A lone request, a small and a full batch; 32 is TF Serving's usual maximum
batch size in its own examples."""


def user_tower_requests(
    item_ids: Sequence[str],
    max_history_length: int,
    context: Mapping[str, ContextInput] = types.MappingProxyType({}),
) -> Iterator[Record]:
    """Requests for all signatures of the user tower.

    Args:
        item_ids: At least one known raw id.
        max_history_length: Longest history the tower looks at.
        context: What the signature takes that takes more than histories, by name.
    """
    full = [item_ids[i % len(item_ids)] for i in range(max_history_length)]
    for size in BATCH_SIZES:
        # One short history, the others full, so that padding is exercised too.
        short = full[:1] + [PADDING_TOKEN] * (max_history_length - 1)
        histories = [full] * (size - 1) + [full if size == 1 else short]
        yield _request(USER_TOWER, DEFAULT_SIGNATURE, HISTORY_ITEM_IDS, histories)
        examples = [_example(HISTORY_ITEM_IDS, history) for history in histories]
        yield _request(USER_TOWER, EXAMPLE_SIGNATURE, "examples", examples)
        if context:
            record = _request(USER_TOWER, CONTEXT_SIGNATURE, HISTORY_ITEM_IDS, histories)
            for name, one in context.items():
                values = one.samples(size, max_history_length)
                record.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
            yield record


def item_tower_requests(
    item_ids: Sequence[str],
    features: ItemFeatures | None = None,
) -> Iterator[Record]:
    """Requests for every signature of the item tower.

    Args:
        item_ids: At least one known raw id, of the first items.
        features: Of all items, in their order; None for a tower without them.
    """
    for size in BATCH_SIZES:
        batch = [item_ids[i % len(item_ids)] for i in range(size)]
        yield _request(ITEM_TOWER, DEFAULT_SIGNATURE, "item_ids", batch)
        examples = [_example("item_id", [item_id]) for item_id in batch]
        yield _request(ITEM_TOWER, EXAMPLE_SIGNATURE, "examples", examples)
        if features is not None:
            raw = features.slice(0, 1)
            record = _request(ITEM_TOWER, NEW_ITEMS_SIGNATURE, "item_ids", batch)
            for name, value in raw.items():
                rows = np.repeat(value, size, axis=0)
                record.predict_log.request.inputs[name].CopyFrom(
                    tf.make_tensor_proto(rows, dtype=_dtype(rows), shape=rows.shape)
                )
            yield record


def _dtype(values: np.ndarray) -> tf.DType:
    return tf.string if values.dtype == object else tf.float32


def _example(feature: str, values: Sequence[str]) -> bytes:
    """A serialised `tf.Example` of one string feature."""
    encoded = tf.train.BytesList(value=[v.encode("utf-8") for v in values if v != PADDING_TOKEN])
    features = tf.train.Features(feature={feature: tf.train.Feature(bytes_list=encoded)})
    return tf.train.Example(features=features).SerializeToString(deterministic=True)


def _request(model: str, signature: str, name: str, values: Sequence) -> Record:
    """A PredictionLog of one string input."""
    record = Record()
    request = record.predict_log.request
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    request.inputs[name].CopyFrom(tf.make_tensor_proto(values, dtype=tf.string))
    return record
