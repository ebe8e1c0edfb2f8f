"""Trained towers -> SavedModels that speak raw item ids.

The only file of `serving` that takes models from `recall`. The graphs use
standard TensorFlow ops alone, so that a stock model server can run them, and
hold the vocabulary as an asset, so that training and serving cannot disagree.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from recall.config import RecallConfig
from recall.features import HISTORY_ITEM_IDS
from recall.vocabulary import FIRST_ITEM_ID, PADDING_ID, PADDING_TOKEN, ItemVocabulary
from serving.protocol import warmup
from serving.protocol.signatures import DEFAULT_SIGNATURE, EXAMPLE_SIGNATURE, NEW_ITEMS_SIGNATURE
from serving.release import manifest, warmup_requests
from serving.release.release import ITEM_TOWER, USER_TOWER

ITEM_IDS_INPUT = "item_ids"
"""Input of the item tower: raw ids."""

ITEM_ID = "item_id"
"""The item tower's feature in a `tf.Example`: one raw id."""

CATEGORIES = "categories"
"""Input of the item tower's signature for new items: category names."""

EXAMPLES_INPUT = "examples"
"""Input of the other signature of both towers: serialised `tf.Example`s."""

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
        item_tower: `[batch]` int64 dense ids -> `[batch, dim]`; with
            `model.use_categories` also `call_categories`.
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
    categories = vocabulary.category_names if config.model.use_categories else ()
    for name, module in (
        (USER_TOWER, _UserTowerModule(user_tower, vocabulary_file, length, fingerprint)),
        (ITEM_TOWER, _ItemTowerModule(item_tower, vocabulary_file, fingerprint, categories)),
    ):
        tf.saved_model.save(
            module, str(folder / name), signatures=module.signatures(), options=_SAVE_OPTIONS
        )
    vocabulary_file.unlink()
    examples = vocabulary.item_ids[:length]
    warmup.write_requests(
        folder / USER_TOWER, warmup_requests.user_tower_requests(examples, length)
    )
    warmup.write_requests(
        folder / ITEM_TOWER, warmup_requests.item_tower_requests(examples, categories)
    )
    values = {
        "fingerprint": fingerprint,
        "dim": int(user_vectors.shape[2]),
        "num_interests": int(user_vectors.shape[1]),
        "max_history_length": length,
        "similarity": config.model.similarity,
        "num_items": vocabulary.num_items,
    }
    return manifest.seal(folder, values)


def compute_fingerprint(
    user_tower: tf.keras.Model,
    item_tower: tf.keras.Model,
    vocabulary: ItemVocabulary,
    config: RecallConfig,
) -> str:
    """Names an embedding space: weights, model settings and items, hashed."""
    digest = hashlib.sha256()
    digest.update(json.dumps(config.to_dict(["model"]), sort_keys=True).encode())
    for weight in (*user_tower.weights, *item_tower.weights):
        values = weight.numpy()
        digest.update(f"{values.dtype}{values.shape}".encode())
        digest.update(values.tobytes())
    digest.update("\n".join(vocabulary.item_ids).encode("utf-8"))
    return digest.hexdigest()[:_FINGERPRINT_LENGTH]


def _spec(name: str, rank: int) -> tf.TensorSpec:
    return tf.TensorSpec([None] * rank, tf.string, name=name)


