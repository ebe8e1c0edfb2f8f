"""Towers as TensorFlow modules that speak raw item ids, ready to be saved.

The graphs use standard TensorFlow ops alone, so that a stock model server can run them,
and hold the vocabulary as an asset, so that training and serving cannot disagree.
"""

import functools
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from recall.feature_columns.encoder import Encoded
from recall.features import HISTORY_ITEM_IDS, HISTORY_TIMESTAMPS, REQUEST_TIMESTAMP
from recall.towers import KnownBeside
from recall.vocabulary import FIRST_ITEM_ID, PADDING_ID, PADDING_TOKEN, UNKNOWN_ID
from serving.protocol.signatures import (
    CONTEXT_SIGNATURE,
    DEFAULT_SIGNATURE,
    EXAMPLE_SIGNATURE,
    NEW_ITEMS_SIGNATURE,
    VALUE_COUNTS,
)
from serving.release import tower_context
from serving.release.tower_context import traced, with_signature

ITEM_IDS_INPUT = "item_ids"
"""Input of the item tower: raw ids."""

ITEM_ID = "item_id"
"""The item tower's feature in a `tf.Example`: one raw id."""

CATEGORIES = "categories"
"""Input of the item tower's signature for new items: category names."""

EXAMPLES_INPUT = "examples"
"""Input of the other signature of both towers: serialised `tf.Example`s."""


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


