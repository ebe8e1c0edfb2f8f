"""What a user tower takes beside a history: when its clicks were, and when it is asked.

Standard TensorFlow ops alone, for the graphs of a SavedModel.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from recall.feature_columns.encoder import FeatureEncoder
from recall.features import HISTORY_ITEM_IDS, HISTORY_TIMESTAMPS, REQUEST_TIMESTAMP
from recall.vocabulary import PADDING_ID, PADDING_TOKEN

UNKNOWN_TIME = 0


class ContextInput(NamedTuple):
    """An input that may be left out.

    Attributes:
        spec: Its tensor, `[batch, ...]`.
        feature: The same in a `tf.Example`.
        filler: What a row says that says nothing.
    """

    spec: tf.TensorSpec
    feature: tf.io.RaggedFeature | tf.io.FixedLenFeature
    filler: str | float | int

    @property
    def nothing(self) -> np.ndarray:
        """An array of no rows: the default of the signature."""
        sizes = [size or 0 for size in self.spec.shape]
        return np.zeros(sizes, self.spec.dtype.as_numpy_dtype)


def time_inputs() -> dict[str, ContextInput]:
    """The inputs of a model that looks at times."""
    return {
        HISTORY_TIMESTAMPS: ContextInput(
            tf.TensorSpec([None, None], tf.int64, name=HISTORY_TIMESTAMPS),
            tf.io.RaggedFeature(tf.int64),
            UNKNOWN_TIME,
        ),
        REQUEST_TIMESTAMP: ContextInput(
            tf.TensorSpec([None], tf.int64, name=REQUEST_TIMESTAMP),
            tf.io.FixedLenFeature([], tf.int64, default_value=UNKNOWN_TIME),
            UNKNOWN_TIME,
        ),
    }


def feature_inputs(encoder: FeatureEncoder) -> dict[str, ContextInput]:
    """The inputs of declared features; a row that says nothing is as a missing value."""
    inputs = {}
    for name, spec in encoder.input_specs().items():
        is_text = spec.dtype == tf.string
        filler = "" if is_text else float("nan")
        if spec.shape.rank == 1:
            feature = tf.io.FixedLenFeature([], spec.dtype, default_value=filler)
        elif spec.shape[1] is None:
            feature = tf.io.RaggedFeature(spec.dtype)
        else:
            width = spec.shape[1]
            feature = tf.io.FixedLenFeature([width], spec.dtype, default_value=[filler] * width)
        inputs[name] = ContextInput(spec, feature, filler)
    return inputs


def with_defaults(
    embed: Callable[[tf.Tensor, dict[str, tf.Tensor]], dict[str, tf.Tensor]],
    inputs: Mapping[str, ContextInput],
) -> Callable:
    """`embed` as a function to be saved: all inputs but the history may be left out.

    Args:
        embed: Of histories and the inputs, each of as many rows.
        inputs: By name.
    """
    history = tf.TensorSpec([None, None], tf.string, name=HISTORY_ITEM_IDS)

    def run(history_item_ids: tf.Tensor, *values: tf.Tensor) -> dict[str, tf.Tensor]:
        num_rows = tf.shape(history_item_ids)[0]
        filled = {
            name: _fill_rows(name, value, inputs[name], num_rows)
            for name, value in zip(inputs, values, strict=True)
        }
        return embed(history_item_ids, filled)

    # The names are data here; TensorFlow takes them, and the defaults, from this.
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(HISTORY_ITEM_IDS, kind)]
    parameters += [
        inspect.Parameter(name, kind, default=tf.constant(one.nothing, one.spec.dtype))
        for name, one in inputs.items()
    ]
    run.__signature__ = inspect.Signature(parameters)
    specs = [history, *(one.spec for one in inputs.values())]
    return tf.function(run, input_signature=specs)


def _fill_rows(name: str, value: tf.Tensor, one: ContextInput, num_rows: tf.Tensor) -> tf.Tensor:
    """The same rows, or rows that say nothing in the place of none."""
    size = tf.shape(value)[0]
    fits = tf.debugging.assert_equal(
        (size == 0) | (size == num_rows), True, f"{name} has not as many rows as the history."
    )
    with tf.control_dependencies([fits]):
        missing = tf.where(size == 0, num_rows, 0)
    paddings = [[0, missing]] + [[0, 0]] * (value.shape.rank - 1)
    filled = tf.pad(value, paddings, constant_values=one.filler)
    return tf.ensure_shape(filled, [None, *value.shape[1:]])


def parse_examples(
    examples: tf.Tensor, inputs: Mapping[str, ContextInput]
) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Histories and inputs from serialised `tf.Example`s; what is left out says nothing."""
    features = {HISTORY_ITEM_IDS: tf.io.RaggedFeature(tf.string)}
    features |= {name: one.feature for name, one in inputs.items()}
    parsed = tf.io.parse_example(examples, features)
    history = parsed.pop(HISTORY_ITEM_IDS).to_tensor(PADDING_TOKEN)
    values = {
        name: value.to_tensor(inputs[name].filler) if isinstance(value, tf.RaggedTensor) else value
        for name, value in parsed.items()
    }
    return history, values


def align_times(timestamps: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """Times with as many columns as the ids that they belong to; missing ones are not known."""
    width = tf.shape(like)[1]
    timestamps = timestamps[:, :width]
    missing = width - tf.shape(timestamps)[1]
    return tf.pad(timestamps, [[0, 0], [0, missing]], constant_values=UNKNOWN_TIME)


def pair_times(times: tf.Tensor, history_ids: tf.Tensor, request: tf.Tensor) -> tf.Tensor:
    """The time of each click and of what came next, as the user tower reads them.

    Args:
        times: `[batch, length]` int64 seconds, 0 where not known.
        history_ids: `[batch, length]` dense ids, left-aligned.
        request: `[batch]` int64, when the request came; 0: at the time of the last click.

    Returns:
        `[batch, length, 2]` int64.
    """
    is_click = history_ids != PADDING_ID
    last = tf.maximum(tf.math.count_nonzero(is_click, axis=1, dtype=tf.int32) - 1, 0)
    of_last = tf.gather(times, last, batch_dims=1)
    request = tf.where(request == UNKNOWN_TIME, of_last, request)
    later = tf.concat([times[:, 1:], tf.zeros_like(times[:, :1])], axis=1)
    is_last = tf.range(tf.shape(times)[1])[tf.newaxis] == last[:, tf.newaxis]
    next_times = tf.where(is_last, request[:, tf.newaxis], later)
    return tf.stack([times, next_times], axis=2)