class _TowerModule(tf.Module):
    """A tower behind a lookup table of raw ids.

    The tower itself is kept out of the SavedModel, which would otherwise hold
    Keras' training functions too; its weights are all the graph needs.
    """

    def __init__(self, tower: tf.keras.Model, vocabulary_file: Path, fingerprint: str):
        super().__init__()
        self.tower_weights = tower.weights
        self._tower = functools.partial(tower, training=False)
        self._fingerprint = fingerprint
        line_number = tf.lookup.TextFileInitializer(
            str(vocabulary_file),
            key_dtype=tf.string,
            key_index=tf.lookup.TextFileIndex.WHOLE_LINE,
            value_dtype=tf.int64,
            value_index=tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticHashTable(line_number, default_value=-1)

    def signatures(self) -> dict[str, Callable]:
        """Name -> function, as saved."""
        raise NotImplementedError

    def _fingerprints(self, like: tf.Tensor) -> tf.Tensor:
        """`[batch]` string: the fingerprint once per row of `like`."""
        return tf.fill([tf.shape(like)[0]], self._fingerprint)


class _UserTowerModule(_TowerModule):
    """Raw histories -> user vectors."""

    def __init__(
        self,
        tower: tf.keras.Model,
        vocabulary_file: Path,
        max_history_length: int,
        fingerprint: str,
    ):
        super().__init__(tower, vocabulary_file, fingerprint)
        self._max_history_length = max_history_length

    def signatures(self) -> dict[str, Callable]:
        return {
            DEFAULT_SIGNATURE: tf.function(self._embed, [_spec(HISTORY_ITEM_IDS, 2)]),
            EXAMPLE_SIGNATURE: tf.function(self._embed_examples, [_spec(EXAMPLES_INPUT, 1)]),
        }

    def _embed(self, history_item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`[batch, any length]` raw ids, "" where empty -> the outputs."""
        rows = self.table.lookup(history_item_ids)
        is_known = rows >= 0
        is_unknown = ~is_known & (history_item_ids != PADDING_TOKEN)
        history_ids = _left_align(rows + FIRST_ITEM_ID, is_known, self._max_history_length)
        user_vectors, interest_weights = self._tower(history_ids)
        return {
            "user_vectors": tf.cast(user_vectors, tf.float32),
            "interest_weights": tf.cast(interest_weights, tf.float32),
            "num_known": tf.math.count_nonzero(is_known, axis=1, dtype=tf.int32),
            "num_unknown": tf.math.count_nonzero(is_unknown, axis=1, dtype=tf.int32),
            "fingerprint": self._fingerprints(history_item_ids),
        }

    def _embed_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """`[batch]` serialised examples with a list `history_item_ids`."""
        features = {HISTORY_ITEM_IDS: tf.io.RaggedFeature(tf.string)}
        parsed = tf.io.parse_example(examples, features)
        return self._embed(parsed[HISTORY_ITEM_IDS].to_tensor(PADDING_TOKEN))


class _ItemTowerModule(_TowerModule):
    """Raw item ids, or categories of new items -> item vectors."""

    def __init__(
        self,
        tower: tf.keras.Model,
        vocabulary_file: Path,
        fingerprint: str,
        category_names: tuple[str, ...],
    ):
        super().__init__(tower, vocabulary_file, fingerprint)
        self._tower_of_categories = None
        if category_names:
            self._tower_of_categories = tower.call_categories
            numbers = tf.range(1, len(category_names) + 1)
            # Constants of the graph: unlike a line of a file, a name may hold anything.
            self.category_table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(tf.constant(category_names), numbers),
                default_value=0,
            )

    def signatures(self) -> dict[str, Callable]:
        functions = {
            DEFAULT_SIGNATURE: tf.function(self._embed, [_spec(ITEM_IDS_INPUT, 1)]),
            EXAMPLE_SIGNATURE: tf.function(self._embed_examples, [_spec(EXAMPLES_INPUT, 1)]),
        }
        if self._tower_of_categories is not None:
            functions[NEW_ITEMS_SIGNATURE] = tf.function(self._embed_new, [_spec(CATEGORIES, 2)])
        return functions

    def _embed_new(self, categories: tf.Tensor) -> dict[str, tf.Tensor]:
        """`[batch, any width]` category names, "" where none; unknown ones are passed over."""
        numbers = self.category_table.lookup(categories)
        return {
            "item_vectors": tf.cast(self._tower_of_categories(numbers), tf.float32),
            "num_known": tf.math.count_nonzero(numbers, axis=1, dtype=tf.int32),
            "fingerprint": self._fingerprints(categories),
        }

    def _embed(self, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`[batch]` raw ids; an unknown one gets the vector all unknown ids share."""
        rows = self.table.lookup(item_ids)
        return {
            "item_vectors": tf.cast(self._tower(rows + FIRST_ITEM_ID), tf.float32),
            "is_known": rows >= 0,
            "fingerprint": self._fingerprints(item_ids),
        }

    def _embed_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """`[batch]` serialised examples with one `item_id`."""
        features = {ITEM_ID: tf.io.FixedLenFeature([], tf.string, default_value=PADDING_TOKEN)}
        return self._embed(tf.io.parse_example(examples, features)[ITEM_ID])


def _left_align(dense_ids: tf.Tensor, mask: tf.Tensor, max_length: int) -> tf.Tensor:
    """The last `max_length` ids under `mask` of each row, in order, then padding.

    Args:
        dense_ids: `[batch, length]` int64.
        mask: `[batch, length]` bool, True keeps an id.
        max_length: Ids kept per row, the last ones.

    Returns:
        `[batch, longest kept row]` int64, at least one column.
    """
    from_the_end = tf.cumsum(tf.cast(mask, tf.int32), axis=1, reverse=True)
    kept = tf.ragged.boolean_mask(dense_ids, mask & (from_the_end <= max_length))
    padded = kept.to_tensor(PADDING_ID)
    missing_column = tf.cast(tf.shape(padded)[1] == 0, tf.int32)
    return tf.pad(padded, [[0, 0], [0, missing_column]], constant_values=PADDING_ID)
