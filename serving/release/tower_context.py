"""What a user tower takes beside a history: times, features of its clicks and of the request.

Standard TensorFlow ops alone, for the graphs of a SavedModel.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from recall.feature_columns.encoder import Encoded, EncodedInputs, FeatureEncoder
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.times import pair_with_before
from recall.features import HISTORY_ITEM_IDS, HISTORY_TIMESTAMPS, REQUEST_TIMESTAMP
from recall.vocabulary import PADDING_ID, PADDING_TOKEN

UNKNOWN_TIME = 0

_SAMPLE_TIME = 1_700_000_000
"""A second of 2023."""


class ContextInput(NamedTuple):
    """An input that may be left out.

    Attributes:
        spec: Its tensor, `[batch, ...]`.
        feature: The same in a `tf.Example`.
        filler: What a row says that says nothing.
        sample: A value that says something, for warm-up requests.
    """

    spec: tf.TensorSpec
    feature: tf.io.RaggedFeature | tf.io.FixedLenFeature
    filler: str | float | int
    sample: str | float | int

    @property
    def nothing(self) -> np.ndarray:
        """An array of no rows: the default of the signature."""
        sizes = [size or 0 for size in self.spec.shape]
        return np.zeros(sizes, self.spec.dtype.as_numpy_dtype)

    def samples(self, num_rows: int, num_clicks: int) -> tf.Tensor:
        """`[num_rows, ...]` sample values; lists of any length are as long as the history."""
        sizes = [num_clicks if size is None else size for size in self.spec.shape[1:]]
        return tf.fill([num_rows, *sizes], tf.constant(self.sample, self.spec.dtype))


def time_inputs() -> dict[str, ContextInput]:
    """The inputs of a model that looks at times."""
    return {
        HISTORY_TIMESTAMPS: ContextInput(
            tf.TensorSpec([None, None], tf.int64, name=HISTORY_TIMESTAMPS),
            tf.io.RaggedFeature(tf.int64),
            UNKNOWN_TIME,
            _SAMPLE_TIME,
        ),
        REQUEST_TIMESTAMP: ContextInput(
            tf.TensorSpec([None], tf.int64, name=REQUEST_TIMESTAMP),
            tf.io.FixedLenFeature([], tf.int64, default_value=UNKNOWN_TIME),
            UNKNOWN_TIME,
            _SAMPLE_TIME,
        ),
    }


def feature_inputs(encoder: FeatureEncoder) -> dict[str, ContextInput]:
    """The inputs of declared features; a row that says nothing is as a missing value."""
    inputs, specs = {}, encoder.input_specs()
    for column in [column for column in encoder.columns if column.name in specs]:
        name, spec = column.name, specs[column.name]
        filler = _filler(spec)
        if spec.shape.rank == 1:
            feature = tf.io.FixedLenFeature([], spec.dtype, default_value=filler)
        elif spec.shape[1] is None:
            feature = tf.io.RaggedFeature(spec.dtype)
        else:
            width = spec.shape[1]
            feature = tf.io.FixedLenFeature([width], spec.dtype, default_value=[filler] * width)
        inputs[name] = ContextInput(spec, feature, filler, _sample(column))
    return inputs


def click_inputs(encoder: FeatureEncoder) -> dict[str, ContextInput]:
    """The inputs of features of clicks: lists beside the history, by the names of their inputs."""
    inputs = {}
    for column in encoder.columns:
        if spec := encoder.input_specs().get(column.name):
            name = column.column.input_name
            lists = tf.TensorSpec([None, None], spec.dtype, name=name)
            feature = tf.io.RaggedFeature(spec.dtype)
            inputs[name] = ContextInput(lists, feature, _filler(spec), _sample(column))
    return inputs


def inputs_of(
    users: FeatureEncoder | None,
    clicks: FeatureEncoder | None,
    requests: FeatureEncoder | None,
    has_times: bool,
) -> dict[str, ContextInput]:
    """All that a tower takes beside the history, by name.

    Args:
        users: Encoder of the features of users.
        clicks: Of those of clicks.
        requests: Of those of requests.
        has_times: Whether the tower looks at times itself.
    """
    encoders = [encoder for encoder in (users, clicks, requests) if encoder is not None]
    of_times = any(column.kind == "timestamp" for e in encoders for column in e.columns)
    inputs = time_inputs() if has_times or of_times else {}
    for encoder in encoders:
        inputs |= click_inputs(encoder) if encoder is clicks else feature_inputs(encoder)
    return inputs


def _filler(spec: tf.TensorSpec) -> str | float:
    return "" if spec.dtype == tf.string else float("nan")


def _sample(column: FittedColumn) -> str | float:
    if column.kind == "categorical":
        return column.values[0] if column.values else ""
    return "" if column.kind == "text" else column.mean


def traced(function: Callable, specs: list[tf.TensorSpec]) -> Callable:
    """A function to be saved; nothing in it is for AutoGraph, which takes as long as tracing."""
    return tf.function(function, input_signature=specs, autograph=False)


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

    specs = {HISTORY_ITEM_IDS: history, **{name: one.spec for name, one in inputs.items()}}
    return with_signature(run, specs, {name: one.nothing for name, one in inputs.items()})


def with_signature(
    function: Callable, specs: Mapping[str, tf.TensorSpec], nothing: Mapping[str, Any]
) -> Callable:
    """A function of as many tensors, to be saved with the names and defaults that are data here.

    Args:
        function: Its `__signature__` is set, from which TensorFlow takes both.
        specs: By name.
        nothing: Name -> what an input is where it is left out; it may be if it is here.
    """
    kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    function.__signature__ = inspect.Signature(
        [
            inspect.Parameter(
                name,
                kind,
                default=tf.constant(nothing[name], spec.dtype) if name in nothing else empty,
            )
            for name, spec in specs.items()
        ]
    )
    return traced(function, list(specs.values()))


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
    return _align(timestamps, like, UNKNOWN_TIME)


def _align(values: tf.Tensor, like: tf.Tensor, filler: str | float | int) -> tf.Tensor:
    """The same with as many columns as `like`, cut or filled up."""
    width = tf.shape(like)[1]
    values = values[:, :width]
    missing = width - tf.shape(values)[1]
    return tf.pad(values, [[0, 0], [0, missing]], constant_values=filler)


def encode_clicks(
    encoder: FeatureEncoder,
    context: Mapping[str, tf.Tensor],
    is_known: tf.Tensor,
    max_length: int,
    *,
    has_start: bool,
) -> tuple[Encoded, tf.Tensor]:
    """The features of the known clicks of histories, as the user tower reads them.

    Args:
        encoder: Of the features.
        context: Of `click_inputs` and, where a feature is made of them, of `time_inputs`.
        is_known: `[batch, any length]` bool, where the history has an item.
        max_length: Slots of a history, the last ones.
        has_start: Whether a slot that is no click stands before the first one.

    Returns:
        `[batch, longest kept history, ...]`, at least one slot, and `[batch, num_features, 2]`
        int32 values of known clicks that are in the vocabularies and outside of them.
    """

    def choose(values: tf.Tensor, filler: str | float | int, start: tf.Tensor) -> tf.Tensor:
        values = _align(values, is_known, filler)
        if has_start:
            values = tf.concat([start[:, tf.newaxis], values], axis=1)
        return tf.boolean_mask(values, kept)

    num_rows = tf.shape(is_known)[0]
    kept = tf.pad(is_known, [[0, 0], [int(has_start), 0]], constant_values=True)
    lengths = tf.math.count_nonzero(kept, axis=1)
    rows = tf.repeat(tf.range(num_rows), lengths)
    inputs = {}
    for column in encoder.columns:
        if column.kind == "timestamp":
            times = context[HISTORY_TIMESTAMPS]
            first = tf.pad(times, [[0, 0], [0, 1]])[:, 0]
            times = choose(times, UNKNOWN_TIME, first)
            inputs[column.name] = pair_with_before(times, rows)
        else:
            filler = _filler(encoder.input_specs()[column.name])
            values = context[column.column.input_name]
            start = tf.fill([num_rows], tf.constant(filler, values.dtype))
            inputs[column.name] = choose(values, filler, start)
    encoded, _, _, counts = encoder(inputs)
    slots = Encoded(*(_last_slots(part, lengths, max_length) for part in encoded))
    return slots, tf.math.unsorted_segment_sum(counts, rows, num_rows)


def _last_slots(values: tf.Tensor, lengths: tf.Tensor, max_length: int) -> tf.Tensor:
    """`[n, width]` values, row after row -> the last ones of each row, padded with 0."""
    padded = tf.RaggedTensor.from_row_lengths(values, lengths)[:, -max_length:].to_tensor(0)
    missing_slot = tf.cast(tf.shape(padded)[1] == 0, tf.int32)
    padded = tf.pad(padded, [[0, 0], [0, missing_slot], [0, 0]])
    return tf.ensure_shape(padded, [None, None, values.shape[1]])


def encode_requests(
    encoder: FeatureEncoder, context: Mapping[str, tf.Tensor], is_known: tf.Tensor
) -> EncodedInputs:
    """The features of requests.

    Args:
        encoder: Of the features.
        context: Of `feature_inputs` and, where a feature is made of them, of `time_inputs`.
        is_known: `[batch, any length]` bool, where the history has an item.
    """
    inputs = {name: context[name] for name in encoder.input_specs()}
    for column in encoder.columns:
        if column.kind == "timestamp":
            times = align_times(context[HISTORY_TIMESTAMPS], is_known)
            places = tf.range(1, tf.shape(is_known)[1] + 1) * tf.cast(is_known, tf.int32)
            last = tf.reduce_max(tf.pad(places, [[0, 0], [1, 0]]), axis=1)
            of_last = tf.gather(tf.pad(times, [[0, 0], [1, 0]]), last, batch_dims=1)
            inputs[column.name] = tf.stack([context[REQUEST_TIMESTAMP], of_last], axis=1)
    return encoder(inputs)


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
