"""All that held-out users have clicked, and what is known of them and of each click."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipelines.artifacts import held_out
from recall.feature_columns.fitting import FittedColumn
from recall.features import (
    HISTORY,
    HISTORY_TIMESTAMPS,
    HISTORY_VALUES,
    POSITIVE_TIMESTAMPS,
    POSITIVE_VALUES,
    POSITIVES,
    USER_ID,
    USER_ROW,
    value_types,
)
from recall.ragged import Ragged


class HeldOutClicks(NamedTuple):
    """Users of a held-out split with all their clicks, the held-out ones among them.

    Attributes:
        user_ids: `[num_users]` bytes objects, raw ids in UTF-8.
        clicks: Dense ids of each user, oldest first; of no item in a slot that is no click.
        times: `[num_clicks]` int64 seconds; None where examples have none.
        user_rows: `[num_users]` int64, row of each in the users file from 1, 0 for others.
        values: Feature of clicks -> `[num_clicks]`, numbers of names as in examples, or
            float32, NaN where there is none.
    """

    user_ids: np.ndarray
    clicks: Ragged
    times: np.ndarray | None
    user_rows: np.ndarray
    values: dict[str, np.ndarray]


def read(examples_dir: str | Path, split: str, columns: Sequence[FittedColumn]) -> HeldOutClicks:
    """Reads the users of a split.

    Args:
        examples_dir: The folder that `recall ingest` wrote.
        split: `valid` or `test`.
        columns: Features of clicks of these examples.

    Raises:
        InputError: A file is missing, damaged or incomplete, or there are no held-out users.
    """
    types = {HISTORY: tf.int64, HISTORY_TIMESTAMPS: tf.int64}
    types |= {HISTORY_VALUES + name: dtype for name, dtype in value_types(columns).items()}
    specs = {
        name: tf.io.RaggedFeature(dtype, row_splits_dtype=tf.int64)
        for past, dtype in types.items()
        for name in (past, _later(past))
    }
    specs[USER_ID] = tf.io.FixedLenFeature([], tf.string)
    specs[USER_ROW] = tf.io.FixedLenFeature([], tf.int64, default_value=0)
    parts = held_out.read_parts(examples_dir, split, specs)
    ends = [held_out.concatenate([part[name] for part in parts]) for name in (HISTORY, POSITIVES)]

    def join(past: str) -> np.ndarray:
        both = (held_out.concatenate([p[name] for p in parts]) for name in (past, _later(past)))
        history, positives = (_fill(of, end) for of, end in zip(both, ends, strict=True))
        return np.insert(history, np.repeat(ends[0].offsets[1:], ends[1].lengths), positives)

    has_times = any(tf.size(part[HISTORY_TIMESTAMPS].values) for part in parts)
    return HeldOutClicks(
        np.concatenate([part[USER_ID].numpy() for part in parts]),
        Ragged(join(HISTORY), ends[0].offsets + ends[1].offsets),
        join(HISTORY_TIMESTAMPS) if has_times else None,
        np.concatenate([part[USER_ROW].numpy() for part in parts]),
        {name: join(HISTORY_VALUES + name) for name in value_types(columns)},
    )


def _later(name: str) -> str:
    """Of the name of a column of the events before the held-out ones that of these."""
    own = {HISTORY: POSITIVES, HISTORY_TIMESTAMPS: POSITIVE_TIMESTAMPS}
    return own.get(name) or POSITIVE_VALUES + name.removeprefix(HISTORY_VALUES)


def _fill(values: Ragged, events: Ragged) -> np.ndarray:
    """`[num_events]` the values of events, unknown in rows of examples that lack them."""
    unknown = np.nan if values.values.dtype.kind == "f" else 0
    filled = np.full(len(events.values), unknown, values.values.dtype)
    filled[np.repeat(values.lengths == events.lengths, events.lengths)] = values.values
    return filled
