"""What a log says of clicks beside their items, as requests carry it: times, features of clicks.

Imports no TensorFlow.
"""

import json
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.inference.answer_tables import HISTORY_COLUMN, USER_ID
from pipelines.ingestion.encoding.shard_files import ShardFiles
from pipelines.ingestion.events import log_names
from pipelines.ingestion.reading import LogRuns
from pipelines.ingestion.sequences import LAST_TIME_S, Sequences
from pipelines.sources.columns.time_units import FIRST_TIME_S
from pipelines.sources.events import EventSource
from recall.errors import InputError
from recall.feature_columns.declaration import FeatureColumn

CLICK_TIMES, REQUEST_TIME = "history_timestamps", "request_timestamp"
"""Names in a context, of columns of histories too."""

CONTEXT = "context"
"""Column of ready histories: all that a request says beside its history, as JSON."""

_log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """What the user tower of a release looks at beside items.

    Attributes:
        times: Whether it looks at times of clicks.
        features: Declared features of clicks that have values.
        of_users: Declared features of users and of requests that have values.
    """

    times: bool = False
    features: tuple[FeatureColumn, ...] = ()
    of_users: tuple[FeatureColumn, ...] = ()


NOTHING_BESIDE = Wanted()


def open_with(source: EventSource, wanted: Wanted) -> EventSource:
    """The log, of which features are read as far as it has them."""
    found = []
    for feature in wanted.features:
        try:
            source.with_features([feature])
        except InputError as error:
            _log.warning("The feature %r is answered as unknown: %s", feature.name, error)
            continue
        found.append(feature)
    return source.with_features(found)


def has_times(wanted: Wanted, runs: LogRuns) -> bool:
    """Whether times are wanted and those of the log are times."""
    return wanted.times and runs.has_time and FIRST_TIME_S <= runs.latest_s < LAST_TIME_S


def fields_of(wanted: Wanted, runs: LogRuns) -> list[pa.Field]:
    """Columns of histories behind users and items."""
    types = {"categorical": pa.string(), "numeric": pa.float64()}
    fields = [pa.field(c.input_name, pa.list_(types[c.kind])) for c in runs.features]
    if has_times(wanted, runs):
        fields += [(CLICK_TIMES, pa.list_(pa.int64())), (REQUEST_TIME, pa.int64())]
    return [pa.field(*field) if isinstance(field, tuple) else field for field in fields]


def columns_of(wanted: Wanted, runs: LogRuns, files: ShardFiles, log: Sequences) -> list[pa.Array]:
    """The values of `fields_of`, a list per user of the log.

    The request is made when the log ends: so answers are the same on any day.
    """
    offsets = pa.array(log.offsets, pa.int32())
    columns: list[pa.Array] = []
    for place, feature in enumerate(runs.features):
        values = log.values[:, place]
        if feature.kind == "categorical":
            values = log_names.names_of(files, feature, values)
        else:
            values = pa.array(values.astype(np.float64), from_pandas=True)
        columns.append(pa.ListArray.from_arrays(offsets, values))
    if has_times(wanted, runs):
        seconds = np.maximum(log.timestamps, 0).astype(np.int64)
        columns.append(pa.ListArray.from_arrays(offsets, pa.array(seconds)))
        columns.append(pa.array(np.full(len(log.user_ids), int(runs.latest_s))))
    return columns


def of_nobody(fields: Sequence[pa.Field], runs: LogRuns, size: int) -> list[pa.Array]:
    """The values of `fields_of` of users without clicks."""
    return [
        pa.array([[]] * size, field.type)
        if pa.types.is_list(field.type)
        else pa.array([int(runs.latest_s)] * size, field.type)
        for field in fields
    ]


def read(rows: pa.Table) -> list[dict[str, Any] | None]:
    """The context of every row of histories; None where there is none at all."""
    names = [name for name in rows.column_names if name not in (USER_ID, HISTORY_COLUMN)]
    if not names:
        return [None] * rows.num_rows
    if names == [CONTEXT]:
        return [None if text is None else json.loads(text) for text in rows[CONTEXT].to_pylist()]
    columns = [rows[name].to_pylist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