class UserTowerModule(_TowerModule):
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
        self._has_times = getattr(tower, "has_time_bias", False)
        self.user_encoder, self.click_encoder, self.request_encoder = (
            getattr(getattr(tower, name, None), "encoder", None)
            for name in ("user_features", "event_features", "request_features")
        )
        context = tower_context.inputs_of(
            self.user_encoder, self.click_encoder, self.request_encoder, self._has_times
        )
        # No dictionary, which TensorFlow would take for something to be saved.
        self.context = types.MappingProxyType(context)

    def signatures(self) -> dict[str, Callable]:
        """Histories as tensors and as `tf.Example`s; with what else the tower looks at."""
        functions = {
            DEFAULT_SIGNATURE: traced(self._embed_histories, [_spec(HISTORY_ITEM_IDS, 2)]),
            EXAMPLE_SIGNATURE: traced(self._embed_examples, [_spec(EXAMPLES_INPUT, 1)]),
        }
        if self.context:
            functions[CONTEXT_SIGNATURE] = tower_context.with_defaults(self._embed, self.context)
        return functions

    def _embed_histories(self, history_item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._embed(history_item_ids)

    def _embed(
        self, history_item_ids: tf.Tensor, context: dict[str, tf.Tensor] | None = None
    ) -> dict[str, tf.Tensor]:
        """`[batch, any length]` raw ids, "" where empty, and what else is known -> the outputs."""
        context = context or {}
        rows = self.table.lookup(history_item_ids)
        is_known = rows >= 0
        is_unknown = ~is_known & (history_item_ids != PADDING_TOKEN)
        history_ids = self._align(rows + FIRST_ITEM_ID, is_known, UNKNOWN_ID)
        known: dict[str, Any] = {}
        if self._has_times and context:
            times = tower_context.align_times(context[HISTORY_TIMESTAMPS], is_known)
            # Before the first click nothing is known; a history may have no column.
            times = self._align(times, is_known, tf.pad(times, [[0, 0], [0, 1]])[:, 0])
            request = context[REQUEST_TIMESTAMP]
            known["times"] = tower_context.pair_times(times, history_ids, request)
        outputs, counts = {}, {}
        if context and self.user_encoder is not None:
            encoded = self.user_encoder({n: context[n] for n in self.user_encoder.input_specs()})
            known["users"], counts["user"] = encoded.encoded, encoded.value_counts
            outputs["num_known_values"] = encoded.num_known
        if context and self.click_encoder is not None:
            known["events"], counts["event"] = tower_context.encode_clicks(
                self.click_encoder,
                context,
                is_known,
                self._max_history_length,
                has_start=self.user_encoder is not None,
            )
        if context and self.request_encoder is not None:
            encoded = tower_context.encode_requests(self.request_encoder, context, is_known)
            known["requests"], counts["request"] = encoded.encoded, encoded.value_counts
        if counts:
            unknown = [tf.reduce_sum(of_owner[..., 1], axis=1) for of_owner in counts.values()]
            outputs["num_unknown_values"] = tf.add_n(unknown)
        outputs |= {VALUE_COUNTS[owner]: of_owner for owner, of_owner in counts.items()}
        arguments = {"known": KnownBeside(**known)} if known else {}
        user_vectors, interest_weights = self._tower(history_ids, **arguments)
        return {
            "user_vectors": tf.cast(user_vectors, tf.float32),
            "interest_weights": tf.cast(interest_weights, tf.float32),
            "num_known": tf.math.count_nonzero(is_known, axis=1, dtype=tf.int32),
            "num_unknown": tf.math.count_nonzero(is_unknown, axis=1, dtype=tf.int32),
            "fingerprint": self._fingerprints(history_item_ids),
            **outputs,
        }

    def _align(self, values: tf.Tensor, is_known: tf.Tensor, start: tf.Tensor | int) -> tf.Tensor:
        """The values of known clicks; behind `start` where users have features."""
        if self.user_encoder is not None:
            first = tf.broadcast_to(tf.cast(start, values.dtype), [tf.shape(values)[0]])
            values = tf.concat([first[:, tf.newaxis], values], axis=1)
            is_known = tf.pad(is_known, [[0, 0], [1, 0]], constant_values=True)
        return _left_align(values, is_known, self._max_history_length)

    def _embed_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """`[batch]` serialised examples with a list `history_item_ids`."""
        return self._embed(*tower_context.parse_examples(examples, self.context))


class ItemTowerModule(_TowerModule):
    """Raw item ids -> item vectors."""

    def signatures(self) -> dict[str, Callable]:
        """Ids as tensors and as `tf.Example`s."""
        return {
            DEFAULT_SIGNATURE: traced(self._embed, [_spec(ITEM_IDS_INPUT, 1)]),
            EXAMPLE_SIGNATURE: traced(self._embed_examples, [_spec(EXAMPLES_INPUT, 1)]),
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


class FeatureTowerModule(ItemTowerModule):
    """An item tower with declared features: by ids, or by ids and features.

    `serving_default` takes ids alone, so that a model server can join its requests to
    batches: in these no input may be left out. The signature for new items takes everything.
    """

    def __init__(self, tower: tf.keras.Model, vocabulary_file: Path, fingerprint: str):
        super().__init__(tower, vocabulary_file, fingerprint)
        self.encoder = tower.encoder
        self._columns = list(tower.encoder.columns)
        self._encoded_of, self._call_features = tower.encoded_of, tower.call_features

    def signatures(self) -> dict[str, Callable]:
        """Ids as tensors and as `tf.Example`s, and ids with features."""
        return {**super().signatures(), NEW_ITEMS_SIGNATURE: self._with_defaults()}

    def _with_defaults(self) -> Callable:
        """`embed_new`, with inputs of no rows for those that are not sent."""
        specs = {ITEM_IDS_INPUT: _spec(ITEM_IDS_INPUT, 1), **self.encoder.input_specs()}
        nothing = {ITEM_IDS_INPUT: np.zeros([0], object), **self.encoder.missing_inputs()}

        def embed(*values: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.embed_new(dict(zip(specs, values, strict=True)))

        return with_signature(embed, specs, nothing)

    def embed_new(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Items by what is said of them; what is not said is as the model knows it, or missing.

        Args:
            inputs: `item_ids` and the features, each of all rows or of none.
        """
        inputs = dict(inputs)
        sizes = {name: tf.shape(value)[0] for name, value in inputs.items()}
        num_rows = tf.reduce_max(tf.stack(list(sizes.values())))
        for name, value in inputs.items():
            inputs[name] = _fill_rows(name, value, num_rows)
        raw_ids = inputs.pop(ITEM_IDS_INPUT)
        item_ids = self.table.lookup(raw_ids) + FIRST_ITEM_ID  # `UNKNOWN_ID` where there is none.
        given = self.encoder(inputs)
        stored = self._encoded_of(item_ids)
        is_given = [sizes[column.name] > 0 for column in self._columns]
        widths = [
            [column.num_slots for column in self._columns],
            [column.num_numbers for column in self._columns],
        ]
        encoded = Encoded(
            *(
                tf.where(tf.repeat(tf.stack(is_given), of_parts)[tf.newaxis], own, known)
                for of_parts, own, known in zip(widths, given.encoded, stored, strict=True)
            )
        )
        return {
            "item_vectors": tf.cast(self._call_features(encoded, item_ids), tf.float32),
            "is_known": item_ids >= FIRST_ITEM_ID,
            "num_known": given.num_known,
            "num_unknown": given.num_unknown,
            VALUE_COUNTS["item"]: given.value_counts,
            "fingerprint": self._fingerprints(raw_ids),
        }


def _fill_rows(name: str, value: tf.Tensor, num_rows: tf.Tensor) -> tf.Tensor:
    """The same rows, or rows that say nothing in the place of none."""
    size = tf.shape(value)[0]
    fits = tf.debugging.assert_equal(
        (size == 0) | (size == num_rows), True, f"{name} has not as many rows as other inputs."
    )
    with tf.control_dependencies([fits]):
        missing = tf.where(size == 0, num_rows, 0)
    filler = "" if value.dtype == tf.string else float("nan")
    paddings = [[0, missing]] + [[0, 0]] * (value.shape.rank - 1)
    filled = tf.pad(value, paddings, constant_values=filler)
    return tf.ensure_shape(filled, [None, *value.shape[1:]])


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
