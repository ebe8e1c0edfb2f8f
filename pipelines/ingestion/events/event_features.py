"""What examples say of events beside their items: kinds, weights, what was shown.

Knows neither Beam nor TensorFlow and touches no files.
"""

from typing import NamedTuple

import numpy as np

from pipelines.ingestion.encoding.example_records import Feature
from pipelines.ingestion.encoding.number_lists import Floats, Numbers
from pipelines.ingestion.events.impressions import ShownItems
from pipelines.ingestion.events.log_features import LogValues

# Feature names as in `recall.features`, which imports TensorFlow; a test compares the two.
_KINDS, _WEIGHTS = "event_kinds", "event_weights"
_SHOWN_COUNTS, _SHOWN_IDS = "shown_counts", "shown_ids"
_POSITIVE_KINDS = "positive_kinds"
_USER_ROW = "user_row"
_TIMESTAMPS, _HISTORY_TIMESTAMPS = "timestamps", "history_timestamps"
_POSITIVE_TIMESTAMPS = "positive_timestamps"
_EVENT_VALUES, _HISTORY_VALUES = "event_value:", "history_value:"
_POSITIVE_VALUES, _REQUEST_VALUES = "positive_value:", "request_value:"

_Bounds = tuple[np.ndarray, np.ndarray]


class EventValues(NamedTuple):
    """Columns of the events of some users, as far as the log has them.

    Attributes:
        kinds: `[num_events]` int numbers of the kinds of events, from 1.
        weights: `[num_events]` float, how much each event counts.
        shown: What was shown before each.
        times: `[num_events]` float seconds.
        user_rows: `[num_users]` int, rows in the users file from 1, 0 for others.
        features: Declared features of events and of requests.
    """

    kinds: np.ndarray | None = None
    weights: np.ndarray | None = None
    shown: ShownItems | None = None
    times: np.ndarray | None = None
    user_rows: np.ndarray | None = None
    features: tuple[LogValues, ...] = ()


NO_VALUES = EventValues()


def of_windows(
    columns: EventValues, learnt: np.ndarray, bounds: _Bounds, users: np.ndarray
) -> dict[str, Feature]:
    """Features of training windows.

    Args:
        columns: Those of all events.
        learnt: `[num_learnt]` positions of the events that are learnt.
        bounds: Where windows begin and end, `[num_windows]` each, among those.
        users: `[num_windows]` the user of each.

    Returns:
        Lists as long as a window; of `shown_counts` one shorter, how many of `shown_ids`
        were shown before its second event, its third, and so on.
    """
    starts, stops = bounds
    features = _of_users(columns, users)
    if columns.kinds is not None:
        features[_KINDS] = Numbers.of(columns.kinds[learnt]).ranges(starts, stops)
    if columns.weights is not None:
        features[_WEIGHTS] = Floats.of(columns.weights[learnt]).ranges(starts, stops)
    if columns.times is not None:
        features[_TIMESTAMPS] = _seconds(columns.times[learnt]).ranges(starts, stops)
    for one in columns.features:
        features[_EVENT_VALUES + one.name] = _list_of(one.values[learnt]).ranges(starts, stops)
    if columns.shown is not None:
        counts = np.diff(columns.shown.offsets)[learnt]
        # What was shown before events that are not learnt is not there.
        offsets = np.concatenate([[0], np.cumsum(counts)])
        features[_SHOWN_COUNTS] = Numbers.of(counts).ranges(starts + 1, stops)
        item_ids = Numbers.of(columns.shown.item_ids)
        features[_SHOWN_IDS] = item_ids.ranges(offsets[starts + 1], offsets[stops])
    return features


def of_tasks(
    columns: EventValues,
    users: np.ndarray,
    histories: _Bounds,
    positives: np.ndarray,
    positive_offsets: np.ndarray,
) -> dict[str, Feature]:
    """Features of prediction tasks.

    Args:
        columns: Those of all events.
        users: `[num_tasks]` the user of each.
        histories: Where histories begin and end, `[num_tasks]` each.
        positives: `[num_targets]` positions of the events held out, task by task.
        positive_offsets: `[num_tasks + 1]` of those.
    """
    bounds, features = (positive_offsets[:-1], positive_offsets[1:]), _of_users(columns, users)
    if columns.kinds is not None:
        features[_POSITIVE_KINDS] = Numbers.of(columns.kinds[positives]).ranges(*bounds)
    if columns.times is not None:
        features[_HISTORY_TIMESTAMPS] = _seconds(columns.times).ranges(*histories)
        features[_POSITIVE_TIMESTAMPS] = _seconds(columns.times[positives]).ranges(*bounds)
    firsts, at = positives[bounds[0]], np.arange(len(users))
    for one in columns.features:
        if one.owner == "event":
            features[_HISTORY_VALUES + one.name] = _list_of(one.values).ranges(*histories)
            held_out = _list_of(one.values[positives])
            features[_POSITIVE_VALUES + one.name] = held_out.ranges(*bounds)
        else:  # What is known when the first one is asked for.
            own = _list_of(one.values[firsts])
            features[_REQUEST_VALUES + one.name] = own.ranges(at, at + 1)
    return features


def _of_users(columns: EventValues, users: np.ndarray) -> dict[str, Feature]:
    if columns.user_rows is None:
        return {}
    at = np.arange(len(users))
    return {_USER_ROW: Numbers.of(columns.user_rows[users]).ranges(at, at + 1)}


def _list_of(values: np.ndarray) -> Numbers | Floats:
    return Floats.of(values) if values.dtype.kind == "f" else Numbers.of(values)


def _seconds(times: np.ndarray) -> Numbers:
    return Numbers.of(times.astype(np.int64))
