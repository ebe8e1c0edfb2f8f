"""Trained towers -> SavedModels that speak raw item ids, with a manifest.

Of `serving` only this file, `tower_modules` and `warmup_requests` know models of `recall`.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import tensorflow as tf

from recall.config import RecallConfig
from recall.vocabulary import FIRST_ITEM_ID, ItemVocabulary
from serving.protocol import warmup
from serving.release import manifest, warmup_requests
from serving.release.release import ITEM_TOWER, USER_TOWER
from serving.release.tower_modules import FeatureTowerModule, ItemTowerModule, UserTowerModule

_FINGERPRINT_LENGTH = 16
"""64 bits in hexadecimal: enough to tell exports apart, short enough to read."""

_SAVE_OPTIONS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
"""Loading a SavedModel that holds gradients registers them for the life of the process:
20 MB of a server's memory with every swap (measured). Serving needs none."""


def export_towers(
    user_tower: tf.keras.Model,
    item_tower: tf.keras.Model,
    vocabulary: ItemVocabulary,
    config: RecallConfig,
    export_dir: str | os.PathLike,
) -> dict[str, Any]:
    """Writes both towers and a manifest into an existing folder.

    Args:
        user_tower: `[batch, length]` int64 dense ids, left-aligned, padded ->
            (user_vectors `[batch, num_interests, dim]`, interest_weights
            `[batch, num_interests]`).
        item_tower: `[batch]` int64 dense ids -> `[batch, dim]`; with features of items also
            `call_features`.
        vocabulary: The items both towers were trained on.
        config: Its section `model` describes the towers.
        export_dir: Existing folder without `user_tower` and `item_tower`.

    Returns:
        The manifest.
    """
    folder = Path(export_dir)
    one_item = tf.fill([1, 1], tf.constant(FIRST_ITEM_ID, tf.int64))
    user_vectors = user_tower(one_item, training=False)[0]  # Also builds the weights.
    item_tower(one_item[0])
    fingerprint = compute_fingerprint(user_tower, item_tower, vocabulary, config)
    # A scratch file; saving copies it into each SavedModel's assets.
    vocabulary_file = folder / "vocabulary.txt"
    vocabulary_file.write_bytes("".join(f"{i}\n" for i in vocabulary.item_ids).encode("utf-8"))
    length = config.model.max_history_length
    user_module = UserTowerModule(user_tower, vocabulary_file, length, fingerprint)
    item_module = _item_tower_module(item_tower, vocabulary_file, fingerprint)
    for name, module in ((USER_TOWER, user_module), (ITEM_TOWER, item_module)):
        tf.saved_model.save(
            module, str(folder / name), signatures=module.signatures(), options=_SAVE_OPTIONS
        )
    vocabulary_file.unlink()
    examples = vocabulary.item_ids[:length]
    warmup.write_requests(
        folder / USER_TOWER,
        warmup_requests.user_tower_requests(examples, length, user_module.context),
    )
    warmup.write_requests(
        folder / ITEM_TOWER,
        warmup_requests.item_tower_requests(examples, vocabulary.features),
    )
    values = {
        "fingerprint": fingerprint,
        "dim": int(user_vectors.shape[2]),
        "num_interests": int(user_vectors.shape[1]),
        "max_history_length": length,
        "similarity": config.model.similarity,
        "num_items": vocabulary.num_items,
    }
    return manifest.seal(folder, values | _describe_features(vocabulary, config))


def _describe_features(vocabulary: ItemVocabulary, config: RecallConfig) -> dict[str, Any]:
    """What a manifest says of declared features; nothing where there are none."""
    found = {"features": vocabulary.features, "user_features": vocabulary.users}
    values: dict[str, Any] = {
        key: [column.column.to_dict() for column in of.columns]
        for key, of in found.items()
        if of is not None
    }
    if vocabulary.log_columns:
        values["log_features"] = [column.column.to_dict() for column in vocabulary.log_columns]
    if values:
        values["max_unknown_share"] = config.features.max_unknown_share
    return values


def _item_tower_module(
    tower: tf.keras.Model, vocabulary_file: Path, fingerprint: str
) -> ItemTowerModule:
    if getattr(tower, "encoder", None) is not None:
        return FeatureTowerModule(tower, vocabulary_file, fingerprint)
    return ItemTowerModule(tower, vocabulary_file, fingerprint)


def compute_fingerprint(
    user_tower: tf.keras.Model,
    item_tower: tf.keras.Model,
    vocabulary: ItemVocabulary,
    config: RecallConfig,
) -> str:
    """Names an embedding space: weights, model settings and items, hashed."""
    digest = hashlib.sha256()
    digest.update(json.dumps(config.to_dict(["model"]), sort_keys=True).encode())
    for features in (vocabulary.features, vocabulary.users):
        if features is not None:
            digest.update(json.dumps([c.to_dict() for c in features.columns]).encode())
    if vocabulary.log_columns:
        digest.update(json.dumps([c.to_dict() for c in vocabulary.log_columns]).encode())
    for weight in (*user_tower.weights, *item_tower.weights):
        values = weight.numpy()
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(values.tobytes())
    digest.update("\n".join(vocabulary.item_ids).encode("utf-8"))
    return digest.hexdigest()[:_FINGERPRINT_LENGTH]
